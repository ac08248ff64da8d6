//! The process runs and is not restarting, by its manager's word.

use super::{Miss, Passed};
use crate::process::run_directory::RunDirectory;
use crate::process::standing::glance;

pub fn look(run: &RunDirectory) -> Result<Passed, Miss> {
    match glance(run) {
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
