//! A state that is older than the fleet: said loudly, and mended only when nobody runs on it.

use fleet_proto::ids::RolloutNumber;
use fleet_proto::time::Timestamp;

use super::{DriverError, recovery};
use crate::journal::{Journal, Recovered};
use crate::rollout::event::{Event, Stamped};
use crate::rollout::input::Refusal;
use crate::rollout::outdated;
use crate::rollout::state::State;
use crate::rollout::turn::take_over as turn_of_take_over;

/// At every start, and at every node that says so.
pub(super) fn say_if_found(state: &State, events: &[Stamped]) {
    let is_news = events.iter().any(|stamped| {
        matches!(
            stamped.event,
            Event::FoundOutdated { .. } | Event::TookCharge { .. }
        )
    });
    if let Some(found) = outdated::waiting(state).filter(|_| is_news) {
        let hint = found.hint.unwrap_or_default();
        tracing::error!(hint, "no orders are given: {}", found.what);
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("{}{}", .0.message, .0.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default())]
    Refused(Refusal),
}

/// Where the coordinator goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOver {
    pub term: u64,
    pub next_rollout: RolloutNumber,
    /// Rollouts that were under way.
    pub ended: Vec<RolloutNumber>,
}

/// Puts this journal in charge, from behind all that nodes have said that they have seen.
pub fn take_over(
    mut journal: Journal,
    recovered: Recovered,
    now: Timestamp,
) -> Result<TakenOver, TakeOverError> {
    let mut state = recovery::replay(recovered)?;
    let after = state.position;
    let turn = turn_of_take_over(&mut state, now)
        .map_err(DriverError::from)?
        .map_err(TakeOverError::Refused)?;
    let records = turn
        .events
        .iter()
        .map(serde_json::to_vec)
        .collect::<Result<Vec<_>, _>>()
        .map_err(DriverError::Encode)?;
    journal
        .append(state.term, after, &records)
        .map_err(DriverError::from)?;
    let ended = turn.events.iter().filter_map(|stamped| match stamped.event {
        Event::RolloutEnded { number, .. } => Some(number),
        _ => None,
    });
    Ok(TakenOver {
        term: state.term,
        next_rollout: state.next_rollout(),
        ended: ended.collect(),
    })
}
