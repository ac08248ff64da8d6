//! The whole node taken out of service, and put back into it.

use fleet_proto::fence::PLAUSIBLE_MAX;
use fleet_proto::ids::AppName;
use fleet_proto::session::{Health, Service, ServiceStatus};

use super::{Daemon, DaemonError};
use crate::drained;
use crate::install::Answer;
use crate::ledger::AppRecord;

impl Daemon {
    /// In the ledger before anything is stopped or started.
    pub(super) async fn serve_or_not(&mut self, told: Service) -> Result<(), DaemonError> {
        let mut ledger = self.ledger();
        let before = ledger.service.drained;
        let Service {
            term,
            sequence,
            drained,
        } = told;
        let taken = if term.max(sequence) > PLAUSIBLE_MAX {
            Answer::Refused("no coordinator has come so far".to_owned())
        } else {
            ledger.take_service(told)
        };
        match taken {
            Answer::Refused(why) => {
                tracing::warn!(term, sequence, drained, why, "whether to serve: refused");
                return Ok(());
            }
            Answer::Repeated => return self.commit(ledger).await,
            Answer::Accepted if drained => tracing::info!(sequence, "drained; stopping all apps"),
            Answer::Accepted => tracing::info!(sequence, "undrained; starting what shall run"),
        }
        self.commit(ledger).await?;
        // Drained anew while it was away: what stands still goes on standing still.
        if drained != before {
            self.still.clear();
            self.assign_all();
        }
        self.report();
        Ok(())
    }

    fn assign_all(&mut self) {
        let apps: Vec<AppName> = self.held.ledger.ledger().apps.keys().cloned().collect();
        for app in apps {
            self.assign(&app);
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        self.held.ledger.ledger().service.drained
    }

    pub(super) fn note_still(&mut self, app: &AppName) {
        if self.is_drained() {
            self.still.insert(app.clone());
            self.report();
        }
    }

    pub(super) fn health_of(&self, app: &AppName, record: &AppRecord) -> Health {
        if self.is_drained() && self.still.contains(app) {
            return drained::health(record.current.is_some());
        }
        let unknown = if record.current.is_none() {
            Health::Empty
        } else {
            Health::Unknown
        };
        self.health.get(app).cloned().unwrap_or(unknown)
    }

    pub(super) fn service(&self) -> ServiceStatus {
        let ledger = self.held.ledger.ledger();
        let all_still = ledger.apps.keys().all(|app| self.still.contains(app));
        ServiceStatus {
            sequence: ledger.service.sequence,
            drained: ledger.service.drained && all_still,
        }
    }
}
