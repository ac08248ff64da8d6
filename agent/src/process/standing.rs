//! How a component's process is, by the word of whoever manages it.

use fleet_proto::digest::Digest;
use fleet_proto::time::Timestamp;

use super::proc::{self, ProcessId, Stat};
use super::run_directory::{KeeperState, RunDirectory};
use super::supervise;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The fingerprint of what it was started with.
    pub spec: Digest,
    /// Up means that it runs, and is not just being started anew.
    pub is_up: bool,
    pub main: Option<ProcessId>,
    pub keeper: Option<ProcessId>,
    /// Since its manager took it in hand.
    pub restarts: u64,
    /// Since when it is up, or since when it is not.
    pub since: Timestamp,
    pub last_exit: Option<String>,
}

/// Without waiting. None if nobody has the component in hand.
pub fn glance(run: &RunDirectory) -> Option<Standing> {
    supervise::glance(run).map(Standing::from)
}

/// All processes of the component.
pub fn processes(standing: &Standing) -> Vec<Stat> {
    let Some(keeper) = standing.keeper else {
        return Vec::new();
    };
    let mut all = proc::all();
    all.retain(|stat| stat.session == keeper.pid && stat.id != keeper);
    all
}

impl From<KeeperState> for Standing {
    fn from(state: KeeperState) -> Self {
        Self {
            spec: state.spec,
            is_up: state.app.is_some(),
            main: state.app,
            keeper: Some(state.keeper),
            restarts: state.restarts,
            since: state.since,
            last_exit: state.last_exit,
        }
    }
}
