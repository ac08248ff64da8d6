//! The fence: what makes a stale coordinator or a stale command harmless.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::RolloutNumber;

/// No coordinator has come so far, and none will. Whoever says so is wrong, and must not
/// bring numbers to their end: nothing could follow on them.
pub const PLAUSIBLE_MAX: u64 = 1 << 48;

/// `term` rises each time a coordinator takes charge, `rollout` with each rollout,
/// `generation` with each order to one node within one rollout.
///
/// An order is known by (rollout, generation): the same order sent again by a
/// restarted coordinator has a higher term and is still the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence {
    pub term: u64,
    pub rollout: RolloutNumber,
    pub generation: u32,
}

/// How a command's fence relates to the highest one that the agent has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    New,
    Duplicate,
    Stale,
}

impl Fence {
    pub const ZERO: Self = Self {
        term: 0,
        rollout: RolloutNumber(0),
        generation: 0,
    };

    pub fn is_plausible(self) -> bool {
        self.term.max(self.rollout.0) <= PLAUSIBLE_MAX
    }

    fn order(self) -> (RolloutNumber, u32) {
        (self.rollout, self.generation)
    }

    /// Neither half may go back: an old coordinator has an old term, and a
    /// coordinator that was restored from an old copy has old orders.
    pub fn freshness_after(self, seen: Self) -> Freshness {
        if self.term < seen.term || self.order() < seen.order() {
            Freshness::Stale
        } else if self.order() == seen.order() {
            Freshness::Duplicate
        } else {
            Freshness::New
        }
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "term {}, rollout {}, generation {}",
            self.term, self.rollout, self.generation
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_higher_order_from_a_current_term_is_new() {
        let fence = |term, rollout, generation| Fence {
            term,
            rollout: RolloutNumber(rollout),
            generation,
        };
        let seen = fence(3, 7, 2);
        for (given, expected) in [
            (fence(3, 7, 3), Freshness::New),
            (fence(3, 8, 1), Freshness::New),
            (fence(4, 7, 3), Freshness::New),
            (fence(3, 7, 2), Freshness::Duplicate),
            (fence(4, 7, 2), Freshness::Duplicate),
            (fence(2, 7, 3), Freshness::Stale),
            (fence(2, 9, 9), Freshness::Stale),
            (fence(3, 7, 1), Freshness::Stale),
            (fence(4, 6, 9), Freshness::Stale),
        ] {
            assert_eq!(given.freshness_after(seen), expected, "{given}");
        }
    }
}
