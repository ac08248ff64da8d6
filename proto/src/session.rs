//! What coordinator and agent say to each other on the session, as domain types.
//!
//! Reports are states, not steps: an agent says how its last order stands, as often
//! as it likes, and the coordinator takes what is new. So nothing is lost with a
//! stream, and nothing needs an acknowledgement but the history of what a node did on
//! its own. The conversion from and to the wire is in `session/convert.rs`.

pub mod anew;
mod convert;
pub mod drift;
pub mod question;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::fence::Fence;
use crate::ids::{AppName, EnvironmentName, RolloutNumber};
use crate::migration::{MigrationAct, MigrationStand};
use crate::quantity::{Bytes, Span};
use crate::release::{Platform, ReleaseRef};
use crate::time::Timestamp;
use crate::version::Protocol;

pub use convert::{WireError, lines_from_wire, lines_to_wire};
use question::Question;

#[derive(Debug, Clone, PartialEq)]
pub enum FromAgent {
    Hello(Hello),
    Status(Box<AppStatus>),
    Refusal(Refusal),
    Heartbeat(Heartbeat),
    History(HistoryEntry),
    Service(ServiceStatus),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToAgent {
    Welcome(Welcome),
    Command(Command),
    HistoryTaken {
        through_sequence: u64,
    },
    /// The coordinator stops or sheds load: come back later.
    GoAway {
        retry_after: Span,
        why: String,
    },
    /// Get the release ready, change nothing.
    Prefetch {
        app: AppName,
        release: ReleaseRef,
        environment: Option<EnvironmentName>,
    },
    Service(Service),
    /// To be answered in a call of its own.
    Question(Question),
}

/// The first message of every session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub protocol: Protocol,
    pub agent_version: String,
    pub facts: Facts,
    pub apps: Vec<AppStatus>,
    /// Absent: an agent from before nodes could be drained.
    pub service: Option<ServiceStatus>,
}

/// Whether the node's apps shall run at all. No order of any rollout, so it has a number
/// of its own, which rises with each word on it to this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub term: u64,
    pub sequence: u64,
    /// Its apps are to be stopped, and to stay so.
    pub drained: bool,
}

/// How far a node has got with the newest of these that it has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub sequence: u64,
    /// No process of any app runs any more.
    pub drained: bool,
}

/// What a node says of itself. Policy never rests on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub platform: Platform,
    pub hostname: String,
    pub kernel: String,
    pub cpus: u32,
    pub memory: Bytes,
    /// Of the file system with the agent's state; 0 where an older agent did not say.
    #[serde(default)]
    pub disk: Bytes,
    pub disk_free: Bytes,
    pub booted_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    pub term: u64,
    pub heartbeat: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    pub cpu_percent: f64,
    pub memory_percent: f64,
    pub disk_free: Bytes,
    /// Whole ones, which the node could run.
    pub releases: Vec<ReleaseOnDisk>,
    /// Apps of which a component was restarted again and again just now.
    pub restarting: BTreeSet<AppName>,
}

/// Several for each app that a node may have; the rest are not told.
pub const RELEASES_ON_DISK_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseOnDisk {
    pub app: AppName,
    pub release: ReleaseRef,
}

/// An order to one node, and the authority to give it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub fence: Fence,
    pub app: AppName,
    /// Whose overlay the app's variables get. None is the app's own, without any.
    #[serde(default)]
    pub environment: Option<EnvironmentName>,
    pub order: Order,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Fetch, activate, verify, and go on checking until told that the bake is over.
    Deploy { release: ReleaseRef },
    /// The release's migration, with nothing else: what runs, runs on.
    Migrate { release: ReleaseRef, act: MigrationAct },
    /// The bake is over: the release that runs is the last good one from now on.
    Commit,
    /// Put back: away from `leave`, to the named release, else to the newest good one
    /// that is not `leave`. A node that does not run `leave` any more has nothing to do.
    Revert {
        leave: Option<ReleaseRef>,
        to: Option<ReleaseRef>,
        why: String,
    },
}

/// How one app stands on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    pub app: AppName,
    pub fence_seen: Fence,
    pub current: Option<ReleaseRef>,
    pub last_good: Option<ReleaseRef>,
    pub health: Health,
    pub step: Option<StepStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// No release runs here.
    Empty,
    /// Not yet known, as just after a start.
    Unknown,
    Healthy,
    Unhealthy {
        why: String,
    },
}

/// How the newest order stands: (rollout, generation) is that order's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepStatus {
    pub rollout: RolloutNumber,
    pub generation: u32,
    pub release: Option<ReleaseRef>,
    pub phase: Phase,
    /// Kept through rolling back and rolled back: why it came to that.
    pub failure: Option<Failure>,
    /// The release that was left for it.
    pub failed: Option<ReleaseRef>,
    /// How far the migration came that was ordered, if it was one.
    pub migration: Option<MigrationStand>,
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Pending,
    Fetching,
    Staged,
    Migrating,
    Activating,
    Verifying,
    Baking,
    Done,
    Failed,
    RollingBack,
    RolledBack,
}

impl Phase {
    pub const ALL: [Self; 11] = [
        Self::Pending,
        Self::Fetching,
        Self::Staged,
        Self::Migrating,
        Self::Activating,
        Self::Verifying,
        Self::Baking,
        Self::Done,
        Self::Failed,
        Self::RollingBack,
        Self::RolledBack,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Fetching => "fetching",
            Self::Staged => "staged",
            Self::Migrating => "migrating",
            Self::Activating => "activating",
            Self::Verifying => "verifying",
            Self::Baking => "baking",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::RollingBack => "rolling-back",
            Self::RolledBack => "rolled-back",
        }
    }

    /// Nothing more happens on the node by itself.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::RolledBack)
    }

    /// The app may be down on the node, through Fleet's doing.
    pub const fn disturbs(self) -> bool {
        matches!(
            self,
            Self::Migrating | Self::Activating | Self::Verifying | Self::RollingBack
        )
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a {1}")]
pub struct WordError(String, &'static str);

impl WordError {
    pub(crate) fn new(text: &str, kind: &'static str) -> Self {
        Self(text.to_owned(), kind)
    }
}

impl FromStr for Phase {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        Self::ALL
            .into_iter()
            .find(|phase| phase.word() == text)
            .ok_or_else(|| WordError(text.to_owned(), "phase"))
    }
}

/// Why a step failed, with the figure that broke a limit where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub class: FailureClass,
    /// `web/health`: component and check, where a check failed.
    pub check: Option<String>,
    /// A whole sentence; names the figure and the limit too.
    pub message: String,
    pub figure: Option<String>,
    pub limit: Option<String>,
    /// The last lines that the process wrote.
    pub log_tail: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// Verification, migration, smoke, restart loop, a signature that is not ours.
    Release,
    /// Fetch, disk, unreachable, agent lost: says nothing about the release.
    Infrastructure,
    Operator,
}

impl FailureClass {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Infrastructure => "infrastructure",
            Self::Operator => "operator",
        }
    }
}

impl FromStr for FailureClass {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        [Self::Release, Self::Infrastructure, Self::Operator]
            .into_iter()
            .find(|class| class.word() == text)
            .ok_or_else(|| WordError(text.to_owned(), "failure class"))
    }
}

/// The agent will not do what it was told; the ledger is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub app: AppName,
    pub refused: Fence,
    pub seen: Fence,
    pub why: String,
}

/// What the node did on its own while nobody could be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Rises on each node; the coordinator takes each entry once.
    pub sequence: u64,
    pub at: Timestamp,
    pub app: AppName,
    pub from: Option<ReleaseRef>,
    pub to: Option<ReleaseRef>,
    pub cause: HistoryCause,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HistoryCause {
    /// `fleet-agent rollback`, by a person on the node.
    ByHand,
    /// The node put itself back after a failed verification or bake.
    ByItself,
}

impl HistoryCause {
    pub const fn word(self) -> &'static str {
        match self {
            Self::ByHand => "by-hand",
            Self::ByItself => "by-itself",
        }
    }
}

impl FromStr for HistoryCause {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        [Self::ByHand, Self::ByItself]
            .into_iter()
            .find(|cause| cause.word() == text)
            .ok_or_else(|| WordError(text.to_owned(), "cause"))
    }
}
