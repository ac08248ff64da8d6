//! What could not be made so: what follows from it, and when it is tried again.

use std::time::{Duration, Instant};

use fleet_proto::session::{FailureClass, Health};

use super::migrating::end_of;
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

/// What of this node is away, as its bus is just after a boot, for how long a release that ran
/// is not judged by that.
const OUTAGE_MAX: Duration = Duration::from_secs(60);
const PAUSE_MAX: Duration = Duration::from_secs(10);

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

/// Whether it is waited out. What is only just being activated goes back at once: what ran
/// before it is as good as it was.
fn is_waited_out(purpose: Purpose, class: FailureClass, lasts: Duration) -> bool {
    let has_run = matches!(purpose, Purpose::Verify | Purpose::Bake | Purpose::Smoke);
    has_run && class == FailureClass::Infrastructure && lasts < OUTAGE_MAX
}

/// Where nobody waits for an outcome there is no hurry.
fn pause_after(purpose: Purpose, is_damaged: bool, times: u32) -> Duration {
    match purpose {
        // Whoever mends it does so by hand, and each look reads all of it.
        Purpose::Rest if is_damaged => LOOK_AGAIN,
        Purpose::Rest => (TRY_AGAIN * 2u32.saturating_pow(times.min(8) - 1)).min(PAUSE_MAX),
        _ => TRY_AGAIN,
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
            && is_waited_out(now.work.purpose, error.class(), trying.since.elapsed());
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
        let pause = pause_after(now.work.purpose, is_damaged, trying.times);
        self.wait_for_other_work(now, Some(pause)).await?;
        tokio::time::sleep(TRY_AGAIN / 5).await;
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
                changed = self.assignment.changed() => {
                    changed.map_err(|_| Over)?;
                    if self.assignment.borrow_and_update().number != now.number {
                        return Ok(());
                    }
                }
                () = &mut over => return Ok(()),
                outcome = end_of(&mut self.migrating) => self.settle_migrating(now, outcome).await?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_says_nothing_of_a_release_that_ran() {
        use FailureClass::{Infrastructure, Release};
        let (brief, long) = (Duration::from_secs(59), Duration::from_secs(61));
        for purpose in [Purpose::Verify, Purpose::Bake, Purpose::Smoke] {
            assert!(is_waited_out(purpose, Infrastructure, brief), "{purpose:?}");
            assert!(!is_waited_out(purpose, Infrastructure, long), "{purpose:?}");
            assert!(!is_waited_out(purpose, Release, brief), "{purpose:?}");
        }
        for purpose in [Purpose::Activate, Purpose::PutBack, Purpose::Rest] {
            assert!(!is_waited_out(purpose, Infrastructure, brief), "{purpose:?}");
        }
    }

    #[test]
    fn what_nobody_waits_for_is_tried_less_and_less_often() {
        let seconds = |times| pause_after(Purpose::Rest, false, times).as_secs();
        assert_eq!([1, 2, 3, 4, 5, 1000].map(seconds), [1, 2, 4, 8, 10, 10]);
        assert_eq!(pause_after(Purpose::Rest, true, 1), LOOK_AGAIN);
        assert_eq!(pause_after(Purpose::PutBack, true, 1000), TRY_AGAIN);
    }
}
