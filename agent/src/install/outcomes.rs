//! What came of the work.

use fleet_proto::migration::MigrationStand;
use fleet_proto::quantity::Span;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Failure, FailureClass, Phase};
use fleet_proto::time::Timestamp;

use crate::ledger::{AppRecord, Direction, Installed};

/// How often a release is tried to be put back before another one is. The app is down
/// meanwhile.
const PUT_BACK_ATTEMPTS_MAX: u32 = 3;
/// About a minute and a half: a bus or a disk that is away for longer is told of.
const OUTAGE_ATTEMPTS_MAX: u32 = 60;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Signed, whole and on the disk.
    Staged { release: ReleaseRef, counter: u64 },
    /// Could not be had, or must not run here.
    NotStaged { release: ReleaseRef, failure: Failure },
    /// All is ready for what changes the database.
    MigrationBegins,
    /// The migration came to an end, or was not begun: with a failure if it did not do.
    Migrated {
        stand: MigrationStand,
        failure: Option<Failure>,
    },
    /// The processes of the release were started.
    Activated,
    /// All checks passed for long enough.
    Verified { has_smoke: bool },
    /// The bake is over, and the smoke checks passed.
    Smoked,
    /// Activation, verification or bake failed.
    Failed(Failure),
    /// No coordinator was reached within this time after activation.
    CutOff { failure: Failure, within: Span },
    /// On what was put back one was.
    ReachedAgain,
    /// The release that was put back runs; and how it is, if its checks do not pass.
    PutBack { ill: Option<String> },
    /// The release that was to be put back is what will run here: the node is drained.
    PutBackUnseen,
    /// The release to be put back cannot be started, for what it is itself, or for what no
    /// other would start on either.
    CannotPutBack { why: String, is_its_own: bool },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{outcome:?}` is not expected while {}", .phase.map_or("nothing is going on", Phase::word))]
pub struct Unexpected {
    pub phase: Option<Phase>,
    pub outcome: Box<Outcome>,
}

/// For the history, where nobody could be told at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutItselfBack {
    pub from: Option<ReleaseRef>,
    pub to: Option<ReleaseRef>,
    pub why: String,
}

impl AppRecord {
    /// Takes note of an outcome. Tells when it made the node put itself back.
    pub fn settle(&mut self, outcome: Outcome, now: Timestamp) -> Result<Option<PutItselfBack>, Unexpected> {
        let running = self.current_release().map(ToString::to_string);
        let Some(step) = self.step.as_mut() else {
            return Err(Unexpected {
                phase: None,
                outcome: Box::new(outcome),
            });
        };
        match (step.phase, outcome) {
            (Phase::Fetching, Outcome::Staged { release, counter })
                if step.release.as_ref() == Some(&release) =>
            {
                step.phase = Phase::Staged;
                step.counter = Some(counter);
            }
            (Phase::Fetching, Outcome::NotStaged { release, failure })
                if step.release.as_ref() == Some(&release) =>
            {
                step.phase = Phase::Failed;
                step.failure = Some(failure);
                step.failed = Some(release);
            }
            (Phase::Migrating, Outcome::MigrationBegins) => self.begin_migration(),
            (Phase::Migrating, Outcome::Migrated { stand, failure }) => self.settle_migration(stand, failure),
            (Phase::Activating, Outcome::Activated) => {
                step.phase = Phase::Verifying;
                step.activated_at = Some(now);
            }
            (Phase::Verifying, Outcome::Verified { has_smoke }) => {
                step.phase = Phase::Baking;
                step.attempts = 0;
                step.has_smoke = has_smoke;
                if step.is_committed && !has_smoke {
                    self.finish();
                }
            }
            (Phase::Baking, Outcome::Smoked) if step.is_committed => self.finish(),
            (Phase::Activating | Phase::Verifying | Phase::Baking, Outcome::Failed(failure)) => {
                return Ok(Some(self.give_up(failure)));
            }
            (Phase::Activating | Phase::Verifying | Phase::Baking, Outcome::CutOff { failure, within }) => {
                return Ok(Some(self.cut_off(failure, within)));
            }
            (Phase::RollingBack, Outcome::ReachedAgain) => self.reached_again(),
            (Phase::RollingBack, Outcome::PutBack { ill }) => {
                self.reached_nobody();
                return Ok(self.put_back(ill.as_deref(), running));
            }
            (Phase::RollingBack, Outcome::PutBackUnseen) => {
                self.reached_nobody();
                return Ok(self.put_back_unseen(running));
            }
            (Phase::RollingBack, Outcome::CannotPutBack { why, is_its_own }) => {
                self.try_another(&why, is_its_own);
            }
            (phase, outcome) => {
                return Err(Unexpected {
                    phase: Some(phase),
                    outcome: Box::new(outcome),
                });
            }
        }
        Ok(None)
    }

    pub(super) fn give_up(&mut self, failure: Failure) -> PutItselfBack {
        let from = self.current_release().cloned();
        let why = failure.message.clone();
        self.fall_back(failure);
        let to = self.current_release().cloned();
        PutItselfBack { from, to, why }
    }

    /// What was good here before is where the node stays, well or not: it was asked for, or
    /// it is the best there is. What was fetched for the purpose has to be well.
    fn put_back(&mut self, ill: Option<&str>, running: Option<String>) -> Option<PutItselfBack> {
        let current = self.current.clone();
        let is_good = current
            .as_ref()
            .is_none_or(|current| self.is_good(&current.release));
        if let (Some(why), false, false) = (ill, is_good, self.good.is_empty()) {
            let from = self.current_release().cloned();
            let name = running.as_deref().unwrap_or("nothing");
            self.fall_back(Failure {
                class: FailureClass::Release,
                check: None,
                message: format!("{name} was fetched to go back to, and is not healthy: {why}"),
                figure: None,
                limit: None,
                log_tail: vec![],
            });
            let to = self.current_release().cloned();
            let why = why.to_owned();
            return Some(PutItselfBack { from, to, why });
        }
        let step = self.step.as_mut()?;
        step.phase = Phase::RolledBack;
        let left = step.from.clone().filter(|_| !is_good && ill.is_none());
        if let (Some(why), Some(running)) = (ill, running) {
            let why = format!("{running} was put back and is not healthy: {why}");
            add_to_failure(&mut step.failure, &why);
        }
        if let Some(current) = current.filter(|_| is_good || ill.is_none()) {
            self.good
                .retain(|good| good.release != current.release && Some(&good.release) != left.as_ref());
            self.note_proven(current.release.digest);
            self.good.push(current);
        }
        None
    }

    /// What was good stays so, and what never ran here has not proven itself by standing still.
    fn put_back_unseen(&mut self, running: Option<String>) -> Option<PutItselfBack> {
        if self.current_release().is_none_or(|current| self.is_good(current)) {
            return self.put_back(None, running);
        }
        let step = self.step.as_mut()?;
        step.phase = Phase::RolledBack;
        let left = step.from.clone();
        let stays = |good: &Installed| Some(&good.release) != left.as_ref();
        if self.good.iter().any(stays) {
            self.good.retain(stays);
        }
        None
    }

    /// The bake is over: what runs is the last good release from now on.
    pub(super) fn finish(&mut self) {
        if let Some(step) = &mut self.step {
            step.phase = Phase::Done;
        }
        let Some(current) = self.current.clone() else {
            return;
        };
        self.floor = self.floor.max(current.counter);
        self.good.retain(|good| good.release != current.release);
        self.note_proven(current.release.digest);
        self.good.push(current);
    }

    /// Good releases past the limit are forgotten, oldest first, so that their slots
    /// can go. What runs is not touched by it.
    pub fn forget_old_releases(&mut self, good_releases_max: usize) {
        let excess = self.good.len().saturating_sub(good_releases_max);
        self.good.drain(..excess);
    }

    /// Nothing is given up while there is still something to try; and no good release for an
    /// outage, which is waited out.
    fn try_another(&mut self, why: &str, is_its_own: bool) {
        let Some(step) = &mut self.step else {
            return;
        };
        step.attempts += 1;
        let attempts_max = if is_its_own {
            PUT_BACK_ATTEMPTS_MAX
        } else {
            OUTAGE_ATTEMPTS_MAX
        };
        if step.attempts < attempts_max {
            return;
        }
        step.attempts = 0;
        let stuck: Option<Installed> = self.current.clone();
        let name = stuck
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), |stuck| stuck.release.to_string());
        add_to_failure(&mut step.failure, &format!("{name} cannot be put back: {why}"));
        let another = stuck
            .as_ref()
            .filter(|_| is_its_own)
            .and_then(|stuck| self.good.iter().rev().find(|good| good.release != stuck.release))
            .cloned();
        match another {
            Some(another) => {
                self.good.retain(|good| Some(good) != stuck.as_ref());
                if step.direction == Direction::Back {
                    step.release = Some(another.release.clone());
                }
                self.current = Some(another);
            }
            // What shall run stays so, and is tried again and again, unless its files are
            // not those that were signed; but nobody is told that the node was put back.
            None => step.phase = Phase::Failed,
        }
    }
}

pub(super) fn add_to_failure(failure: &mut Option<Failure>, sentence: &str) {
    match failure {
        Some(failure) => {
            failure.message.push_str("; ");
            failure.message.push_str(sentence);
        }
        None => {
            *failure = Some(Failure {
                class: FailureClass::Release,
                check: None,
                message: sentence.to_owned(),
                figure: None,
                limit: None,
                log_tail: vec![],
            });
        }
    }
}
