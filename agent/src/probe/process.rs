//! The process runs and is not restarting, by its manager's word.

use super::{Miss, Passed};
use crate::crew::look_at;
use crate::effects::converge::Part;

pub async fn look(part: &Part) -> Result<Passed, Miss> {
    match look_at(part).await {
        Some(state) if state.is_up => Ok(Passed::default()),
        Some(state) => Err(Miss::against(
            format!(
                "does not run: it {}",
                state.last_exit.as_deref().unwrap_or("ended")
            ),
            state.last_exit.as_deref().unwrap_or("ended"),
            "running",
        )),
        None => Err(Miss::against(
            "does not run, and nobody keeps it",
            "no keeper",
            "running",
        )),
    }
}
