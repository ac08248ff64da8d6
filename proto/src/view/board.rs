//! What the dashboard and everybody's own read over HTTP: the other views made small, so
//! that ten thousand nodes are a page and not a download. Counts stand where `fleetctl`
//! gets lists; the lists have addresses and pages of their own.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    EnvironmentAppView, HaltView, LeftOut, RolloutStateView, StepView, VitalsView, WaitingView, WaveStateView,
};
use crate::ids::{AppName, EnvironmentName, NodeId, RolloutNumber};
use crate::labels::Labels;
use crate::release::{ReleaseRef, Strategy};
use crate::session::{Facts, Failure, Phase};
use crate::time::Timestamp;

/// A release as one word: its version, and enough of its digest to tell two apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ReleaseWord(String);

impl From<&ReleaseRef> for ReleaseWord {
    fn from(release: &ReleaseRef) -> Self {
        Self(format!("{}@{}", release.version, release.digest.short()))
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// What to ask for as `after`; absent at the end.
    pub next: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusBoard {
    pub coordinator: CoordinatorBoard,
    pub halt: Option<HaltView>,
    pub environments: Vec<EnvironmentBoard>,
    /// Newest first.
    pub active: Vec<RolloutBoard>,
    /// Those that ended last, newest first.
    pub recent: Vec<RolloutBoard>,
    pub nodes: NodeCounts,
}

/// Without a clock: it is the same document as long as the fleet is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoordinatorBoard {
    pub version: String,
    pub term: u64,
    pub position: u64,
    pub outdated: Option<WaitingView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnvironmentBoard {
    pub environment: EnvironmentName,
    pub select: String,
    pub halt: Option<HaltView>,
    pub apps: Vec<AppBoard>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppBoard {
    pub app: AppName,
    pub desired: Option<ReleaseWord>,
    pub nodes: usize,
    pub healthy: usize,
    pub unavailable: usize,
    pub behind: usize,
    pub versions: BTreeMap<String, usize>,
}

impl From<EnvironmentAppView> for AppBoard {
    fn from(view: EnvironmentAppView) -> Self {
        Self {
            app: view.app,
            desired: view.desired.as_ref().map(ReleaseWord::from),
            nodes: view.nodes,
            healthy: view.healthy,
            unavailable: view.unavailable,
            behind: view.behind,
            versions: view.versions,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NodeCounts {
    pub total: usize,
    pub connected: usize,
    pub silent: usize,
    pub unreachable: usize,
    pub revoked: usize,
    pub expired: usize,
    /// Of those that are connected: an app on them is not well.
    pub unhealthy: usize,
    pub cordoned: usize,
    pub drained: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutKindWord {
    Forward,
    CatchUp,
    Rollback,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RolloutBoard {
    pub number: RolloutNumber,
    pub app: AppName,
    pub environment: EnvironmentName,
    /// Absent: each node goes to its own last good.
    pub release: Option<ReleaseWord>,
    pub kind: RolloutKindWord,
    /// What a rollback takes back.
    pub parent: Option<RolloutNumber>,
    pub state: RolloutStateView,
    pub why: Option<String>,
    pub needs_person: bool,
    pub by: String,
    pub reason: Option<String>,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub rollback: Option<RolloutNumber>,
    pub superseded_by: Option<RolloutNumber>,
    pub nodes: usize,
    pub phases: BTreeMap<Phase, usize>,
    pub unreachable: usize,
    pub waves: Vec<WaveBoard>,
    pub waiting: Vec<WaitingView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaveBoard {
    pub wave: usize,
    pub reach: String,
    pub state: WaveStateView,
    pub nodes: usize,
    pub phases: BTreeMap<Phase, usize>,
    pub started_at: Option<Timestamp>,
    pub bake_until: Option<Timestamp>,
    pub passed_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RolloutDetail {
    #[serde(flatten)]
    pub rollout: RolloutBoard,
    pub strategy: Strategy,
    pub left_out: Vec<LeftOut>,
    pub left_out_total: usize,
    /// The newest.
    pub failures: Vec<StepBoard>,
    pub failures_total: usize,
    pub migration_log: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepBoard {
    pub node: NodeId,
    pub wave: usize,
    pub phase: Phase,
    pub unreachable: bool,
    pub since: Timestamp,
    pub from: Option<ReleaseWord>,
    pub failure: Option<Failure>,
}

impl From<StepView> for StepBoard {
    fn from(view: StepView) -> Self {
        Self {
            node: view.node,
            wave: view.wave,
            phase: view.phase,
            unreachable: view.unreachable,
            since: view.since,
            from: view.from.as_ref().map(ReleaseWord::from),
            failure: view.failure,
        }
    }
}

/// What whoever asks may do with a rollout at this moment, and what would come of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActsBoard {
    pub acts: Vec<ActBoard>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActBoard {
    pub act: &'static str,
    pub allowed: bool,
    pub why_not: Option<String>,
    /// In the future tense, for whoever is about to press the button.
    pub consequence: String,
    /// The same by hand.
    pub command: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionBoard {
    pub state: &'static str,
    pub since: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeBoard {
    pub node: NodeId,
    pub labels: Labels,
    pub platform: String,
    pub environments: Vec<EnvironmentName>,
    pub connection: ConnectionBoard,
    pub cordon: Option<String>,
    pub drained: Option<&'static str>,
    pub enrolled_at: Timestamp,
    pub agent_version: Option<String>,
    pub facts: Option<FactsBoard>,
    /// Only of one node that is asked for alone.
    pub vitals: Option<VitalsBoard>,
    pub apps: Vec<NodeAppBoard>,
}

/// Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FactsBoard {
    pub hostname: String,
    pub kernel: String,
    pub cpus: u32,
    pub memory: u64,
    pub disk: u64,
    pub disk_free: u64,
    pub booted_at: Timestamp,
}

impl From<&Facts> for FactsBoard {
    fn from(facts: &Facts) -> Self {
        Self {
            hostname: facts.hostname.clone(),
            kernel: facts.kernel.clone(),
            cpus: facts.cpus,
            memory: facts.memory.0,
            disk: facts.disk.0,
            disk_free: facts.disk_free.0,
            booted_at: facts.booted_at,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VitalsBoard {
    pub cpu_percent: u8,
    pub memory_percent: u8,
    pub disk_free: u64,
    pub releases: Vec<ReleaseOnDiskBoard>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseOnDiskBoard {
    pub app: AppName,
    pub release: ReleaseWord,
}

impl From<VitalsView> for VitalsBoard {
    fn from(view: VitalsView) -> Self {
        let releases = view.releases.into_iter();
        Self {
            cpu_percent: view.cpu_percent,
            memory_percent: view.memory_percent,
            disk_free: view.disk_free.0,
            releases: releases
                .map(|on_disk| ReleaseOnDiskBoard {
                    app: on_disk.app,
                    release: ReleaseWord::from(&on_disk.release),
                })
                .collect(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeAppBoard {
    pub app: AppName,
    pub current: Option<ReleaseWord>,
    pub last_good: Option<ReleaseWord>,
    pub health: &'static str,
    pub why: Option<String>,
    pub phase: Option<Phase>,
    pub rollout: Option<RolloutNumber>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodesPage {
    pub items: Vec<NodeBoard>,
    pub next: Option<String>,
    /// All that fit, on every page.
    pub total: usize,
}

/// One row a node, as columns: numbers point into the words, and -1 is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FleetBoard {
    pub position: u64,
    pub environment: Option<EnvironmentName>,
    pub app: Option<AppName>,
    pub rollout: Option<RolloutNumber>,
    pub words: FleetWords,
    pub waves: usize,
    pub nodes: Vec<NodeId>,
    pub zone: Vec<i32>,
    /// Counted from 1.
    pub wave: Vec<i32>,
    pub phase: Vec<i32>,
    pub connection: Vec<i32>,
    pub health: Vec<i32>,
    pub version: Vec<i32>,
    /// 1 cordoned, 2 drained.
    pub flags: Vec<i32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FleetWords {
    pub zones: Vec<String>,
    pub versions: Vec<String>,
    pub phases: Vec<&'static str>,
    pub connections: Vec<&'static str>,
    pub healths: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseBoard {
    pub app: AppName,
    pub release: ReleaseWord,
    pub counter: u64,
    pub pushed_at: Timestamp,
    pub by: String,
    pub components: Vec<String>,
    pub signed_by: Vec<String>,
    /// How many nodes run it.
    pub runs_on: usize,
    pub desired_in: Vec<EnvironmentName>,
    pub known_bad: Vec<KnownBadBoard>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KnownBadBoard {
    pub environment: EnvironmentName,
    pub rollout: RolloutNumber,
    pub why: String,
}
