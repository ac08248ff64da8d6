//! An app that is to stand still: nothing of it runs, and `current` says what will.

use std::sync::PoisonError;

use super::{Converge, ConvergeError, Gate, Target};
use crate::effects::hooks::{Occasion, leaving};
use crate::process::standing::is_in_hand;
use crate::slots::Slots;

impl Converge {
    /// Stops everything, in the reverse order of its start, and starts nothing. Blocks as
    /// long as stopping takes.
    pub fn stand_still(
        &self,
        at: Option<&Target>,
        occasion: Occasion,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), ConvergeError> {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if *gate == Gate::Shut {
            return Err(ConvergeError::Shut);
        }
        let slots = Slots::new(&self.layout, &self.app);
        self.stop_what_runs(&slots, occasion, is_interrupted)?;
        // What is put back meanwhile must be able to run later; another may be chosen now.
        if let Some(target) = at.filter(|target| slots.current() != Some(target.release.digest)) {
            self.must_be_whole(target)?;
        }
        Ok(slots.switch(at.map(|target| &target.release))?)
    }

    /// Stops everything; `current` stays, for the app shall run again later.
    pub fn stop_all(&self) -> Result<(), ConvergeError> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        *gate = Gate::Shut;
        let slots = Slots::new(&self.layout, &self.app);
        self.stop_what_runs(&slots, Occasion::End, &|| false)
    }

    fn stop_what_runs(
        &self,
        slots: &Slots,
        occasion: Occasion,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), ConvergeError> {
        let left = slots.current_slot();
        let mut first = Ok(());
        for component in self.start_order(slots).iter().rev() {
            if is_in_hand(&self.run_directory(component)) {
                self.leave(left.as_ref(), &leaving(occasion, component), is_interrupted)?;
            }
            // One that does not stop keeps none of the others from it.
            if let Err(error) = self.stop(component)
                && first.is_ok()
            {
                first = Err(error);
            }
        }
        first
    }
}
