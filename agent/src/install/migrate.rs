//! Migrations: begun at most once, by what the ledger says, and never guessed about.

pub mod ends;

use fleet_proto::migration::{MigrationAct, MigrationStand};
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Failure, Phase};

use super::{MigrationPart, MigrationWork};
use crate::ledger::{AppRecord, Direction, Migration, Step};

impl Step {
    pub(super) fn migration_work(&self) -> Option<MigrationWork> {
        let migration = self.migration?;
        let part = match migration.stand {
            MigrationStand::NotStarted => MigrationPart::Prepare,
            _ if migration.is_cut_short => MigrationPart::FindOut,
            _ => MigrationPart::Run,
        };
        Some(MigrationWork {
            release: self.release.clone()?,
            environment: self.environment.clone(),
            act: migration.act,
            part,
        })
    }
}

impl AppRecord {
    /// Beside what runs, which is not touched.
    pub(super) fn migrate(&mut self, release: &ReleaseRef, act: MigrationAct) {
        let mut step = self.new_step(Some(release.clone()), Direction::Forward, Phase::Fetching);
        step.migration = Some(Migration {
            act,
            stand: MigrationStand::NotStarted,
            is_cut_short: false,
        });
        self.step = Some(step);
    }

    /// Its end was not written down. What changes no database can be done again; what does
    /// may still be at it, and may have told its end where the agent finds it.
    pub(super) fn find_migration_cut_short(&mut self) {
        let Some(step) = &mut self.step else { return };
        let Some(migration) = &mut step.migration else {
            return;
        };
        let changes_nothing =
            migration.act == MigrationAct::Status || migration.stand == MigrationStand::NotStarted;
        if changes_nothing {
            step.phase = Phase::Fetching;
            migration.stand = MigrationStand::NotStarted;
        } else {
            migration.is_cut_short = true;
        }
    }

    /// From here on it may have changed the database.
    pub(super) fn begin_migration(&mut self) {
        if let Some(migration) = self.step.as_mut().and_then(|step| step.migration.as_mut()) {
            migration.stand = MigrationStand::Started;
        }
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
