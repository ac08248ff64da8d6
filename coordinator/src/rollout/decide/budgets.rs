//! What stops a rollout: failures of the release, nodes that are lost, time.

use fleet_proto::ids::NodeId;
use fleet_proto::release::OnFailure;
use fleet_proto::session::{Health, Phase};
use fleet_proto::time::Timestamp;

use super::back::is_frozen;
use super::{Decision, Scope, catch_up, end, put_back, sentences};
use crate::rollout::event::{Event, Outcome, PauseCause, RolloutKind, Urgency};
use crate::rollout::progress::Progress;
use crate::rollout::state::{Course, Rollout, State, Step};
use crate::rollout::way_back;

/// On the way back nothing stops; and in a catch-up each node stands for itself.
fn has_budgets(rollout: &Rollout) -> bool {
    rollout.is_forward() && !rollout.is_catch_up()
}

/// Over the budget of failures of class `release`: strictly more than it.
pub(super) fn too_many_failures(
    state: &State,
    rollout: &Rollout,
    progress: &Progress,
    _now: Timestamp,
) -> Option<Decision> {
    if !has_budgets(rollout) {
        return None;
    }
    let strategy = &rollout.plan.strategy;
    let allowed = strategy.max_failures.of_rounded_down(rollout.plan.nodes());
    // A wave without a success fails the rollout only if the release is to blame for it.
    let in_wave = |id: &NodeId| {
        rollout
            .steps
            .get(id)
            .is_some_and(|step| step.wave == rollout.wave)
    };
    let barren = progress.wave.is_over_but_for_the_bake()
        && progress.wave.good() == 0
        && progress.failed.iter().any(in_wave)
        && !progress.lost.iter().any(in_wave)
        && rollout.wave < rollout.plan.waves.len();
    if progress.failed.len() <= allowed && !barren {
        return None;
    }
    let why = sentences::failures(rollout, &progress.failed, allowed);
    match strategy.on_failure {
        OnFailure::Rollback => match is_frozen(state, rollout) {
            Some(record) => {
                let why_shut = way_back::why_shut(&rollout.plan.app, record);
                let why = format!("{why}; {why_shut}, so nothing is rolled back by itself");
                pause(rollout, PauseCause::Failures, why)
            }
            None => Some(Decision::events(fail(state, rollout, why))),
        },
        OnFailure::Pause => pause(rollout, PauseCause::Failures, why),
    }
}

/// Infrastructure says nothing about the release: pause, never roll back.
pub(super) fn too_many_lost(
    state: &State,
    rollout: &Rollout,
    progress: &Progress,
    _now: Timestamp,
) -> Option<Decision> {
    if !has_budgets(rollout) {
        return None;
    }
    let allowed = rollout
        .plan
        .strategy
        .max_unreachable
        .of_rounded_down(rollout.plan.nodes());
    let wave = &progress.wave;
    let barren = wave.is_over_but_for_the_bake()
        && wave.good() == 0
        && rollout.wave < rollout.plan.waves.len()
        && !is_accepted(rollout);
    if progress.lost.len() <= allowed && !barren {
        return None;
    }
    if progress.lost.len() <= allowed {
        let why = sentences::nobody_good(state, rollout, progress);
        return pause(rollout, PauseCause::NobodyGood, why);
    }
    let why = sentences::lost(state, rollout, &progress.lost, allowed);
    pause(rollout, PauseCause::Unreachable, why)
}

/// To go on to a release that does not do would take good nodes from where they are. Where
/// nodes go back to their own last good each is better off than on what it leaves.
pub(super) fn gone_back_to_an_ill_one(
    state: &State,
    rollout: &Rollout,
    progress: &Progress,
    _now: Timestamp,
) -> Option<Decision> {
    let RolloutKind::Rollback { to: Some(to), .. } = &rollout.kind else {
        return None;
    };
    if rollout.urgency == Urgency::Emergency || progress.wave.ready.is_empty() {
        return None;
    }
    let app = &rollout.plan.app;
    let is_ill = |(id, step): &(&NodeId, &Step)| {
        let node = state
            .nodes
            .get(*id)
            .filter(|node| node.is_connected() && !node.service.drained);
        let is_ill = node.and_then(|node| node.app(app)).is_some_and(|stands| {
            stands.current.as_ref() == Some(to) && matches!(stands.health, Health::Unhealthy { .. })
        });
        let failed_to = step.failure.as_ref().filter(|_| step.phase == Phase::Failed);
        !step.forgiven && step.phase.is_settled() && (is_ill || failed_to.is_some())
    };
    let (node, step) = rollout.steps.iter().find(is_ill)?;
    let failure = step
        .failure
        .as_ref()
        .map_or("", |failure| failure.message.as_str());
    let why = format!("{node} is not well on {to}, and others would go there too; {failure}");
    pause(rollout, PauseCause::Failures, why)
}

/// A person who resumed in spite of every single node of the wave meant it; but a rollout
/// that nobody took is not one that succeeded.
fn is_accepted(rollout: &Rollout) -> bool {
    let mut in_wave = rollout.steps.values().filter(|step| step.wave == rollout.wave);
    in_wave.all(|step| step.forgiven) && can_be_accepted(rollout)
}

pub(super) fn can_be_accepted(rollout: &Rollout) -> bool {
    let is_last = rollout.wave + 1 == rollout.plan.waves.len();
    !is_last || rollout.steps.values().any(Step::is_committed)
}

/// Pauses once; a rollout that is paused already stays as it is. One that is held pauses
/// too: a node that comes late to its waves can still fail.
fn pause(rollout: &Rollout, cause: PauseCause, why: String) -> Option<Decision> {
    matches!(rollout.course, Course::Running | Course::Held { .. }).then(|| {
        Decision::events(vec![Event::RolloutPaused {
            number: rollout.number,
            cause,
            why,
            by: None,
        }])
    })
}

fn fail(state: &State, rollout: &Rollout, why: String) -> Vec<Event> {
    let back = put_back(state, rollout, Scope::AllThatMoved, "fleet", Some(why.clone()));
    end(rollout, Outcome::Failed, Some(why), back)
}

/// Runs down while nodes are on their way to being verified, or wait to be told.
pub(super) fn too_long_without_progress(
    state: &State,
    rollout: &Rollout,
    progress: &Progress,
    now: Timestamp,
) -> Option<Decision> {
    let deadline = rollout.plan.strategy.progress_deadline;
    let from = rollout.progress_at.max(rollout.clock_from);
    // Also while nobody may be told: behind nodes that are down and that nobody mends, it
    // would wait for ever. But a wave that has not begun waits for a gate, or for a migration,
    // which has a time limit of its own.
    let wave = rollout.waves.get(rollout.wave);
    let has_begun = wave.is_some_and(|wave| wave.started_at.is_some());
    let waits = !progress.unverified.is_empty()
        || (has_begun && !progress.wave.ready.is_empty())
        || !progress.wave.committing.is_empty();
    let late = waits && now.since(from) > deadline;
    // Nobody asked for it, so nobody is asked: those that remain are looked at again later.
    if late && rollout.is_catch_up() && progress.unverified.is_empty() {
        return Some(Decision::events(catch_up::end(rollout)));
    }
    if !late || !has_budgets(rollout) {
        return None;
    }
    let why = sentences::no_progress(state, rollout, progress, deadline);
    pause(rollout, PauseCause::ProgressDeadline, why)
}
