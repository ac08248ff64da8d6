//! The documents that people and dashboards read: the same over HTTP, over the
//! operators' API and on `fleetctl --output json`. Made by the coordinator's
//! `rollout::view`; read by `fleetctl` and by everybody's scripts, so fields are added
//! here and never renamed.

pub mod board;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{AppName, ComponentName, EnvironmentName, NodeId, OperatorName, RolloutNumber, TokenId};
use crate::labels::Labels;
use crate::quantity::{Bytes, Span};
use crate::release::{Platform, ReleaseRef, Strategy};
use crate::role::Roles;
use crate::session::drift::Finding;
use crate::session::{Facts, Failure, Health, Heartbeat, Phase, ReleaseOnDisk};
use crate::time::Timestamp;

/// What `fleetctl plan` shows and a rollout keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    pub app: AppName,
    pub environment: EnvironmentName,
    pub release: ReleaseRef,
    pub nodes: usize,
    pub waves: Vec<WavePlanView>,
    /// Entries of the wave list that would have added no node.
    pub dropped: Vec<String>,
    /// Nodes that no wave reaches: the rollout ends held there.
    pub held_back: Vec<NodeId>,
    pub left_out: Vec<LeftOut>,
    pub strategy: Strategy,
    pub gates: Vec<GateView>,
    pub would_start: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WavePlanView {
    pub wave: usize,
    pub reach: String,
    pub nodes: Vec<NodeId>,
    /// How many of them in each failure domain.
    pub domains: BTreeMap<String, usize>,
    pub bake: Span,
}

/// A node that the selector matches and the plan does not move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub node: NodeId,
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateView {
    pub gate: String,
    pub verdict: VerdictView,
    /// What would open it.
    #[serde(default)]
    pub hint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictView {
    Open,
    Waiting { why: String, until: Option<Timestamp> },
    Shut { why: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    pub coordinator: CoordinatorView,
    /// Nothing moves anywhere until `fleetctl unhalt`.
    #[serde(default)]
    pub halt: Option<HaltView>,
    pub environments: Vec<EnvironmentView>,
    /// Active ones, then the newest that ended; newest first.
    pub rollouts: Vec<RolloutView>,
    pub nodes: Vec<NodeView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoordinatorView {
    pub version: String,
    pub term: u64,
    pub position: u64,
    pub now: Timestamp,
    /// It gives no orders, and why: nodes have seen what its state does not know.
    #[serde(default)]
    pub outdated: Option<WaitingView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentView {
    pub environment: EnvironmentName,
    pub select: String,
    /// Nothing moves here until `fleetctl unhalt --env NAME`.
    #[serde(default)]
    pub halt: Option<HaltView>,
    pub apps: Vec<EnvironmentAppView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltView {
    pub by: String,
    pub reason: String,
    pub since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentAppView {
    pub app: AppName,
    /// Recorded when a rollout succeeds.
    pub desired: Option<ReleaseRef>,
    pub nodes: usize,
    pub healthy: usize,
    pub unavailable: usize,
    /// Nodes that do not run what is wanted of them, and are in no rollout.
    #[serde(default)]
    pub behind: usize,
    /// How many nodes run which version.
    pub versions: BTreeMap<String, usize>,
}

/// Where a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutStateView {
    Running,
    Paused,
    /// As far as its waves reach; `fleetctl resume N --waves …` widens it.
    Held,
    Succeeded,
    Failed,
    Aborted,
}

impl RolloutStateView {
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Aborted)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutView {
    pub number: RolloutNumber,
    pub app: AppName,
    pub environment: EnvironmentName,
    /// Forward: the release that is rolled out. Rollback: absent when each node goes
    /// to its own last good.
    pub release: Option<ReleaseRef>,
    pub kind: RolloutKindView,
    pub state: RolloutStateView,
    /// A whole sentence, for paused, held, failed and aborted.
    pub why: Option<String>,
    /// A person has to act before it goes on: paused by a failure, not by an operator.
    pub needs_person: bool,
    /// The last lines of the migration's command that came to no good end.
    #[serde(default)]
    pub migration_log: Vec<String>,
    pub by: String,
    pub reason: Option<String>,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// The rollback that this rollout led to.
    pub rollback: Option<RolloutNumber>,
    /// The rollout that took its place.
    #[serde(default)]
    pub superseded_by: Option<RolloutNumber>,
    pub waves: Vec<WaveView>,
    pub steps: Vec<StepView>,
    /// Why it is not moving, in the words that every surface shows.
    pub waiting: Vec<WaitingView>,
    pub left_out: Vec<LeftOut>,
    pub strategy: Strategy,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutKindView {
    Forward,
    /// Nodes that were away, or are new, are brought to what is wanted of them.
    CatchUp,
    Rollback {
        parent: Option<RolloutNumber>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveView {
    pub wave: usize,
    pub reach: String,
    pub state: WaveStateView,
    pub nodes: Vec<NodeId>,
    pub started_at: Option<Timestamp>,
    pub bake_until: Option<Timestamp>,
    pub passed_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaveStateView {
    Pending,
    Running,
    Baking,
    Passed,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    pub node: NodeId,
    pub wave: usize,
    pub phase: Phase,
    /// The node cannot be reached just now; the phase is the last one known.
    pub unreachable: bool,
    pub since: Timestamp,
    pub from: Option<ReleaseRef>,
    pub failure: Option<Failure>,
}

/// One thing that a rollout waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingView {
    pub what: String,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// A command that would change it.
    pub hint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionView {
    Connected,
    /// The stream is gone, the grace is not over.
    Silent {
        since: Timestamp,
    },
    Unreachable {
        since: Timestamp,
    },
    Revoked {
        at: Timestamp,
    },
    /// It was ephemeral, and gone for too long.
    Expired {
        at: Timestamp,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    pub node: NodeId,
    pub labels: Labels,
    pub platform: Platform,
    pub environments: Vec<EnvironmentName>,
    pub connection: ConnectionView,
    /// Who said that nothing new is brought to it, and why.
    #[serde(default)]
    pub cordon: Option<String>,
    /// Its apps are being stopped, or are.
    #[serde(default)]
    pub drained: Option<DrainView>,
    pub enrolled_at: Timestamp,
    pub facts: Option<Facts>,
    /// How it is now, by its newest heartbeat; only where one node is asked for.
    #[serde(default)]
    pub vitals: Option<VitalsView>,
    pub agent_version: Option<String>,
    pub apps: Vec<NodeAppView>,
}

/// What a node says of itself now and then; nobody writes it down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VitalsView {
    pub cpu_percent: u8,
    pub memory_percent: u8,
    pub disk_free: Bytes,
    /// Those that it could run.
    pub releases: Vec<ReleaseOnDisk>,
}

impl From<Heartbeat> for VitalsView {
    fn from(beat: Heartbeat) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "brought to 0 to 100 just before"
        )]
        let percent = |share: f64| share.clamp(0.0, 100.0).round() as u8;
        Self {
            cpu_percent: percent(beat.cpu_percent),
            memory_percent: percent(beat.memory_percent),
            disk_free: beat.disk_free,
            releases: beat.releases,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrainView {
    /// It has not said yet that its apps are stopped.
    Draining,
    Drained,
}

impl DrainView {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Drained => "drained",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAppView {
    pub app: AppName,
    pub current: Option<ReleaseRef>,
    pub last_good: Option<ReleaseRef>,
    pub health: Health,
    pub phase: Option<Phase>,
    pub rollout: Option<RolloutNumber>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseView {
    pub app: AppName,
    pub release: ReleaseRef,
    pub counter: u64,
    pub pushed_at: Timestamp,
    pub by: String,
    pub components: Vec<String>,
    pub signed_by: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    pub id: TokenId,
    /// The only node that it lets in; absent: any new one.
    pub node: Option<NodeId>,
    pub labels: Labels,
    pub uses_left: u32,
    pub expires_at: Timestamp,
    pub by: String,
    #[serde(default)]
    pub ephemeral: bool,
    pub state: String,
}

/// Whoever may ask and order, and in what role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorView {
    pub operator: OperatorName,
    /// None at all: removed.
    pub roles: Roles,
    /// An admin by the word of coordinator.toml.
    pub in_configuration: bool,
    pub by: Option<String>,
    pub since: Option<Timestamp>,
    pub tokens: Vec<AccessTokenView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessTokenView {
    pub id: TokenId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub by: String,
    pub state: String,
}

/// What a node backed up before it migrated, and the coordinator keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupView {
    pub app: AppName,
    pub environment: EnvironmentName,
    /// Before whose migration.
    pub rollout: RolloutNumber,
    pub release: ReleaseRef,
    pub node: NodeId,
    pub at: Timestamp,
    pub digest: Digest,
    pub bytes: u64,
}

/// What on a node is not as Fleet left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDriftView {
    pub node: NodeId,
    /// Why not all of it was looked at; then there may be drift that is not listed.
    pub unknown: Vec<String>,
    pub findings: Vec<Finding>,
    /// How many there are that are not listed.
    pub more: u64,
}

/// One line of a component's log, or the number of lines that are missing there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLineView {
    pub node: NodeId,
    pub component: ComponentName,
    /// Absent where the log does not say.
    pub at: Option<Timestamp>,
    pub line: Option<String>,
    /// So many lines were not told, for nobody read them in time.
    #[serde(default)]
    pub skipped: u64,
}

/// One event of the journal, as `fleetctl events` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    pub position: u64,
    pub at: Timestamp,
    pub kind: String,
    pub rollout: Option<RolloutNumber>,
    pub node: Option<NodeId>,
    /// Whose wish it was, where it was anybody's.
    #[serde(default)]
    pub by: Option<String>,
    /// A sentence in the past tense.
    pub message: String,
}
