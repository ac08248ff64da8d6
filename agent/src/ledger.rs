//! The ledger: what a node must not forget. Written before and after each durable act.

mod store;

use std::collections::BTreeMap;

use fleet_proto::digest::Digest;
use fleet_proto::fence::Fence;
use fleet_proto::ids::{AppName, EnvironmentName, RolloutNumber};
use fleet_proto::migration::{MigrationAct, MigrationStand};
use fleet_proto::quantity::Span;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{
    AppStatus, Failure, Health, HistoryCause, HistoryEntry, Phase, Service, StepStatus,
};
use fleet_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

pub use store::{Damage, LedgerError, LedgerFile, decode, encode, seal};

/// What the node did on its own and could not yet tell. The oldest are dropped past
/// this: a coordinator that is away for years must not fill the disk.
pub const HISTORY_MAX: usize = 1000;
/// Years of releases; a digest each.
const PROVEN_MAX: usize = 256;
/// The coordinator reads no more apps than this in one greeting.
pub const APPS_MAX: usize = 64;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    pub apps: BTreeMap<AppName, AppRecord>,
    /// Not yet taken by the coordinator, oldest first.
    pub history: Vec<HistoryEntry>,
    /// The sequence of the newest history entry ever made. Rises, and is not dense.
    pub last_sequence: u64,
    /// Whether anything shall run at all. Left out where nobody ever said, so that an older
    /// agent can read it.
    #[serde(default, skip_serializing_if = "was_never_said")]
    pub service: Service,
}

fn was_never_said(service: &Service) -> bool {
    *service == Service::default()
}

/// One app on this node. How it changes is in [`crate::install`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppRecord {
    pub fence_seen: Fence,
    /// What shall run: written before the processes are replaced.
    pub current: Option<Installed>,
    /// Releases that passed verification and bake here, newest last.
    pub good: Vec<Installed>,
    /// All that ever was good here, newest last, also what was left since: older than the
    /// floor, these may come back.
    #[serde(default)]
    pub proven: Vec<Digest>,
    /// The highest counter that ever became good.
    pub floor: u64,
    pub step: Option<Step>,
}

/// A release whose signature was verified, with the counter that was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    pub release: ReleaseRef,
    pub counter: u64,
    /// By whose overlay it runs, also when it is put back with nobody in reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
}

/// How the newest order stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub rollout: RolloutNumber,
    pub generation: u32,
    /// Where the step goes; none if that is to nothing.
    pub release: Option<ReleaseRef>,
    pub direction: Direction,
    /// What ran when the step began.
    pub from: Option<ReleaseRef>,
    /// Known from when the manifest was verified.
    pub counter: Option<u64>,
    pub phase: Phase,
    pub failure: Option<Failure>,
    /// The release of which the failure speaks.
    pub failed: Option<ReleaseRef>,
    /// How often this phase was begun anew after the agent had gone in the middle.
    pub attempts: u32,
    pub activated_at: Option<Timestamp>,
    /// The coordinator has said that the bake is over before it had begun here.
    pub is_committed: bool,
    /// When the bake is over its smoke checks have to pass.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_smoke: bool,
    /// The order was to migrate, and nothing else.
    #[serde(default)]
    pub migration: Option<Migration>,
    /// No coordinator was reached on the release that failed; on the one that is put back one
    /// has to be within this time, or it was not the release's fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_off: Option<Span>,
    /// For which the release was ordered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
}

/// `Started` is written down before the first command that changes anything: what is found
/// so after a power cut may have run, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    pub act: MigrationAct,
    pub stand: MigrationStand,
    /// The agent that began it is gone.
    #[serde(default)]
    pub is_cut_short: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    Forward,
    Back,
}

impl Default for AppRecord {
    fn default() -> Self {
        Self {
            fence_seen: Fence::ZERO,
            current: None,
            good: Vec::new(),
            proven: Vec::new(),
            floor: 0,
            step: None,
        }
    }
}

impl AppRecord {
    pub fn current_release(&self) -> Option<&ReleaseRef> {
        self.current.as_ref().map(|installed| &installed.release)
    }

    pub fn last_good(&self) -> Option<&ReleaseRef> {
        self.good.last().map(|good| &good.release)
    }

    pub fn is_good(&self, release: &ReleaseRef) -> bool {
        self.good.iter().any(|good| good.release == *release)
    }

    /// It may run here again, however old it is.
    pub fn has_proven(&self, release: &ReleaseRef) -> bool {
        self.is_good(release) || self.proven.contains(&release.digest)
    }

    pub(crate) fn note_proven(&mut self, release: Digest) {
        self.proven.retain(|known| *known != release);
        self.proven.push(release);
        let excess = self.proven.len().saturating_sub(PROVEN_MAX);
        self.proven.drain(..excess);
    }

    /// Everything that may still be needed on this node.
    pub fn keeps(&self, release: &Digest) -> bool {
        let step = self.step.as_ref().filter(|step| !step.phase.is_settled());
        self.good
            .iter()
            .map(|good| &good.release)
            .chain(self.current_release())
            .chain(step.and_then(|step| step.release.as_ref()))
            .any(|kept| kept.digest == *release)
    }

    pub fn status(&self, app: &AppName, health: Health) -> AppStatus {
        AppStatus {
            app: app.clone(),
            fence_seen: self.fence_seen,
            current: self.current_release().cloned(),
            last_good: self.last_good().cloned(),
            health,
            step: self.step.as_ref().map(|step| StepStatus {
                rollout: step.rollout,
                generation: step.generation,
                release: step.release.clone(),
                phase: step.phase,
                // Whose fault it was is found out first.
                failure: step
                    .failure
                    .clone()
                    .filter(|_| step.cut_off.is_none() || step.phase != Phase::RollingBack),
                failed: step.failed.clone(),
                migration: step.migration.map(|migration| migration.stand),
            }),
        }
    }
}

impl Ledger {
    pub fn record(
        &mut self,
        app: &AppName,
        from: Option<ReleaseRef>,
        to: Option<ReleaseRef>,
        cause: HistoryCause,
        message: String,
        at: Timestamp,
    ) {
        // Never below the clock: a node whose ledger was lost must not begin at numbers
        // that the coordinator has taken before.
        self.last_sequence = (self.last_sequence + 1).max(at.0);
        self.history.push(HistoryEntry {
            sequence: self.last_sequence,
            at,
            app: app.clone(),
            from,
            to,
            cause,
            message,
        });
        let excess = self.history.len().saturating_sub(HISTORY_MAX);
        self.history.drain(..excess);
    }

    pub fn forget_history_through(&mut self, sequence: u64) {
        self.history.retain(|entry| entry.sequence > sequence);
    }
}
