//! One node's way through a rollout.

use serde::{Deserialize, Serialize};

use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Failure, FailureClass, Order, Phase};
use fleet_proto::time::Timestamp;

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
