//! Facts in the past tense: all that the journal holds.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use fleet_proto::digest::Digest;
use fleet_proto::fence::Fence;
use fleet_proto::ids::{
    AppName, ClusterName, ComponentName, EnvironmentName, NodeId, OperatorName, RolloutNumber, TokenId,
};
use fleet_proto::labels::{Labels, Selector};
use fleet_proto::migration::{MigrationAct, MigrationPlan, MigrationStand};
use fleet_proto::quantity::Span;
use fleet_proto::release::{HealthRules, Platform, ReleaseRef, Strategy};
use fleet_proto::role::Roles;
use fleet_proto::session::{Facts, Failure, Health, HistoryEntry, Order, Phase, Refusal};
use fleet_proto::time::Timestamp;

use super::plan::{Plan, Wave};

/// An event with its place in the journal. `at` never goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped {
    pub position: u64,
    pub at: Timestamp,
    pub event: Event,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Event {
    /// A coordinator process started on this journal.
    TookCharge {
        term: u64,
    },
    /// The node has seen what does not follow from this journal.
    FoundOutdated {
        node: NodeId,
        seen: Fence,
    },
    /// Somebody decided that this journal is the one to go on from, behind all that
    /// nodes have seen.
    TookOver {
        term: u64,
        /// The newest number that anybody has seen.
        rollout: RolloutNumber,
    },
    EnvironmentDefined {
        environment: EnvironmentName,
        select: Selector,
        #[serde(default)]
        catch_up: CatchUp,
    },
    /// Nothing moves in the environment, or anywhere, until it is unhalted.
    Halted {
        environment: Option<EnvironmentName>,
        by: String,
        reason: String,
    },
    Unhalted {
        environment: Option<EnvironmentName>,
        by: String,
    },
    ReleasePushed {
        push: Box<PushRelease>,
        by: String,
    },

    TokenCreated {
        token: NewToken,
        expires_at: Timestamp,
        by: String,
    },
    TokenRevoked {
        token: TokenId,
        by: String,
    },

    /// As the configuration has them.
    AdminsDefined {
        admins: BTreeSet<OperatorName>,
    },
    /// These roles from now on, and no others.
    OperatorAdded {
        operator: OperatorName,
        roles: Roles,
        /// The beginning of the certificate that was made with it.
        certificates_from: Option<Timestamp>,
        by: String,
    },
    OperatorRemoved {
        operator: OperatorName,
        by: String,
    },
    AccessTokenCreated {
        operator: OperatorName,
        token: TokenId,
        secret_hash: Digest,
        expires_at: Timestamp,
        by: String,
    },
    AccessTokenRevoked {
        operator: OperatorName,
        token: TokenId,
        by: String,
    },

    /// Uses the token up by one. A node that was known comes back under its name.
    NodeEnrolled {
        node: NodeId,
        token: TokenId,
        key: Digest,
        certificates_from: Timestamp,
        labels: Labels,
        platform: Platform,
        #[serde(default)]
        tenure: Tenure,
    },
    /// By the word of its cluster. A pod that was known comes back under its name.
    PodEnrolled {
        node: NodeId,
        cluster: ClusterName,
        key: Digest,
        certificates_from: Timestamp,
        labels: Labels,
        platform: Platform,
    },
    NodeLabelled {
        node: NodeId,
        labels: Labels,
        by: String,
    },
    NodeRevoked {
        node: NodeId,
        by: String,
        reason: String,
    },
    /// It was ephemeral, and gone for so long that nobody waits for it any more.
    NodeExpired {
        node: NodeId,
        gone_since: Timestamp,
    },
    /// Nothing new is brought to the node.
    NodeCordoned {
        node: NodeId,
        by: String,
        reason: Option<String>,
    },
    NodeUncordoned {
        node: NodeId,
        by: String,
    },
    /// Its apps are to be stopped, and to stay so; nothing new is brought to it either.
    NodeDraining {
        node: NodeId,
        by: String,
        reason: Option<String>,
        sequence: u64,
        /// The limit that was overridden with that.
        #[serde(default)]
        over_limit: Option<String>,
    },
    /// Its apps are to run again, and it has its share again.
    NodeUndrained {
        node: NodeId,
        by: String,
        sequence: u64,
    },
    /// By its own word: no process of its apps runs any more.
    NodeDrained {
        node: NodeId,
        sequence: u64,
    },
    /// By its own word: its apps are to run.
    NodeServes {
        node: NodeId,
        sequence: u64,
    },
    NodeConnected {
        node: NodeId,
        agent_version: String,
        facts: Facts,
        #[serde(default)]
        can_be_drained: bool,
    },
    /// The stream is gone; the grace runs until `until`.
    NodeSilent {
        node: NodeId,
        until: Timestamp,
    },
    NodeUnreachable {
        node: NodeId,
    },
    /// What runs on the node, or how it is, changed.
    NodeReported {
        node: NodeId,
        app: AppName,
        current: Option<ReleaseRef>,
        last_good: Option<ReleaseRef>,
        health: Health,
        /// It is on its way to another release, or will be when it hears what it was told.
        #[serde(default)]
        busy: bool,
        /// What it has put itself back from, as far as that is news.
        #[serde(default)]
        left: Option<ReleaseRef>,
    },
    /// What the node did on its own while nobody could be told.
    NodeActed {
        node: NodeId,
        entry: HistoryEntry,
    },

    RolloutStarted {
        number: RolloutNumber,
        rollout: Box<RolloutStart>,
    },
    RolloutPaused {
        number: RolloutNumber,
        cause: PauseCause,
        why: String,
        /// Whose wish it was.
        #[serde(default)]
        by: Option<String>,
    },
    /// What failed for want of infrastructure is tried again; other failures, and nodes
    /// that cannot be reached now, are forgiven.
    RolloutResumed {
        number: RolloutNumber,
        by: String,
        forgiven: Vec<NodeId>,
    },
    /// An operator wants these nodes to be tried again, whatever they failed of.
    RolloutRetried {
        number: RolloutNumber,
        by: String,
        nodes: Vec<NodeId>,
    },
    RolloutWidened {
        number: RolloutNumber,
        waves: Vec<Wave>,
        held_back: Vec<NodeId>,
        by: String,
    },
    RolloutHeld {
        number: RolloutNumber,
    },
    RolloutEnded {
        number: RolloutNumber,
        outcome: Outcome,
        why: Option<String>,
        /// The rollout that puts back what this one leaves.
        rollback: Option<RolloutNumber>,
        /// The rollout that takes its place.
        #[serde(default)]
        superseded_by: Option<RolloutNumber>,
        /// Whose wish it was.
        #[serde(default)]
        by: Option<String>,
    },
    WaveStarted {
        number: RolloutNumber,
        wave: usize,
    },
    WaveBaking {
        number: RolloutNumber,
        wave: usize,
        until: Timestamp,
    },
    WavePassed {
        number: RolloutNumber,
        wave: usize,
        /// Nodes that were not to be told: cordoned, or gone to another environment.
        #[serde(default)]
        skipped: Vec<NodeId>,
    },
    CommandIssued {
        number: RolloutNumber,
        node: NodeId,
        generation: u32,
        order: Order,
    },
    CommandRefused {
        number: RolloutNumber,
        node: NodeId,
        refusal: Refusal,
    },
    /// What failed for want of infrastructure is to be tried again, its time having come.
    StepRetried {
        number: RolloutNumber,
        node: NodeId,
    },
    /// The step's phase took longer than its deadline.
    StepOverdue {
        number: RolloutNumber,
        node: NodeId,
        failure: Failure,
    },
    /// What a node said of the migration that it was told, or what a person knows of it.
    MigrationMoved {
        number: RolloutNumber,
        act: MigrationAct,
        stand: MigrationStand,
        /// Who said so: a node, or a person.
        by: String,
        why: Option<String>,
        /// The last lines that its command wrote.
        #[serde(default)]
        log_tail: Vec<String>,
    },
    StepMoved {
        number: RolloutNumber,
        node: NodeId,
        phase: Phase,
        failure: Option<Failure>,
    },
}

/// What the coordinator knows of a release without its artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushRelease {
    pub app: AppName,
    pub release: ReleaseRef,
    pub counter: u64,
    pub components: Vec<ComponentName>,
    /// Those for which every component has an artifact; `any` fits all.
    pub platforms: Vec<Platform>,
    pub strategy: Strategy,
    /// By then the node itself has given up.
    #[serde(default = "healthy_deadline")]
    pub healthy_deadline: Span,
    #[serde(default)]
    pub migration: Option<MigrationPlan>,
    pub signed_by: Vec<String>,
}

fn healthy_deadline() -> Span {
    HealthRules::default().healthy_deadline
}

/// What becomes of nodes that were away when their environment moved on, or are new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CatchUp {
    /// They are brought to the release that is wanted of them.
    #[default]
    Auto,
    /// They stay as they are until the next rollout.
    Manual,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    pub id: TokenId,
    pub secret_hash: Digest,
    /// The only name that it lets in, and lets in again; absent: any new one.
    pub node: Option<NodeId>,
    pub labels: Labels,
    pub uses: u32,
    #[serde(default)]
    pub tenure: Tenure,
}

/// Whether a node that is gone is waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tenure {
    /// Until somebody revokes it.
    #[default]
    Lasting,
    /// A pod's: some minutes after it is gone it expires.
    Ephemeral,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutStart {
    pub kind: RolloutKind,
    pub plan: Plan,
    pub by: String,
    pub reason: Option<String>,
    /// From the caller; the same one again starts nothing new.
    pub request_id: Option<String>,
    #[serde(default)]
    pub urgency: Urgency,
    /// It covers a part of the environment, so it says nothing about the rest.
    #[serde(default)]
    pub selected: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    #[default]
    Ordinary,
    /// Goes on where everything is halted.
    Emergency,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutKind {
    Forward {
        release: ReleaseRef,
    },
    /// Nodes that were away, or are new, are brought to what is wanted of them.
    CatchUp {
        release: ReleaseRef,
    },
    Rollback {
        parent: Option<RolloutNumber>,
        /// Absent: whatever runs.
        leave: Option<ReleaseRef>,
        /// Absent: each node to its own last good.
        to: Option<ReleaseRef>,
    },
}

impl RolloutKind {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Forward { .. } => "rollout",
            Self::CatchUp { .. } => "catch-up",
            Self::Rollback { .. } => "rollback",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PauseCause {
    Operator,
    Failures,
    Unreachable,
    ProgressDeadline,
    /// A wave is over and nobody in it got good.
    NobodyGood,
    /// A person has to say how a migration stands, or what becomes of it.
    Migration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Succeeded,
    Failed,
    Aborted,
}
