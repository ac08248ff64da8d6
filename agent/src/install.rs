//! What to do next: orders and outcomes in, work out. Pure: no clock, no files, no tasks.
//!
//! ```text
//!  order ──take──→ AppRecord ──work──→ Work (fetch this, run that, for this purpose)
//!                     ↑                          │
//!                     └───────settle── Outcome ──┘
//! ```
//!
//! Work is read off the record, never remembered: an agent that was killed finds in the
//! ledger all that it needs to go on. `current` names what *shall* run and is written
//! before processes are replaced; making it so can be done any number of times.

mod by_hand;
mod confirm;
pub mod migrate;
mod orders;
pub mod outage;
mod outcomes;

use fleet_proto::ids::{EnvironmentName, RolloutNumber};
use fleet_proto::migration::{MigrationAct, MigrationStand};
use fleet_proto::quantity::Span;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Failure, FailureClass, Phase};

use crate::ledger::{AppRecord, Direction, Installed, Step};

pub use by_hand::{ByHandError, Moved};
pub use orders::Answer;
pub use outcomes::{Outcome, PutItselfBack, Unexpected};

/// A release under which the agent itself keeps dying is not tried for ever; an agent
/// that is merely restarted a few times is no reason to give one up.
const ATTEMPTS_MAX: u32 = 5;

/// What is to be done about one app, as its record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// To be brought to this node, beside whatever runs.
    pub fetch: Option<ReleaseRef>,
    /// In which environment the step is: what is fetched is for that one.
    pub environment: Option<EnvironmentName>,
    /// To be made to run, in place of anything else.
    pub run: Option<ReleaseRef>,
    /// With that environment's configuration.
    pub run_in: Option<EnvironmentName>,
    pub purpose: Purpose,
    /// To be done beside what runs.
    pub migrate: Option<MigrationWork>,
    /// While putting back: how long it is tried to reach a coordinator.
    pub cut_off: Option<Span>,
    /// Whose work it is, so that an outcome is never taken for another's.
    pub order: (RolloutNumber, u32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationWork {
    pub release: ReleaseRef,
    pub environment: Option<EnvironmentName>,
    pub act: MigrationAct,
    pub part: MigrationPart,
}

/// How far the ledger says that a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationPart {
    /// Nothing that changes a database: can be done again.
    Prepare,
    /// Once.
    Run,
    /// It was begun by an agent that is gone.
    FindOut,
}

/// To what end a release runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Checked, and nothing follows from it.
    Rest,
    Activate,
    Verify,
    Bake,
    /// The bake is over; once more it is looked at closely.
    Smoke,
    PutBack,
}

/// What an agent that starts finds half done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    Finishing(Phase),
    Undoing(Phase),
}

impl AppRecord {
    pub fn work(&self) -> Work {
        let (phase, release) = match &self.step {
            Some(step) => (step.phase, step.release.clone()),
            None => (Phase::Done, None),
        };
        let purpose = match phase {
            Phase::Activating => Purpose::Activate,
            Phase::Verifying => Purpose::Verify,
            Phase::Baking if self.step.as_ref().is_some_and(|step| step.is_committed) => Purpose::Smoke,
            Phase::Baking => Purpose::Bake,
            Phase::RollingBack => Purpose::PutBack,
            Phase::Pending
            | Phase::Fetching
            | Phase::Staged
            | Phase::Migrating
            | Phase::Done
            | Phase::Failed
            | Phase::RolledBack => Purpose::Rest,
        };
        let migrate = self.step.as_ref().filter(|_| phase == Phase::Migrating);
        let migrate = migrate.and_then(Step::migration_work);
        Work {
            migrate,
            fetch: release.filter(|_| phase == Phase::Fetching),
            environment: self.step.as_ref().and_then(|step| step.environment.clone()),
            run: self.current_release().cloned(),
            run_in: self
                .current
                .as_ref()
                .and_then(|current| current.environment.clone()),
            purpose,
            cut_off: self.step.as_ref().and_then(|step| step.cut_off),
            order: (self.fence_seen.rollout, self.fence_seen.generation),
        }
    }

    /// After a start: a phase that was cut short begins anew, a bounded number of times.
    pub fn recover(&mut self) -> Option<Recovery> {
        let step = self.step.as_mut()?;
        match step.phase {
            Phase::Fetching | Phase::Staged => {
                step.phase = Phase::Fetching;
                Some(Recovery::Finishing(Phase::Fetching))
            }
            phase @ (Phase::Activating | Phase::Verifying) => {
                step.attempts += 1;
                if step.attempts < ATTEMPTS_MAX {
                    return Some(Recovery::Finishing(phase));
                }
                let attempts = step.attempts;
                self.fall_back(Failure {
                    class: FailureClass::Release,
                    check: None,
                    message: format!(
                        "the agent was stopped {attempts} times while {phase}, the limit is {ATTEMPTS_MAX}"
                    ),
                    figure: Some(attempts.to_string()),
                    limit: Some(ATTEMPTS_MAX.to_string()),
                    log_tail: vec![],
                });
                Some(Recovery::Undoing(phase))
            }
            Phase::RollingBack => Some(Recovery::Undoing(Phase::RollingBack)),
            Phase::Migrating => {
                self.find_migration_cut_short();
                Some(Recovery::Finishing(Phase::Migrating))
            }
            Phase::Pending | Phase::Baking | Phase::Done | Phase::Failed | Phase::RolledBack => None,
        }
    }

    /// From staged to the point of no cheap return, once that is in the ledger.
    pub fn proceed(&mut self) -> bool {
        let Some(step) = self.step.as_mut().filter(|step| step.phase == Phase::Staged) else {
            return false;
        };
        let (Some(release), Some(counter)) = (step.release.clone(), step.counter) else {
            return false;
        };
        if let Some(migration) = &mut step.migration {
            step.phase = Phase::Migrating;
            // Before `up` there is something to be made sure of.
            if migration.act != MigrationAct::Up {
                migration.stand = MigrationStand::Started;
            }
            return true;
        }
        step.attempts = 0;
        match step.direction {
            Direction::Forward => step.phase = Phase::Activating,
            // What it leaves stays good until this one has proven itself here.
            Direction::Back => step.phase = Phase::RollingBack,
        }
        self.current = Some(Installed {
            release,
            counter,
            environment: step.environment.clone(),
        });
        true
    }

    /// Away from a release that failed after it had been activated.
    fn fall_back(&mut self, failure: Failure) {
        let failing = self.current_release().cloned();
        match self.way_back().cloned() {
            Some(target) => {
                // What was good for another environment stays so.
                let stays = Some(&target.release) == failing.as_ref();
                self.good
                    .retain(|good| stays || Some(&good.release) != failing.as_ref());
                self.current = Some(target);
            }
            // It was good here once, and it is all there is: better ill than absent.
            None if failing.as_ref().is_some_and(|failing| self.is_good(failing)) => {}
            None => self.current = None,
        }
        if let Some(step) = &mut self.step {
            step.phase = Phase::RollingBack;
            step.failure = Some(failure);
            step.failed = failing;
            step.attempts = 0;
            step.cut_off = None;
        }
    }

    /// The same release as it ran before, with another environment's configuration; else
    /// another one.
    fn way_back(&self) -> Option<&Installed> {
        let current = self.current.as_ref()?;
        let before = self.good(&current.release);
        before
            .filter(|good| good.environment.is_some() && good.environment != current.environment)
            .or_else(|| self.newest_good_but(&current.release))
    }

    fn newest_good_but(&self, left: &ReleaseRef) -> Option<&Installed> {
        self.good.iter().rev().find(|good| good.release != *left)
    }

    fn good(&self, release: &ReleaseRef) -> Option<&Installed> {
        self.good.iter().find(|good| good.release == *release)
    }

    fn new_step(&self, release: Option<ReleaseRef>, direction: Direction, phase: Phase) -> Step {
        Step {
            rollout: self.fence_seen.rollout,
            generation: self.fence_seen.generation,
            counter: None,
            from: self.current_release().cloned(),
            release,
            direction,
            phase,
            failure: None,
            failed: None,
            attempts: 0,
            activated_at: None,
            is_committed: false,
            migration: None,
            cut_off: None,
            has_smoke: false,
            environment: None,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests;
