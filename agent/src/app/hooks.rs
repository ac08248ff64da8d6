//! What is undrained once it is verified, beside the checks, which go on meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fleet_proto::release::ReleaseRef;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Assignment, RunLane, Task};
use crate::effects::chain;
use crate::effects::converge::{ConvergeError, Started};
use crate::effects::hooks::Occasion;
use crate::install::{Outcome, Purpose, Work};
use crate::probe::judge::Verdict;

fn occasion(purpose: Purpose, drained: bool) -> Occasion {
    match purpose {
        Purpose::PutBack => Occasion::Back,
        _ if drained => Occasion::Still,
        Purpose::Activate | Purpose::Verify => Occasion::Forward,
        Purpose::Rest | Purpose::Bake | Purpose::Smoke => Occasion::Rest,
    }
}

/// What processes are stopped and started for. An order that wants the same, as one to put
/// back what is being put back, begins nothing anew.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    run: Option<ReleaseRef>,
    pub occasion: Occasion,
    drained: bool,
}

impl Wanted {
    pub(super) fn of(work: &Work, drained: bool) -> Self {
        Self {
            run: work.run.clone(),
            occasion: occasion(work.purpose, drained),
            drained,
        }
    }

    /// Something else is, or nobody is there any more who wants anything.
    pub(super) fn is_over(&self, assignment: &watch::Receiver<Assignment>) -> bool {
        if assignment.has_changed().is_err() {
            return true;
        }
        let now = assignment.borrow();
        let wanted = now.work.as_ref().map(|work| Self::of(work, now.drained));
        wanted.as_ref() != Some(self)
    }
}

/// Given up when dropped.
pub(super) struct Undraining {
    end: JoinHandle<Result<(), ConvergeError>>,
    wanted: Wanted,
    is_given_up: Arc<AtomicBool>,
    /// What is told when it is done.
    then: Option<Outcome>,
}

impl Drop for Undraining {
    fn drop(&mut self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }
}

impl Task {
    pub(super) fn wanted(&self) -> Wanted {
        Wanted::of(&self.work, self.drained)
    }
}

impl RunLane {
    /// The outcome, to be told at once; none where something has to be undrained before.
    pub(super) fn undrain_first(&mut self, now: &Task, outcome: Outcome) -> Option<Outcome> {
        let is_well = matches!(outcome, Outcome::Verified { .. } | Outcome::PutBack { ill: None });
        match self.what_to_undrain().filter(|_| is_well) {
            Some(started) => {
                // What it did while it started is not held against it any more.
                if let (Outcome::Verified { .. }, Some(crew)) = (&outcome, &mut self.crew) {
                    crew.judge.begin_bake();
                }
                self.begin_undraining(now, started, Some(outcome));
                None
            }
            None => Some(outcome),
        }
    }

    /// Where nothing waits for a verdict: as soon as all checks pass.
    pub(super) fn undrain_at_rest(&mut self, now: &Task) {
        let proves_nothing = matches!(now.work.purpose, Purpose::Rest | Purpose::Bake | Purpose::Smoke);
        let is_well = self.crew.as_ref().is_some_and(|crew| crew.judge.all_pass());
        if !proves_nothing || !is_well || self.undraining.is_some() {
            return;
        }
        if let Some(started) = self.what_to_undrain() {
            self.begin_undraining(now, started, None);
        }
    }

    fn what_to_undrain(&self) -> Option<Started> {
        let crew = self.crew.as_ref().filter(|_| !self.has_undrained)?;
        let started = &crew.started;
        self.converge.owes_undrain(started).then(|| started.clone())
    }

    fn begin_undraining(&mut self, now: &Task, started: Started, then: Option<Outcome>) {
        let (converge, assignment, wanted) = (self.converge.clone(), self.assignment.clone(), now.wanted());
        let is_given_up = Arc::new(AtomicBool::new(false));
        let flag = is_given_up.clone();
        let is_wanted = wanted.clone();
        let is_interrupted = move || flag.load(Ordering::Relaxed) || is_wanted.is_over(&assignment);
        let occasion = wanted.occasion;
        let work = move || converge.undrain(&started, occasion, &is_interrupted);
        self.undraining = Some(Undraining {
            end: tokio::task::spawn_blocking(work),
            wanted,
            is_given_up,
            then,
        });
    }

    /// What was begun for something else is given up.
    pub(super) fn keep_undraining_for(&mut self, now: &Task) {
        let wanted = now.wanted();
        self.undraining = self
            .undraining
            .take()
            .filter(|undraining| undraining.wanted == wanted);
    }

    /// What is to be told now that it is over.
    pub(super) fn settle_undraining(&mut self, ended: Result<(), ConvergeError>) -> Option<Outcome> {
        let then = self
            .undraining
            .take()
            .and_then(|mut undraining| undraining.then.take());
        if ended.as_ref().is_err_and(ConvergeError::is_interrupted) {
            return None;
        }
        self.has_undrained = true;
        match ended {
            Ok(()) => then,
            Err(error) => {
                tracing::error!(app = %self.converge.app, why = chain(&error), "cannot undrain");
                then.map(|_| Outcome::Failed(error.hook_failure()))
            }
        }
    }

    /// Meanwhile only what goes wrong is a verdict.
    pub(super) fn judge_meanwhile(&self, purpose: Purpose) -> Option<Outcome> {
        let crew = self.crew.as_ref().filter(|_| purpose == Purpose::Verify)?;
        match crew.bake() {
            Verdict::Failed(finding) => Some(Outcome::Failed(crew.failure(finding))),
            Verdict::Open | Verdict::Passed => None,
        }
    }
}

/// For ever, where nothing is undrained.
pub(super) async fn end_of(undraining: &mut Option<Undraining>) -> Result<(), ConvergeError> {
    let Some(undraining) = undraining else {
        return std::future::pending().await;
    };
    match (&mut undraining.end).await {
        Ok(ended) => ended,
        Err(broken) => match broken.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_shut_down) => std::future::pending().await,
        },
    }
}
