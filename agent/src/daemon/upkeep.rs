//! Around the steps: what an agent that starts finds half done, and what an ended step
//! leaves to be cleared away.

use std::path::PathBuf;

use fleet_proto::digest::Digest;
use fleet_proto::ids::AppName;
use fleet_proto::session::Phase;

use super::{Daemon, DaemonError};
use crate::boundary::{Boundary, boundary};
use crate::durable::{self, FileError};
use crate::effects::chain;
use crate::install::Recovery;
use crate::slots::Slots;

impl Daemon {
    /// Finishes or undoes what was going on when the agent went, and says which.
    pub(super) async fn recover(&mut self) -> Result<(), DaemonError> {
        let mut ledger = self.ledger();
        for (app, record) in &mut ledger.apps {
            remove_beside(app, Slots::new(&self.node.layout, app).leftovers());
            let step = record
                .step
                .as_ref()
                .map(|step| (step.rollout, step.release.clone()));
            let (rollout, release) = step.unzip();
            let release = release.flatten().map(|release| release.to_string());
            let rollout = rollout.map(|rollout| rollout.to_string());
            match record.recover() {
                Some(Recovery::Finishing(phase)) => {
                    tracing::info!(%app, %phase, rollout, release, "finishing the step that was going on");
                }
                Some(Recovery::Undoing(phase)) => {
                    tracing::info!(%app, %phase, rollout, release, "undoing the step that was going on");
                }
                None => {}
            }
        }
        let apps: Vec<AppName> = ledger.apps.keys().cloned().collect();
        self.commit(ledger).await?;
        for app in apps {
            self.proceed(&app).await?;
        }
        Ok(())
    }

    /// Old slots go once nothing is going on that may need them.
    pub(super) async fn prune(&mut self, app: &AppName) -> Result<(), DaemonError> {
        let mut ledger = self.ledger();
        let Some(record) = ledger.apps.get_mut(app) else {
            return Ok(());
        };
        let Some(step) = record.step.as_ref().filter(|step| step.phase.is_settled()) else {
            return Ok(());
        };
        // It may be tried again, and what has come of it is not brought twice. Those that
        // failed before it are nobody's: many of them would fill the disk.
        let failed = step.release.as_ref().filter(|_| step.phase == Phase::Failed);
        let failed = failed.map(|release| release.digest);
        record.forget_old_releases(self.node.config.limits.good_releases_max());
        let record = record.clone();
        self.commit(ledger).await?;
        let slots = Slots::new(&self.node.layout, app);
        let ahead = self.prefetch.get(app).map(|ahead| ahead.release.digest);
        let waits = [ahead, failed];
        let keeps = |digest: &Digest| record.keeps(digest) || waits.contains(&Some(*digest));
        // A few renames: what is ordered next must find the slots as they will be.
        let retired = tokio::task::block_in_place(|| {
            let gone = slots.retire(keeps)?;
            let incoming = if waits == [None, None] {
                slots.retire_incoming()?
            } else {
                None
            };
            Ok::<_, FileError>((gone, incoming))
        });
        let (mut gone, incoming) = match retired {
            Ok(retired) => retired,
            Err(error) => {
                // Room that could not be made is missed later, and said then.
                tracing::warn!(%app, error = chain(&error), "cannot remove old releases");
                return Ok(());
            }
        };
        if !gone.is_empty() {
            boundary(Boundary::SlotsRetired);
            tracing::info!(%app, slots = gone.len(), "old releases removed");
        }
        // The next rollback may need it as the last one did.
        tokio::task::block_in_place(|| self.held.keep_ballast());
        gone.extend(incoming);
        remove_beside(app, gone);
        Ok(())
    }

    pub(super) fn log_phase(&self, app: &AppName) {
        if let Some(step) = self.record(app).and_then(|record| record.step.as_ref()) {
            let release = step.release.as_ref().map(ToString::to_string);
            let failure = step.failure.as_ref().map(|failure| failure.message.as_str());
            tracing::info!(%app, rollout = %step.rollout, phase = %step.phase, release, failure, "step");
        }
    }
}

/// Beside the loop: thousands of files take a while to go, and an order to abort must
/// not wait for them.
fn remove_beside(app: &AppName, paths: Vec<PathBuf>) {
    if paths.is_empty() {
        return;
    }
    let app = app.clone();
    let removing = move || {
        for path in paths {
            if let Err(error) = durable::remove(&path) {
                tracing::warn!(%app, error = chain(&error), "cannot remove what nobody needs any more");
            }
        }
        boundary(Boundary::SlotsRemoved);
    };
    drop(tokio::task::spawn_blocking(removing));
}
