//! An app that is to stand still: nothing of it runs, and `current` says what will.

use std::sync::PoisonError;

use super::{Converge, ConvergeError, Gate, Target};
use crate::slots::Slots;

impl Converge {
    /// Stops everything, in the reverse order of its start, and starts nothing. Blocks as
    /// long as stopping takes.
    pub fn stand_still(&self, at: Option<&Target>) -> Result<(), ConvergeError> {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if *gate == Gate::Shut {
            return Err(ConvergeError::Shut);
        }
        let slots = Slots::new(&self.layout, &self.app);
        self.stop_what_runs(&slots)?;
        // What is put back meanwhile must be able to run later; another may be chosen now.
        if let Some(target) = at.filter(|target| slots.current() != Some(target.release.digest)) {
            self.must_be_whole(target)?;
        }
        Ok(slots.switch(at.map(|target| &target.release))?)
    }
}
