//! Around the steps: what an agent that starts finds half done, and what an ended step
//! leaves to be cleared away.

use fleet_proto::ids::AppName;
use fleet_proto::session::Phase;

use super::{Daemon, DaemonError};
use crate::durable;
use crate::effects::chain;
use crate::install::Recovery;
use crate::slots::Slots;

impl Daemon {
    /// Finishes or undoes what was going on when the agent went, and says which.
    pub(super) async fn recover(&mut self) -> Result<(), DaemonError> {
        let mut ledger = self.ledger();
        for (app, record) in &mut ledger.apps {
            Slots::new(&self.node.layout, app).sweep()?;
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
        let settled = record
            .step
            .as_ref()
            .is_some_and(|step| step.phase == Phase::Done || step.phase == Phase::RolledBack);
        if !settled {
            return Ok(());
        }
        record.forget_old_releases(self.node.config.limits.good_releases_max());
        let record = record.clone();
        self.commit(ledger).await?;
        let slots = Slots::new(&self.node.layout, app);
        let incoming = self.node.layout.incoming(app);
        let ahead = self.prefetch.get(app).map(|release| release.digest);
        let pruned = tokio::task::spawn_blocking(move || {
            if ahead.is_none() {
                // Half a release that nobody waits for any more.
                durable::remove(&incoming)?;
            }
            slots.prune(|digest| record.keeps(digest) || ahead == Some(*digest))
        })
        .await;
        match pruned {
            Ok(Ok(gone)) if gone.is_empty() => {}
            Ok(Ok(gone)) => tracing::info!(%app, slots = gone.len(), "old releases removed"),
            // Room that could not be made is missed later, and said then.
            Ok(Err(error)) => tracing::warn!(%app, error = chain(&error), "cannot remove old releases"),
            Err(error) => tracing::warn!(%app, %error, "cannot remove old releases"),
        }
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
