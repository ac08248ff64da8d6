//! While the node is drained: the app stands still.

use super::{AppEvent, Over, RunLane, Task};
use crate::effects::converge::{ConvergeError, Target};
use crate::install::{Outcome, Purpose};

/// What has been made so, and how.
#[derive(PartialEq)]
pub(super) struct Made {
    pub target: Option<Target>,
    pub drained: bool,
}

impl RunLane {
    pub(super) async fn stand_still(&self, now: &Task) -> Result<(), ConvergeError> {
        let (converge, at) = (self.converge.clone(), Target::of(&now.work));
        let (assignment, wanted) = (self.assignment.clone(), now.wanted());
        self.blocking(move || {
            let is_interrupted = || wanted.is_over(&assignment);
            converge.stand_still(at.as_ref(), wanted.occasion, &is_interrupted)
        })
        .await
    }

    /// Nothing runs, so nothing is checked and nothing judged; but what was to be put back
    /// is put back with that.
    pub(super) async fn stand_by(&mut self, now: &Task) -> Result<(), Over> {
        let assignment = now.number;
        let still = (self.converge.app.clone(), AppEvent::Still { assignment });
        self.events.send(still).await.map_err(|_| Over)?;
        match now.work.purpose {
            Purpose::PutBack => self.tell(now, Outcome::PutBackUnseen).await?,
            // The bake was over before it was taken out of service.
            Purpose::Smoke => self.tell(now, Outcome::Smoked).await?,
            Purpose::Rest | Purpose::Activate | Purpose::Verify | Purpose::Bake => {}
        }
        self.wait_for_other_work(now, None).await
    }
}
