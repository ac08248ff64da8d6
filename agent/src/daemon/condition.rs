//! How the agent and its apps are, for probes; and the end of the apps, which in a pod has to
//! come in time.

use std::time::Instant;

use fleet_proto::session::{Health, Phase};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Daemon, DaemonError, Place};
use crate::config::Config;
use crate::health::{self, Condition, Stage};
use crate::ledger::AppRecord;
use crate::tasks::Tasks;

/// From before the node is enrolled: also that takes a while.
pub(super) async fn listen_for_probes(
    config: &Config,
    tasks: &mut Tasks,
) -> Result<watch::Sender<Condition>, DaemonError> {
    let (condition, known) = watch::channel(Condition::at_start());
    if let Some(address) = config.health_listen {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| DaemonError::Health { address, source })?;
        tasks.spawn("health for probes", health::serve(listener, known));
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
        self.condition.send_modify(|condition| {
            condition.apps = apps;
            condition.is_connected = self.coordinator.is_some();
        });
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
