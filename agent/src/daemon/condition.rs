//! How the agent and its apps are, for probes; and the end of the apps, which in a pod has to
//! come in time.

use std::time::Instant;

use fleet_proto::session::{Health, Phase};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Daemon, DaemonError, Place};
use crate::config::Config;
use crate::figures::{Figures, Stands};
use crate::health::{self, Condition, Shown, Stage};
use crate::layout::Layout;
use crate::ledger::{AppRecord, Ledger};
use crate::tasks::Tasks;

/// From before the node is enrolled: also that takes a while.
pub(super) async fn listen_for_probes(
    config: &Config,
    figures: &Figures,
    tasks: &mut Tasks,
) -> Result<watch::Sender<Condition>, DaemonError> {
    let (condition, known) = watch::channel(Condition::at_start());
    if let Some(address) = config.health_listen {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| DaemonError::Health { address, source })?;
        let shown = Shown {
            figures: figures.clone(),
            layout: Layout::new(&config.state),
        };
        tasks.spawn("health for probes", health::serve(listener, known, shown));
    }
    Ok(condition)
}

/// What runs is the release that was proven, and it does well.
fn is_ready(record: &AppRecord, health: &Health) -> bool {
    let phase = record.step.as_ref().map(|step| step.phase);
    let is_proving = matches!(
        phase,
        Some(Phase::Activating | Phase::Verifying | Phase::RollingBack)
    );
    record.current_release().is_some() && *health == Health::Healthy && !is_proving
}

impl Daemon {
    pub(super) fn turned(&self) {
        self.condition.send_modify(|condition| {
            condition.turned_at = Instant::now();
            condition.stage = Stage::Running;
        });
        self.figures.note_certificate(self.peer.borrow().not_after);
    }

    pub(super) fn is_stopping(&self) {
        self.condition
            .send_modify(|condition| condition.stage = Stage::Stopping);
    }

    pub(super) fn note_condition(&self) {
        let ledger = self.held.ledger.ledger();
        let apps = ledger.apps.iter().map(|(app, record)| {
            let health = self.health_of(app, record);
            (app.clone(), is_ready(record, &health) && !self.is_drained())
        });
        let apps = apps.collect();
        self.note_figures(ledger);
        self.condition.send_modify(|condition| {
            condition.apps = apps;
            condition.is_connected = self.coordinator.is_some();
        });
    }

    fn note_figures(&self, ledger: &Ledger) {
        let apps = ledger.apps.iter().map(|(app, record)| {
            let stands = Stands {
                phase: record.step.as_ref().map(|step| step.phase),
                last_good: record.last_good().map(|release| release.digest),
                is_healthy: self.health_of(app, record) == Health::Healthy,
            };
            (app.clone(), stands)
        });
        self.figures.note_apps(apps);
    }

    /// On a node the service manager says when it is enough. A pod is killed, and what an app
    /// was at with it: better to end a little before.
    pub(super) async fn stop_apps_in_time(&mut self, place: Place) -> Result<(), DaemonError> {
        let limit = self.node.config.pod.stop_deadline;
        let stopping = self.stop_apps();
        match place {
            Place::Node => stopping.await,
            Place::Pod => tokio::time::timeout(limit.as_duration(), stopping)
                .await
                .map_err(|_| DaemonError::NotStopped(limit))?,
        }
        Ok(())
    }
}
