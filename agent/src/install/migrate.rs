//! Migrations: begun at most once, by what the ledger says, and never guessed about.

use fleet_proto::migration::{MigrationAct, MigrationStand};
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Failure, FailureClass, Phase};

use crate::ledger::{AppRecord, Direction, Migration};

impl AppRecord {
    /// Beside what runs, which is not touched.
    pub(super) fn migrate(&mut self, release: &ReleaseRef, act: MigrationAct) {
        let mut step = self.new_step(Some(release.clone()), Direction::Forward, Phase::Fetching);
        step.migration = Some(Migration {
            act,
            stand: MigrationStand::NotStarted,
        });
        self.step = Some(step);
    }

    /// It was begun, and its end was not written down. Asking can be done again; what
    /// changes a database cannot.
    pub(super) fn find_migration_cut_short(&mut self) {
        let Some(step) = &mut self.step else { return };
        let Some(migration) = &mut step.migration else {
            return;
        };
        if migration.act == MigrationAct::Status {
            step.phase = Phase::Fetching;
            migration.stand = MigrationStand::NotStarted;
            return;
        }
        migration.stand = MigrationStand::Unknown;
        let release = step
            .release
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        step.phase = Phase::Failed;
        step.failure = Some(Failure {
            class: FailureClass::Infrastructure,
            check: None,
            message: format!(
                "the agent went while the migration of {release} ran ({}): nobody saw its end",
                migration.act
            ),
            figure: None,
            limit: None,
            log_tail: vec![],
        });
    }

    /// What came of it.
    pub(super) fn settle_migration(&mut self, stand: MigrationStand, failure: Option<Failure>) {
        let Some(step) = &mut self.step else { return };
        if let Some(migration) = &mut step.migration {
            migration.stand = stand;
        }
        step.phase = if failure.is_some() {
            Phase::Failed
        } else {
            Phase::Done
        };
        step.failure = failure;
    }
}
