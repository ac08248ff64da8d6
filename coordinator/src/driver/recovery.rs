//! From the journal back to the state.

use super::DriverError;
use crate::journal::Recovered;
use crate::rollout::event::Stamped;
use crate::rollout::state::State;

pub(super) fn decode(position: u64, bytes: &[u8]) -> Result<Stamped, DriverError> {
    serde_json::from_slice(bytes).map_err(|source| DriverError::Unreadable { position, source })
}

pub(super) fn replay(recovered: Recovered) -> Result<State, DriverError> {
    let mut state = match recovered.snapshot {
        None => State::default(),
        Some(snapshot) => {
            serde_json::from_slice(&snapshot.bytes).map_err(|source| DriverError::Snapshot {
                position: snapshot.position,
                source,
            })?
        }
    };
    for (position, bytes) in recovered.records {
        state.apply(&decode(position, &bytes)?)?;
    }
    Ok(state)
}
