//! What could not be made so: what follows from it, and when it is tried again.

use std::time::{Duration, Instant};

use fleet_proto::session::Health;

use super::migrating::end_of;
use super::{Over, RunLane, Task, other_work};
use crate::crew::LOG_LINES;
use crate::effects::converge::ConvergeError;
use crate::effects::{chain, failure};
use crate::install::{Outcome, Purpose, outage};
use crate::process::managers::log_tail;
use crate::process::run_directory::RunDirectory;

/// Attempts that failed, one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trying {
    since: Instant,
    times: u32,
}

impl Trying {
    fn again(earlier: Option<Self>) -> Self {
        Self {
            since: earlier.map_or_else(Instant::now, |earlier| earlier.since),
            times: earlier.map_or(0, |earlier| earlier.times) + 1,
        }
    }
}

impl RunLane {
    pub(super) async fn could_not(&mut self, now: &Task, error: &ConvergeError) -> Result<(), Over> {
        if error.is_interrupted() {
            return Ok(());
        }
        let why = chain(error);
        let trying = Trying::again(self.trying);
        self.trying = Some(trying);
        tracing::error!(app = %self.converge.app, why, "cannot make the release run");
        let is_waited_out = error.cut_off().is_none()
            && outage::is_waited_out(now.work.purpose, error.class(), trying.since.elapsed());
        match now.work.purpose {
            // That it cannot be stopped says nothing of the release.
            Purpose::Activate | Purpose::Verify | Purpose::Bake | Purpose::Smoke if now.drained => {}
            _ if is_waited_out => {}
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
                let outcome = Outcome::CannotPutBack {
                    why: why.clone(),
                    is_its_own: error.is_of_the_target(),
                };
                self.tell(now, outcome).await?;
            }
            Purpose::Rest => {}
        }
        self.tell_this_health(Health::Unhealthy { why }).await?;
        // What migrates does so beside what runs, and may be what mends it.
        if !now.drained {
            self.begin_migration(now);
        }
        let is_damaged = matches!(error, ConvergeError::Damaged { .. });
        let pause = outage::pause_after(now.work.purpose, is_damaged, trying.times);
        self.wait_for_other_work(now, Some(pause)).await?;
        tokio::time::sleep(outage::TRY_AGAIN / 5).await;
        Ok(())
    }

    /// For so long at most; a migration that ends meanwhile is told of.
    pub(super) async fn wait_for_other_work(
        &mut self,
        now: &Task,
        within: Option<Duration>,
    ) -> Result<(), Over> {
        let over = async {
            match within {
                Some(within) => tokio::time::sleep(within).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        loop {
            tokio::select! {
                other = other_work(&mut self.assignment, now.number) => return other,
                () = &mut over => return Ok(()),
                outcome = end_of(&mut self.migrating) => self.settle_migrating(now, outcome).await?,
            }
        }
    }
}
