//! What must hold on each node, with a coordinator or without: 1, 2 and 12.

use fleet_agent::install::{Answer, Outcome};
use fleet_agent::ledger::{AppRecord, Direction};
use fleet_proto::ids::AppName;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Command, FailureClass, Phase};

use super::{Held, Witness, must};
use crate::sim::storm::machine::Machine;

impl Witness {
    pub fn node_saved(&mut self, machine: &Machine) -> anyhow::Result<()> {
        for (app, record) in &machine.ledger.apps {
            a_runnable_release_is_on_the_disk(machine, app, record)?;
            something_good_is_never_left_for_nothing(machine, record)?;
            let failed = record.step.as_ref().filter(|step| {
                let failure = step.failure.as_ref();
                failure.is_some_and(|failure| failure.class == FailureClass::Release)
            });
            self.blamed.extend(failed.map(|step| step.rollout));
            let moved = record.step.as_ref().filter(|step| {
                step.direction == Direction::Forward
                    && step.from.is_some()
                    && matches!(step.phase, Phase::Activating | Phase::Verifying)
            });
            let moving = self.moving.entry(app.clone()).or_default();
            if let Some(step) = moved {
                moving.insert(machine.id.clone(), step.rollout);
            } else {
                moving.remove(&machine.id);
            }
        }
        Ok(())
    }

    pub fn may_start(
        &self,
        machine: &Machine,
        app: &AppName,
        release: Option<&ReleaseRef>,
    ) -> anyhow::Result<()> {
        let Some(release) = release else { return Ok(()) };
        must(machine.has(app, release), "1", || {
            format!(
                "{} is to run {app} {release}, which is not on its disk",
                machine.id
            )
        })?;
        Ok(())
    }

    pub fn order_taken(
        &self,
        command: &Command,
        before: &AppRecord,
        after: &AppRecord,
        answer: &Answer,
    ) -> anyhow::Result<()> {
        Ok(the_fence_is_kept(command, before, after, answer)?)
    }

    pub fn outcome_settled(
        &self,
        before: &AppRecord,
        after: &AppRecord,
        outcome: &Outcome,
    ) -> anyhow::Result<()> {
        Ok(a_failed_step_goes_back(before, after, outcome)?)
    }
}

/// Invariant 1: what shall run, and what could be gone back to.
fn a_runnable_release_is_on_the_disk(machine: &Machine, app: &AppName, record: &AppRecord) -> Held {
    for (what, release) in [
        ("what shall run", record.current_release()),
        ("the last good release", record.last_good()),
    ] {
        let Some(release) = release else { continue };
        must(machine.has(app, release), "1", || {
            format!("{what} on {}, {app} {release}, is not on its disk", machine.id)
        })?;
    }
    Ok(())
}

/// Invariant 1: a node that has a good release runs something.
fn something_good_is_never_left_for_nothing(machine: &Machine, record: &AppRecord) -> Held {
    must(record.good.is_empty() || record.current.is_some(), "1", || {
        format!("{} has good releases and shall run nothing", machine.id)
    })
}

/// Invariant 2: back to the newest good release that did not fail, by its own record.
fn a_failed_step_goes_back(before: &AppRecord, after: &AppRecord, outcome: &Outcome) -> Held {
    let Outcome::Failed(_) = outcome else {
        return Ok(());
    };
    let failing = before.current_release();
    let refuge = before
        .good
        .iter()
        .rev()
        .find(|good| Some(&good.release) != failing);
    let expected = match refuge {
        Some(good) => Some(&good.release),
        // Good once, and all there is: better ill than absent.
        None => failing.filter(|failing| before.good.iter().any(|good| good.release == **failing)),
    };
    let phase = after.step.as_ref().map(|step| step.phase);
    must(
        phase == Some(Phase::RollingBack) && after.current_release() == expected,
        "2",
        || {
            format!(
                "{failing:?} failed; {expected:?} was to be put back, not {:?} ({phase:?})",
                after.current
            )
        },
    )
}

/// Invariant 12: neither an old coordinator nor an old order changes anything, and the
/// same order again changes nothing but whose authority was seen last.
fn the_fence_is_kept(command: &Command, before: &AppRecord, after: &AppRecord, answer: &Answer) -> Held {
    let (given, seen) = (command.fence, before.fence_seen);
    let (order, known) = ((given.rollout, given.generation), (seen.rollout, seen.generation));
    let mut untouched = before.clone();
    let expected = if given.term < seen.term || order < known {
        matches!(answer, Answer::Refused(_))
    } else if order == known {
        untouched.fence_seen.term = given.term;
        *answer == Answer::Repeated
    } else {
        return must(
            *answer == Answer::Accepted && after.fence_seen == given,
            "12",
            || format!("the new order {given} was answered with {answer:?}"),
        );
    };
    must(expected && *after == untouched, "12", || {
        format!("{given} after {seen} was answered with {answer:?}, and may have changed something")
    })
}

/// Invariant 2, as time goes by: a node that puts itself back comes to an end.
pub fn must_be_back(machine: &Machine, app: &AppName, record: &AppRecord) -> Held {
    let phase = record.step.as_ref().map(|step| step.phase);
    must(phase != Some(Phase::RollingBack), "2", || {
        format!("{} does not come to an end of putting {app} back", machine.id)
    })
}
