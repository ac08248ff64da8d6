//! What the coordinator orders.

use fleet_proto::ids::AppName;
use fleet_proto::session::{Command, Order, Refusal};

use super::{Ahead, Daemon, DaemonError};
use crate::boundary::{Boundary, boundary};
use crate::install::Answer;
use crate::ledger::APPS_MAX;

impl Daemon {
    pub(super) async fn command(&mut self, command: &Command) -> Result<(), DaemonError> {
        let app = &command.app;
        // Once it were in the ledger, no coordinator could ever give an order here again.
        if !command.fence.is_plausible() {
            let why = "no coordinator has come so far";
            tracing::warn!(%app, fence = %command.fence, why, "order refused");
            self.refuse(command, why.to_owned());
            return Ok(());
        }
        let mut ledger = self.ledger();
        let is_new = !ledger.apps.contains_key(app);
        // A record of each would leave no room for those that it does accept.
        if is_new && !self.node.config.accepts(app) {
            let why = "this node does not accept the app; `apps` in its agent.toml names those it does";
            tracing::warn!(%app, fence = %command.fence, why, "order refused");
            self.refuse(command, why.to_owned());
            return Ok(());
        }
        if is_new && ledger.apps.len() >= APPS_MAX {
            let why = format!("this node has {APPS_MAX} apps, which is the limit");
            tracing::warn!(%app, fence = %command.fence, why, "order refused");
            self.refuse(command, why);
            return Ok(());
        }
        let environment = match self.node.config.environment_for(command.environment.as_ref()) {
            Ok(environment) => environment.cloned(),
            Err(why) => {
                tracing::warn!(%app, fence = %command.fence, %why, "order refused");
                self.refuse(command, why.to_string());
                return Ok(());
            }
        };
        let command = &Command {
            environment,
            ..command.clone()
        };
        let record = ledger.apps.entry(app.clone()).or_default();
        let seen = record.fence_seen;
        match record.take(command) {
            Answer::Refused(why) => {
                tracing::warn!(%app, fence = %command.fence, %seen, why, "order refused");
                self.refuse(command, why);
            }
            Answer::Repeated => {
                *self.again.entry(app.clone()).or_default() += 1;
                self.commit(ledger).await?;
                self.report();
            }
            Answer::Accepted => {
                tracing::info!(%app, fence = %command.fence, order = ?command.order, "order accepted");
                // The word that a bake is over says nothing of what comes next.
                if !matches!(command.order, Order::Commit) {
                    self.prefetch.remove(app);
                }
                self.commit(ledger).await?;
                boundary(Boundary::OrderTaken);
                self.noted(app);
                self.proceed(app).await?;
            }
        }
        Ok(())
    }

    /// Also of an app that was never ordered here: its first order shall be quick too.
    pub(super) fn prefetch(&mut self, app: &AppName, ahead: Ahead) {
        let release = &ahead.release;
        // Those that run, and those of which something was fetched ahead: never more
        // than the node may have anyway.
        let is_new = !self.apps.contains_key(app);
        if is_new && self.apps.len() >= APPS_MAX {
            tracing::warn!(%app, %release, "not fetched ahead: this node has {APPS_MAX} apps, which is the limit");
            return;
        }
        if !self.node.config.accepts(app) {
            tracing::warn!(%app, %release, "not fetched ahead: this node does not accept the app");
            return;
        }
        let environment = match self.node.config.environment_for(ahead.environment.as_ref()) {
            Ok(environment) => environment.cloned(),
            Err(why) => {
                tracing::warn!(%app, %release, %why, "not fetched ahead");
                return;
            }
        };
        let ahead = Ahead { environment, ..ahead };
        self.prefetch.insert(app.clone(), ahead);
        self.assign(app);
    }

    fn refuse(&self, command: &Command, why: String) {
        let seen = self
            .record(&command.app)
            .map_or(fleet_proto::fence::Fence::ZERO, |record| record.fence_seen);
        let refusal = Refusal {
            app: command.app.clone(),
            refused: command.fence,
            seen,
            why,
        };
        // A coordinator that sends more stale orders than that has other troubles.
        if self.refusals.try_send(refusal).is_err() {
            tracing::warn!("too many refusals at once; one was not sent");
        }
    }
}
