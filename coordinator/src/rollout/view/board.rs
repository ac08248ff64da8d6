//! The views that HTTP shows: counts and pages. Each looks at a node or a step once.

mod acts;
mod fleet;
mod nodes;
mod releases;
mod rollouts;
mod status;

pub use acts::acts;
pub use fleet::fleet;
pub use nodes::{NodeFilter, node, nodes};
pub use releases::releases;
pub use rollouts::{RolloutFilter, StepFilter, rollout, rollouts, steps};
pub use status::{environments, status};

/// So many of a list, from behind where the last page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<K> {
    pub after: Option<K>,
    pub limit: usize,
}
