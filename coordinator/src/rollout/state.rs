//! What follows from the journal: events in, state out, and nothing else changes it.

mod apply;
mod migrations;
mod rollout;
mod step;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use fleet_proto::digest::Digest;
use fleet_proto::fence::Fence;
use fleet_proto::ids::{
    AppName, ComponentName, EnvironmentName, NodeId, OperatorName, RolloutNumber, TokenId,
};
use fleet_proto::labels::{Labels, Selector};
use fleet_proto::migration::{MigrationAct, MigrationPlan, MigrationStand};
use fleet_proto::quantity::Span;
use fleet_proto::release::{Platform, ReleaseRef, Strategy};
use fleet_proto::time::Timestamp;
use fleet_proto::version::Version;

use super::event::{CatchUp, Tenure, Urgency};
use super::node::Node;
use super::operator::Operator;

pub use apply::{IllegalEvent, moves};
pub use rollout::{Course, Rollout, Unwanted, WaveProgress};
pub use step::Step;

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
    /// Admins by the configuration's word: whoever may write that may do all this anyway.
    #[serde(default)]
    pub admins: BTreeSet<OperatorName>,
    #[serde(default)]
    pub operators: BTreeMap<OperatorName, Operator>,
    pub nodes: BTreeMap<NodeId, Node>,
    /// Those whose grace is running: what a tick has to look at.
    pub silent: BTreeSet<NodeId>,
    /// All that are not connected: an index.
    #[serde(default)]
    pub away: BTreeSet<NodeId>,
    /// Ephemeral ones that cannot be reached: an index.
    #[serde(default)]
    pub expiring: BTreeSet<NodeId>,
    /// When the coordinator that runs has started.
    #[serde(default)]
    pub in_charge_since: Timestamp,
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
    #[serde(default)]
    pub log_tail: Vec<String>,
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
    #[serde(default)]
    pub tenure: Tenure,
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
