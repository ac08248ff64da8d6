//! What goes wrong without the release being to blame: tried again, and not waited for
//! without end.

use fleet_proto::ids::NodeId;
use fleet_proto::quantity::Span;
use fleet_proto::session::{Failure, FailureClass, Phase};
use fleet_proto::time::Timestamp;

use super::Decision;
use crate::rollout::event::Event;
use crate::rollout::node::Node;
use crate::rollout::progress::Progress;
use crate::rollout::state::{Rollout, State, Step};

/// The node itself gives up at the release's own deadline; one that has not said so this
/// much later does not say anything any more.
const MARGIN: Span = Span::from_secs(60);

/// Those whose time has come are told again.
pub(super) fn try_again(
    _state: &State,
    rollout: &Rollout,
    progress: &Progress,
    now: Timestamp,
) -> Option<Decision> {
    let is_due = |id: &&NodeId| {
        let step = rollout.steps.get(*id);
        step.and_then(|step| step.retry_at).is_some_and(|at| at <= now)
    };
    let due = progress.wave.retrying.iter().filter(is_due);
    let events: Vec<Event> = due
        .map(|id| Event::StepRetried {
            number: rollout.number,
            node: id.clone(),
        })
        .collect();
    (!events.is_empty()).then(|| Decision::events(events))
}

/// A node that is connected and stays in a phase for longer than that may take has failed,
/// for want of infrastructure: nothing is known about the release.
pub(super) fn too_long_in_a_phase(
    state: &State,
    rollout: &Rollout,
    progress: &Progress,
    now: Timestamp,
) -> Option<Decision> {
    let is_late = |(phase, since): (&Phase, &Timestamp)| {
        deadline(rollout, *phase)
            .is_some_and(|(_, deadline)| now.since((*since).max(rollout.clock_from)) > deadline)
    };
    if !progress.longest.iter().any(is_late) {
        return None;
    }
    let events: Vec<Event> = progress
        .unverified
        .iter()
        .filter(|id| state.nodes.get(*id).is_some_and(Node::is_connected))
        .filter_map(|id| {
            let step = rollout.steps.get(id)?;
            Some(Event::StepOverdue {
                number: rollout.number,
                node: id.clone(),
                failure: overdue(rollout, step, now)?,
            })
        })
        .collect();
    (!events.is_empty()).then(|| Decision::events(events))
}

fn overdue(rollout: &Rollout, step: &Step, now: Timestamp) -> Option<Failure> {
    let (name, deadline) = deadline(rollout, step.phase)?;
    // Neither a halt nor a pause counts, nor the time when nobody was there to be told.
    let lasted = now.since(step.since.max(rollout.clock_from));
    (lasted > deadline).then(|| Failure {
        class: FailureClass::Infrastructure,
        check: None,
        message: format!("still {} after {lasted}, {name} is {deadline}", step.phase),
        figure: Some(lasted.to_string()),
        limit: Some(deadline.to_string()),
        log_tail: vec![],
    })
}

/// What the limit is called, for whoever wants another one.
fn deadline(rollout: &Rollout, phase: Phase) -> Option<(&'static str, Span)> {
    let strategy = &rollout.plan.strategy;
    match phase {
        Phase::Fetching | Phase::Staged => Some(("fetch_deadline", strategy.fetch_deadline)),
        Phase::Activating => Some(("activate_deadline", strategy.activate_deadline)),
        Phase::Verifying => {
            let ms = rollout.plan.healthy_deadline.as_millis() + MARGIN.as_millis();
            Some(("healthy_deadline, with a minute more,", Span::from_millis(ms)))
        }
        Phase::RollingBack => Some(("put_back_deadline", strategy.put_back_deadline)),
        Phase::Pending
        | Phase::Migrating
        | Phase::Baking
        | Phase::Done
        | Phase::Failed
        | Phase::RolledBack => None,
    }
}
