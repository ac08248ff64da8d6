//! What could not be made so: what follows from it, and when it is tried again.

use std::time::Duration;

use fleet_proto::session::Health;

use super::{Over, RunLane, Task};
use crate::crew::LOG_LINES;
use crate::effects::converge::ConvergeError;
use crate::effects::{chain, failure};
use crate::install::{Outcome, Purpose};
use crate::process::managers::log_tail;
use crate::process::run_directory::RunDirectory;

/// Between attempts at what a disk or a process table did not let through.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at a release whose files are damaged and that there is no other for.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

impl RunLane {
    pub(super) async fn could_not(&mut self, now: &Task, error: &ConvergeError) -> Result<(), Over> {
        if error.is_interrupted() {
            return Ok(());
        }
        let why = chain(error);
        tracing::error!(app = %self.converge.app, why, "cannot make the release run");
        match now.work.purpose {
            // That it cannot be stopped says nothing of the release.
            Purpose::Activate | Purpose::Verify | Purpose::Bake | Purpose::Smoke if now.drained => {}
            Purpose::Activate | Purpose::Verify | Purpose::Bake | Purpose::Smoke => {
                let mut failure = failure(error.class(), format!("cannot start: {why}"));
                if let Some(component) = error.component() {
                    let run = RunDirectory::new(self.converge.layout.run(&self.converge.app, component));
                    failure.check = Some(format!("{component}/process"));
                    failure.log_tail = tokio::task::block_in_place(|| log_tail(&run, LOG_LINES));
                }
                // What a hook said goes before what the app did.
                if let Some((check, said)) = error.hook() {
                    failure.check = Some(check);
                    failure.log_tail = said.to_vec();
                }
                let outcome = match error.cut_off() {
                    Some(within) => Outcome::CutOff {
                        failure: *failure,
                        within,
                    },
                    None => Outcome::Failed(*failure),
                };
                self.tell(now, outcome).await?;
            }
            Purpose::PutBack => {
                self.tell(now, Outcome::CannotPutBack { why: why.clone() })
                    .await?;
            }
            Purpose::Rest => {}
        }
        self.tell_this_health(Health::Unhealthy { why }).await?;
        let pause = match error {
            // Whoever mends it does so by hand, and each look reads all of it.
            ConvergeError::Damaged { .. } if now.work.purpose == Purpose::Rest => LOOK_AGAIN,
            _ => TRY_AGAIN,
        };
        tokio::select! {
            changed = self.assignment.changed() => changed.map_err(|_| Over)?,
            () = tokio::time::sleep(pause) => {}
        }
        tokio::time::sleep(TRY_AGAIN / 5).await;
        Ok(())
    }
}
