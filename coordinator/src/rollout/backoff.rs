//! When something is tried again by itself: a little later each time, and not everybody at
//! the same moment.

use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::quantity::Span;
use fleet_proto::release::Strategy;
use fleet_proto::time::Timestamp;

use super::chance::Chance;

/// Each wait is so many times the one before.
const GROWTH: u64 = 3;
/// However often it was tried: an outage that lasts longer is for a person to see.
const WAIT_MAX: Span = Span::from_secs(600);

/// None when it has been tried often enough.
pub fn retry_at(
    strategy: &Strategy,
    number: RolloutNumber,
    node: &NodeId,
    retries: u32,
    failed_at: Timestamp,
) -> Option<Timestamp> {
    if retries >= strategy.retries {
        return None;
    }
    let growth = GROWTH.saturating_pow(retries);
    let wait = strategy
        .retry_after
        .as_millis()
        .saturating_mul(growth)
        .min(WAIT_MAX.as_millis());
    // Up to a quarter more: a thousand nodes that failed together do not come back together.
    let spread = Chance::seeded(&format!("{number}/{retries}")).of(node.as_str()) % (wait / 4 + 1);
    Some(failed_at.plus(Span::from_millis(wait + spread)))
}
