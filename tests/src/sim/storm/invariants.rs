//! The invariants, looked at after every event. What is checked here is computed anew
//! from events, messages and disks, and shares no code with what decides.
//!
//! ```text
//!  node saves ────► 1, 2          events ──► Ledger of the fleet ──► 3, 4, 5, 8
//!  node is told ──► 12            messages ─────────────────────────► 5
//!  recovery ──────► 10, 11 (in `coordinator.rs`, where it happens)
//! ```

pub mod nodes;
pub mod rollouts;
pub mod seen;

use std::collections::{BTreeMap, BTreeSet};

use fleet_proto::ids::{AppName, NodeId, RolloutNumber};

use seen::Seen;

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant {invariant} is broken: {what}")]
pub struct Broken {
    pub invariant: &'static str,
    pub what: String,
}

impl Broken {
    pub fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self {
            invariant,
            what: what.into(),
        }
    }
}

pub type Held = Result<(), Broken>;

pub fn must(holds: bool, invariant: &'static str, what: impl FnOnce() -> String) -> Held {
    if holds {
        return Ok(());
    }
    Err(Broken::new(invariant, what()))
}

/// Sees everything, and decides nothing.
#[derive(Debug, Default)]
pub struct Witness {
    pub seen: Seen,
    /// Rollouts whose release really failed on some node.
    blamed: BTreeSet<RolloutNumber>,
    /// Nodes that are really being moved forward, and for which rollout: whatever anybody
    /// believes of them.
    moving: BTreeMap<AppName, BTreeMap<NodeId, RolloutNumber>>,
}

impl Witness {
    /// Its release is to blame for what comes of it.
    pub fn blame(&mut self, number: RolloutNumber) {
        self.blamed.insert(number);
    }
}
