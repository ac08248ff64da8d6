//! All that can happen to the coordinator: one closed enum.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fleet_proto::digest::Digest;
use fleet_proto::ids::{AppName, ClusterName, EnvironmentName, NodeId, OperatorName, RolloutNumber, TokenId};
use fleet_proto::labels::{Labels, Selector};
use fleet_proto::migration::MigrationStand;
use fleet_proto::quantity::{Amount, Span};
use fleet_proto::release::{OnFailure, Platform};
use fleet_proto::role::Roles;
use fleet_proto::session::{AppStatus, Hello, HistoryEntry, Refusal as AgentRefusal, ServiceStatus};
use fleet_proto::time::Timestamp;
use fleet_proto::version::Version;
use fleet_proto::waves::WaveSpec;

use super::event::{CatchUp, NewToken, PushRelease, Urgency};
use super::gate::{Insistence, WithKnownBad};
use super::requests::drain::Limit;

#[derive(Debug, Clone)]
pub enum Input {
    /// The first input of a process: raises the term.
    TakeCharge {
        environments: BTreeMap<EnvironmentName, Definition>,
        admins: BTreeSet<OperatorName>,
    },
    Request {
        by: Author,
        request: Request,
    },
    NodeConnected {
        node: NodeId,
        hello: Hello,
    },
    NodeStatus {
        node: NodeId,
        status: AppStatus,
    },
    NodeRefused {
        node: NodeId,
        refusal: AgentRefusal,
    },
    NodeHistory {
        node: NodeId,
        entry: HistoryEntry,
    },
    NodeService {
        node: NodeId,
        status: ServiceStatus,
    },
    /// Its stream is gone.
    NodeGone {
        node: NodeId,
    },
    Tick,
}

/// Whose request it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    Operator(OperatorName),
    /// Who asks to be let in: what it has to show for it is in the request.
    Newcomer(NodeId),
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(operator) => operator.fmt(f),
            Self::Newcomer(node) => write!(f, "node/{node}"),
        }
    }
}

#[derive(Debug, Clone)]
pub enum Request {
    StartRollout(Intent),
    Pause {
        number: RolloutNumber,
        reason: Option<String>,
    },
    Resume {
        number: RolloutNumber,
        waves: Option<WaveSpec>,
    },
    Abort {
        number: RolloutNumber,
        reason: Option<String>,
    },
    /// What failed or remains, and nothing else.
    Retry(Retry),
    Halt {
        /// Absent: the whole fleet.
        environment: Option<EnvironmentName>,
        reason: Option<String>,
    },
    Unhalt {
        environment: Option<EnvironmentName>,
    },
    /// How a migration stands that nobody saw the end of: a person has looked.
    ResolveMigration {
        number: RolloutNumber,
        stand: MigrationStand,
    },
    RollBack(RollBack),
    PushRelease(PushRelease),
    CreateToken {
        token: NewToken,
        valid_for: Span,
    },
    RevokeToken {
        token: TokenId,
    },
    AddOperator {
        operator: OperatorName,
        /// From now on in these places; in others it keeps what it has.
        roles: Roles,
        /// The beginning of the certificate that was made with it.
        certificates_from: Option<Timestamp>,
    },
    RemoveOperator {
        operator: OperatorName,
        /// Only what it may there.
        environment: Option<EnvironmentName>,
    },
    CreateAccessToken {
        operator: OperatorName,
        token: TokenId,
        secret_hash: Digest,
        valid_for: Span,
    },
    RevokeAccessToken {
        token: TokenId,
    },
    /// Durable before the node gets its certificate.
    Enrol {
        token: TokenId,
        secret_hash: Digest,
        node: NodeId,
        /// Of the public key that the node made.
        key: Digest,
        /// The beginning of the certificate that it gets: older ones are its no more.
        certificates_from: Timestamp,
        platform: Platform,
    },
    /// As [`Request::Enrol`], by the word of a cluster.
    EnrolPod {
        cluster: ClusterName,
        /// Of the cluster, and not of what the pod says.
        labels: Labels,
        naming: Naming,
        node: NodeId,
        key: Digest,
        certificates_from: Timestamp,
        platform: Platform,
    },
    LabelNode {
        node: NodeId,
        set: Labels,
        remove: Vec<String>,
    },
    RevokeNode {
        node: NodeId,
        reason: String,
    },
    CordonNode {
        node: NodeId,
        reason: Option<String>,
    },
    UncordonNode {
        node: NodeId,
    },
    DrainNode {
        node: NodeId,
        reason: Option<String>,
        limit: Limit,
    },
    UndrainNode {
        node: NodeId,
    },
}

/// Where the name comes from that a pod joins under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// It follows from the pod: whoever has it is that very pod.
    Bound,
    /// The agent chose it.
    Chosen,
}

/// An environment, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub select: Selector,
    pub catch_up: CatchUp,
}

impl From<Selector> for Definition {
    fn from(select: Selector) -> Self {
        Self {
            select,
            catch_up: CatchUp::default(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retry {
    pub number: RolloutNumber,
    pub known_bad: WithKnownBad,
    pub reason: Option<String>,
}

/// What an operator wants; what is absent is as the release's strategy says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    pub app: Option<AppName>,
    pub environment: Option<EnvironmentName>,
    pub version: Option<Version>,
    pub waves: Option<WaveSpec>,
    pub bake: Vec<Span>,
    pub max_in_flight: Option<Amount>,
    pub max_unavailable: Option<Amount>,
    pub min_available: Option<Amount>,
    pub max_failures: Option<Amount>,
    pub max_unreachable: Option<Amount>,
    pub on_failure: Option<OnFailure>,
    pub select: Selector,
    pub canary: Option<Selector>,
    pub reason: Option<String>,
    pub request_id: Option<String>,
    pub insistence: Insistence,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RollBack {
    /// Absent: the active rollout, else what the app runs now.
    pub number: Option<RolloutNumber>,
    pub app: Option<AppName>,
    pub environment: Option<EnvironmentName>,
    pub to: Option<Version>,
    pub reason: Option<String>,
    /// An emergency halts everything else and takes everybody back at once.
    pub urgency: Urgency,
    pub known_bad: WithKnownBad,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Done,
    Rollout(RolloutNumber),
    /// `new` is false when exactly this release was there already.
    Pushed {
        new: bool,
    },
    TokenCreated {
        expires_at: Timestamp,
    },
    /// Whose access it was.
    Access(OperatorName),
    Enrolled {
        labels: Labels,
    },
}

/// Why a request was not carried out; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub kind: RefusalKind,
    pub message: String,
    /// What would work instead; a command where there is one.
    pub hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// There is no such thing.
    NotFound,
    /// The request makes no sense in any state.
    Usage,
    /// It makes no sense in this state.
    Refused,
    /// Not for this one.
    NotAllowed,
}

impl Refusal {
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What holds for every rollout and comes from the coordinator's configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a silent node counts as there.
    pub unreachable_after: Span,
    /// The same, just after the coordinator itself was away.
    pub unreachable_after_restart: Span,
    /// How long an ephemeral node is gone before nobody waits for it any more.
    pub ephemeral_expiry: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            unreachable_after: Span::from_secs(10),
            // Agents back off to at most 15 s while nobody answers.
            unreachable_after_restart: Span::from_secs(40),
            // A pod that is moved to another machine is another pod, and there long before.
            ephemeral_expiry: Span::from_secs(600),
        }
    }
}
