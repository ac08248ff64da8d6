//! How a component's process is, by the word of whoever manages it.

use std::path::{Path, PathBuf};

use fleet_proto::digest::Digest;
use fleet_proto::time::Timestamp;

use super::proc::{self, ProcessId, Stat};
use super::run_directory::{KeeperState, RunDirectory};
use super::spec::How;
use super::{own_package, pm2, static_files, supervise, systemd};

const CONTROL_GROUPS: &str = "/sys/fs/cgroup";
/// Of groups within groups; a bound on a look, not on apps.
const GROUPS_MAX: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The fingerprint of what it was started with.
    pub spec: Digest,
    /// Up means that it runs, and is not just being started anew.
    pub is_up: bool,
    /// It is not up, and its manager does not start it again.
    pub is_given_up: bool,
    pub main: Option<ProcessId>,
    pub keeper: Option<ProcessId>,
    pub members: Members,
    /// Since its manager took it in hand.
    pub restarts: u64,
    /// Since when it is up, or since when it is not.
    pub since: Timestamp,
    /// Continues "it …".
    pub last_exit: Option<String>,
}

/// By what all processes of a component are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    None,
    /// Of its keeper's session.
    Session(ProcessId),
    /// In these control groups.
    Groups(Vec<String>),
    /// These, and what descends from them.
    Below(Vec<ProcessId>),
}

/// None if nobody has the component in hand. Asks systemd or pm2 where they have it.
pub fn glance(run: &RunDirectory) -> Option<Standing> {
    let spec = run.spec();
    match spec.as_ref().map(|spec| &spec.how) {
        Some(How::Systemd(unit)) => systemd::glance(run, unit),
        Some(How::Pm2(pm2)) => pm2::glance(run, pm2),
        Some(How::Static(link)) => static_files::glance(run, link, &spec.as_ref()?.directory),
        Some(How::Agent(_)) => own_package::glance(run),
        Some(How::Supervise(_)) | None => supervise::glance(run).map(Standing::from),
    }
}

/// Whether somebody has the component in hand, however it does; without asking anybody.
pub fn is_in_hand(run: &RunDirectory) -> bool {
    match run.spec().map(|spec| spec.how) {
        Some(How::Systemd(_) | How::Pm2(_) | How::Static(_) | How::Agent(_)) => run.started().is_some(),
        Some(How::Supervise(_)) | None => supervise::glance(run).is_some(),
    }
}

/// All processes of the component.
pub fn processes(standing: &Standing) -> Vec<Stat> {
    match &standing.members {
        Members::None => vec![],
        Members::Session(leader) => {
            let mut all = proc::all();
            all.retain(|stat| stat.session == leader.pid && stat.id != *leader);
            all
        }
        Members::Groups(groups) => {
            let path = |group: &String| Path::new(CONTROL_GROUPS).join(group.trim_start_matches('/'));
            let pids = groups.iter().flat_map(|group| pids_in(&path(group)));
            pids.filter_map(Stat::of).collect()
        }
        Members::Below(roots) => {
            let own = roots.iter().filter_map(|root| Stat::of(root.pid));
            let below = roots.iter().flat_map(|root| proc::family(root.pid));
            own.chain(below).collect()
        }
    }
}

fn pids_in(group: &Path) -> Vec<i32> {
    let mut pids = Vec::new();
    let mut groups: Vec<PathBuf> = vec![group.to_owned()];
    for _ in 0..GROUPS_MAX {
        let Some(group) = groups.pop() else { break };
        let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        let below = std::fs::read_dir(&group).into_iter().flatten().flatten();
        groups.extend(below.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    pids
}

impl From<KeeperState> for Standing {
    fn from(state: KeeperState) -> Self {
        Self {
            spec: state.spec,
            is_up: state.app.is_some(),
            is_given_up: false,
            main: state.app,
            keeper: Some(state.keeper),
            members: Members::Session(state.keeper),
            restarts: state.restarts,
            since: state.since,
            last_exit: state.last_exit,
        }
    }
}
