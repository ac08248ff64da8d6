//! A migration beside what runs.

use fleet_proto::ids::RolloutNumber;
use tokio::task::JoinHandle;

use super::{Over, RunLane, Task};
use crate::effects::converge::Converge;
use crate::effects::migrate::migrate;
use crate::install::{MigrationWork, Outcome, Work};
use crate::link::Reach;

/// A migration's part that is being carried out.
pub(super) struct Migrating {
    work: MigrationWork,
    order: (RolloutNumber, u32),
    end: JoinHandle<Outcome>,
}

impl Migrating {
    /// None where nothing is to be migrated.
    pub(super) fn begin(converge: &Converge, reach: &Reach, work: &Work) -> Option<Self> {
        let (converge, reach, order) = (converge.clone(), reach.clone(), work.order);
        let work = work.migrate.clone()?;
        let ordered = work.clone();
        Some(Self {
            work,
            order,
            end: tokio::task::spawn_blocking(move || migrate(&converge, reach, &ordered, order)),
        })
    }

    pub(super) fn is(&self, work: &Work) -> bool {
        work.migrate.as_ref() == Some(&self.work) && work.order == self.order
    }
}

/// For ever, where there is none.
pub(super) async fn end_of(migrating: &mut Option<Migrating>) -> Outcome {
    let Some(migrating) = migrating else {
        return std::future::pending().await;
    };
    match (&mut migrating.end).await {
        Ok(outcome) => outcome,
        Err(broken) => match broken.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_shut_down) => std::future::pending().await,
        },
    }
}

impl RunLane {
    pub(super) async fn settle_migrating(&mut self, now: &Task, outcome: Outcome) -> Result<(), Over> {
        match self.migrating.take() {
            Some(migrating) if migrating.is(&now.work) => self.tell(now, outcome).await,
            _ => Ok(()),
        }
    }

    /// Beside what runs, and once: whatever the lane is called away for meanwhile, it goes on
    /// to its end and is waited for again.
    pub(super) fn begin_migration(&mut self, now: &Task) {
        let is_at_it = self
            .migrating
            .as_ref()
            .is_some_and(|migrating| migrating.is(&now.work));
        if !is_at_it && let Some(migrating) = Migrating::begin(&self.converge, &self.reach, &now.work) {
            self.migrating = Some(migrating);
        }
    }
}
