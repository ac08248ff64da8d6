//! A rollout, as its events have left it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;

use super::{MigrationRun, Step};
use crate::rollout::event::{Outcome, PauseCause, RolloutKind, Urgency};
use crate::rollout::plan::Plan;

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

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwanted {
    pub of_the_environment: Option<ReleaseRef>,
    pub of_nodes: BTreeMap<NodeId, ReleaseRef>,
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
