//! What follows from the journal: events in, state out, and nothing else changes it.

mod apply;
mod migrations;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use fleet_proto::digest::Digest;
use fleet_proto::fence::Fence;
use fleet_proto::ids::{AppName, ComponentName, EnvironmentName, NodeId, RolloutNumber, TokenId};
use fleet_proto::labels::{Labels, Selector};
use fleet_proto::migration::{MigrationAct, MigrationPlan, MigrationStand};
use fleet_proto::quantity::Span;
use fleet_proto::release::{Platform, ReleaseRef, Strategy};
use fleet_proto::session::{Failure, FailureClass, Order, Phase};
use fleet_proto::time::Timestamp;
use fleet_proto::version::Version;

use super::event::{CatchUp, Outcome, PauseCause, RolloutKind, Urgency};
use super::node::Node;
use super::plan::Plan;

pub use apply::{IllegalEvent, moves};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Of the last event.
    pub position: u64,
    pub at: Timestamp,
    pub term: u64,
    /// Nodes that have seen what does not follow from this state.
    #[serde(default)]
    pub outdated: BTreeMap<NodeId, Fence>,
    /// Numbers up to this one have another history besides this one.
    #[serde(default)]
    pub taken_over: RolloutNumber,
    /// The whole fleet's; an environment may have one of its own.
    #[serde(default)]
    pub halt: Option<Halt>,
    pub environments: BTreeMap<EnvironmentName, Environment>,
    pub releases: BTreeMap<AppName, BTreeMap<Version, Release>>,
    pub tokens: BTreeMap<TokenId, Token>,
    pub nodes: BTreeMap<NodeId, Node>,
    /// Those whose grace is running: what a tick has to look at.
    pub silent: BTreeSet<NodeId>,
    /// All that are not connected: an index.
    #[serde(default)]
    pub away: BTreeSet<NodeId>,
    pub rollouts: BTreeMap<RolloutNumber, Rollout>,
    /// Those that have not ended: what a decision has to look at.
    pub active: BTreeSet<RolloutNumber>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    pub select: Selector,
    /// What a rollout that succeeded left here.
    pub desired: BTreeMap<AppName, ReleaseRef>,
    #[serde(default)]
    pub catch_up: CatchUp,
    #[serde(default)]
    pub halt: Option<Halt>,
    /// Releases that failed here.
    #[serde(default)]
    pub known_bad: BTreeMap<AppName, BTreeMap<Version, KnownBad>>,
    /// Nodes that do not run what is wanted of them and are in no rollout's plan.
    #[serde(default)]
    pub behind: BTreeMap<AppName, BTreeSet<NodeId>>,
    /// Nodes in it: an index.
    #[serde(default)]
    pub members: BTreeSet<NodeId>,
    /// Those of them that served and do not serve well now, or are on their way: an index.
    #[serde(default)]
    pub down: BTreeMap<AppName, BTreeSet<NodeId>>,
    /// How each release's migration stands in this environment's database.
    #[serde(default)]
    pub migrations: BTreeMap<AppName, BTreeMap<Version, MigrationRecord>>,
}

/// At most once for each database and release: this is what is known of that once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationRecord {
    pub release: ReleaseRef,
    pub act: MigrationAct,
    pub stand: MigrationStand,
    pub node: NodeId,
    pub rollout: RolloutNumber,
    pub at: Timestamp,
    pub why: Option<String>,
    /// Its contract step was begun: there is no way back.
    pub contracted: bool,
}

/// What a rollout has told a node to do to the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationRun {
    pub act: MigrationAct,
    pub release: ReleaseRef,
    pub node: NodeId,
    pub generation: u32,
    pub stand: MigrationStand,
    pub why: Option<String>,
    pub since: Timestamp,
    /// Nodes that could not begin: another one is asked.
    pub passed: Vec<NodeId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    pub by: String,
    pub reason: String,
    pub since: Timestamp,
    /// An emergency with this number or a higher one began in spite of it, and goes on.
    #[serde(default)]
    pub before: RolloutNumber,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwanted {
    pub of_the_environment: Option<ReleaseRef>,
    pub of_nodes: BTreeMap<NodeId, ReleaseRef>,
}

impl Halt {
    pub fn stops(&self, rollout: &Rollout) -> bool {
        rollout.urgency == Urgency::Ordinary || rollout.number < self.before
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownBad {
    pub release: ReleaseRef,
    pub rollout: RolloutNumber,
    pub why: String,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub release: ReleaseRef,
    pub counter: u64,
    pub components: Vec<ComponentName>,
    pub platforms: Vec<Platform>,
    pub strategy: Strategy,
    #[serde(default)]
    pub healthy_deadline: Span,
    #[serde(default)]
    pub migration: Option<MigrationPlan>,
    pub signed_by: Vec<String>,
    pub pushed_at: Timestamp,
    pub by: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub secret_hash: Digest,
    pub node: Option<NodeId>,
    pub labels: Labels,
    pub uses_left: u32,
    pub expires_at: Timestamp,
    pub revoked: bool,
    pub by: String,
}

impl Token {
    /// How long an expired token is still told apart from one that never was.
    const KEPT: Span = Span::from_secs(30 * 86_400);

    pub fn is_kept(&self, now: Timestamp) -> bool {
        self.expires_at.plus(Self::KEPT) > now
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub number: RolloutNumber,
    pub kind: RolloutKind,
    pub plan: Plan,
    pub by: String,
    pub reason: Option<String>,
    pub request_id: Option<String>,
    pub started_at: Timestamp,
    /// In which it started.
    #[serde(default)]
    pub term: u64,
    pub course: Course,
    /// The wave that runs or comes next; the number of waves when all have passed.
    pub wave: usize,
    pub waves: Vec<WaveProgress>,
    pub steps: BTreeMap<NodeId, Step>,
    /// Those of them that are not quiet: an index.
    #[serde(default)]
    pub open: BTreeSet<NodeId>,
    /// The plan's, to be looked up in.
    #[serde(default)]
    pub held_back: BTreeSet<NodeId>,
    /// When a node last got good, or the wait for that began anew.
    pub progress_at: Timestamp,
    /// When it last began to run: deadlines do not count the time before.
    #[serde(default)]
    pub clock_from: Timestamp,
    #[serde(default)]
    pub urgency: Urgency,
    #[serde(default)]
    pub selected: bool,
    /// Nodes that catch up, or are put back from that: there may be another rollout.
    #[serde(default)]
    pub beside: bool,
    /// The newest order about a migration.
    #[serde(default)]
    pub migration: Option<MigrationRun>,
    pub rollback: Option<RolloutNumber>,
    #[serde(default)]
    pub superseded_by: Option<RolloutNumber>,
    /// What was wanted until this rollback took it away: it is wanted again if that comes
    /// to nothing.
    #[serde(default)]
    pub unwanted: Unwanted,
}

/// Where a rollout is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Course {
    Running,
    Paused {
        cause: PauseCause,
        why: String,
        since: Timestamp,
    },
    /// As far as its waves reach.
    Held {
        since: Timestamp,
    },
    Ended {
        outcome: Outcome,
        why: Option<String>,
        at: Timestamp,
    },
}

impl Course {
    /// As one says it of what is over.
    pub fn past(&self) -> String {
        match self {
            Self::Ended {
                outcome: Outcome::Aborted,
                ..
            } => "was aborted".to_owned(),
            Self::Ended { .. } => format!("has {}", self.word()),
            _ => format!("is {}", self.word()),
        }
    }

    pub fn word(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused { .. } => "paused",
            Self::Held { .. } => "held",
            Self::Ended { outcome, .. } => match outcome {
                Outcome::Succeeded => "succeeded",
                Outcome::Failed => "failed",
                Outcome::Aborted => "aborted",
            },
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveProgress {
    pub started_at: Option<Timestamp>,
    pub bake_until: Option<Timestamp>,
    pub passed_at: Option<Timestamp>,
}

/// One node's move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub wave: usize,
    /// In the wave's order.
    pub place: usize,
    pub phase: Phase,
    pub since: Timestamp,
    /// Of the newest order; 0 before the first.
    pub generation: u32,
    pub order: Option<Order>,
    /// What ran there before the first order.
    pub from: Option<ReleaseRef>,
    pub failure: Option<Failure>,
    /// How often it was tried again by itself, after failing for want of infrastructure.
    #[serde(default)]
    pub retries: u32,
    /// When it is tried again; until then its failure does not count.
    #[serde(default)]
    pub retry_at: Option<Timestamp>,
    /// The phase that took too long under its newest order; the node may still be at it.
    #[serde(default)]
    pub overdue: Option<Phase>,
    /// Its wave went on without it: it was not to be told.
    #[serde(default)]
    pub skipped: bool,
    /// A newer rollout has told the node to move, as after it was labelled into another
    /// environment: of this one it speaks no more.
    #[serde(default)]
    pub taken_over: bool,
    /// An operator resumed in spite of it: nobody waits for it or counts it any more.
    pub forgiven: bool,
    /// It was told after its wave had gone on without it, or passed before.
    #[serde(default)]
    pub came_after: bool,
}

impl Step {
    pub fn is_issued(&self) -> bool {
        self.generation > 0
    }

    /// The node was told, and its move is not over. (After a resume a step that was told
    /// before is pending again.)
    pub fn is_in_flight(&self) -> bool {
        self.phase != Phase::Pending && !self.phase.is_settled()
    }

    /// Verified, or beyond.
    pub fn is_good(&self) -> bool {
        matches!(self.phase, Phase::Baking | Phase::Done)
    }

    /// Told to keep the release.
    pub fn is_committed(&self) -> bool {
        self.order == Some(Order::Commit)
    }

    /// Done and well, or yet to come: nothing follows from it while that wave runs.
    pub fn is_quiet(&self, wave: usize) -> bool {
        let is_to_come = self.phase == Phase::Pending && self.wave > wave;
        (is_to_come || self.phase == Phase::Done) && self.failure.is_none()
    }

    /// Told, and nothing has gone wrong so far.
    pub fn is_on_its_way(&self) -> bool {
        self.is_in_flight() && self.failure.is_none() && !self.forgiven && !self.taken_over
    }

    /// Failed, and not to be tried again by itself.
    pub fn has_given_up(&self) -> bool {
        self.failure.is_some() && self.retry_at.is_none()
    }

    pub fn failed_as(&self, class: FailureClass) -> bool {
        self.failure
            .as_ref()
            .is_some_and(|failure| failure.class == class)
    }
}

impl Rollout {
    pub fn is_ended(&self) -> bool {
        matches!(self.course, Course::Ended { .. })
    }

    pub fn succeeded(&self) -> bool {
        matches!(
            self.course,
            Course::Ended {
                outcome: Outcome::Succeeded,
                ..
            }
        )
    }

    /// Its release was in service on some node.
    pub fn has_proven_it(&self) -> bool {
        self.succeeded() || self.steps.values().any(|step| step.phase == Phase::Done)
    }

    /// Brings a release, and does not put one back.
    pub fn is_forward(&self) -> bool {
        !matches!(self.kind, RolloutKind::Rollback { .. })
    }

    pub fn is_catch_up(&self) -> bool {
        matches!(self.kind, RolloutKind::CatchUp { .. })
    }

    pub fn release(&self) -> Option<&ReleaseRef> {
        match &self.kind {
            RolloutKind::Forward { release } | RolloutKind::CatchUp { release } => Some(release),
            RolloutKind::Rollback { to, .. } => to.as_ref(),
        }
    }

    /// Those that anything may follow from.
    pub fn open_steps(&self) -> impl Iterator<Item = (&NodeId, &Step)> {
        self.open.iter().filter_map(|id| Some((id, self.steps.get(id)?)))
    }

    pub fn has_in_its_plan(&self, node: &NodeId) -> bool {
        self.steps.contains_key(node) || self.held_back.contains(node)
    }

    pub fn ended_at(&self) -> Option<Timestamp> {
        match self.course {
            Course::Ended { at, .. } => Some(at),
            _ => None,
        }
    }
}

impl State {
    /// The one that there may be, beside which nodes catch up.
    pub fn active_rollout(&self, app: &AppName, environment: &EnvironmentName) -> Option<&Rollout> {
        self.active_of(app, environment).find(|rollout| !rollout.beside)
    }

    pub fn active_beside(&self, app: &AppName, environment: &EnvironmentName) -> Option<&Rollout> {
        self.active_of(app, environment).find(|rollout| rollout.beside)
    }

    fn active_of(&self, app: &AppName, environment: &EnvironmentName) -> impl Iterator<Item = &Rollout> {
        self.active
            .iter()
            .filter_map(|number| self.rollouts.get(number))
            .filter(move |rollout| rollout.plan.app == *app && rollout.plan.environment == *environment)
    }

    /// The halt that stops this environment, be it its own or the whole fleet's.
    pub fn halt_of(&self, environment: &EnvironmentName) -> Option<&Halt> {
        let own = self
            .environments
            .get(environment)
            .and_then(|within| within.halt.as_ref());
        self.halt.as_ref().or(own)
    }

    /// The halt that stops this very rollout.
    pub fn halts(&self, rollout: &Rollout) -> Option<&Halt> {
        let within = self.environments.get(&rollout.plan.environment);
        let own = within.and_then(|within| within.halt.as_ref());
        let mut halts = self.halt.iter().chain(own);
        halts.find(|halt| halt.stops(rollout))
    }

    /// Another environment that claims the node too.
    pub fn other_environment(&self, own: &EnvironmentName, node: &Node) -> Option<&EnvironmentName> {
        self.environments
            .iter()
            .filter(|(name, _)| *name != own)
            .find(|(_, other)| other.select.matches(&node.labels))
            .map(|(name, _)| name)
    }

    /// Its orders would be taken for others; see `outdated`.
    pub fn is_outdated(&self) -> bool {
        !self.outdated.is_empty()
    }

    pub fn release(&self, app: &AppName, version: &Version) -> Option<&Release> {
        self.releases.get(app)?.get(version)
    }

    /// The newest number that is taken, here or elsewhere. Numbers are forgotten from the
    /// oldest on, and the newest never.
    pub fn last_rollout(&self) -> RolloutNumber {
        let newest = self.rollouts.keys().next_back().copied().unwrap_or_default();
        newest.max(self.taken_over)
    }

    pub fn next_rollout(&self) -> RolloutNumber {
        RolloutNumber(self.last_rollout().0 + 1)
    }

    /// Nodes that the environment selects, without those that were revoked.
    pub fn nodes_of<'a>(&'a self, select: &'a Selector) -> impl Iterator<Item = (&'a NodeId, &'a Node)> {
        self.nodes
            .iter()
            .filter(|(_, node)| !node.is_revoked() && select.matches(&node.labels))
    }
}
