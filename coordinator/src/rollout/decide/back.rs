//! Putting back: a rollback is a rollout of its own, with a parent.

use std::collections::BTreeSet;

use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::session::Phase;

use super::end;
use crate::rollout::event::{Event, Outcome, RolloutKind, RolloutStart};
use crate::rollout::plan::plan_back;
use crate::rollout::state::{Rollout, State, Step};

/// Which of a rollout's nodes go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// It failed: nobody keeps the release.
    AllThatMoved,
    /// It was aborted: waves that passed are proven and stay, what is on its way goes back.
    NotYetProven,
}

/// The rollback that was decided, and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Back {
    pub number: RolloutNumber,
    pub event: Event,
}

impl Scope {
    fn takes(self, step: &Step) -> bool {
        let may_run_it =
            step.is_issued() && !matches!(step.phase, Phase::RolledBack | Phase::Failed | Phase::Pending);
        match self {
            Self::AllThatMoved => may_run_it,
            Self::NotYetProven => may_run_it && step.phase != Phase::Done,
        }
    }
}

pub fn put_back(
    state: &State,
    rollout: &Rollout,
    scope: Scope,
    by: &str,
    reason: Option<String>,
) -> Option<Back> {
    let RolloutKind::Forward { release } = &rollout.kind else {
        return None;
    };
    let nodes: BTreeSet<NodeId> = rollout
        .steps
        .iter()
        .filter(|(_, step)| scope.takes(step))
        .map(|(id, _)| id.clone())
        .collect();
    if nodes.is_empty() {
        return None;
    }
    let plan = &rollout.plan;
    let number = state.next_rollout();
    let start = RolloutStart {
        kind: RolloutKind::Rollback {
            parent: Some(rollout.number),
            leave: Some(release.clone()),
            to: None,
        },
        plan: plan_back(&plan.app, &plan.environment, &nodes, &plan.strategy),
        by: by.to_owned(),
        reason,
        request_id: None,
    };
    Some(Back {
        number,
        event: Event::RolloutStarted {
            number,
            rollout: Box::new(start),
        },
    })
}

pub(super) fn end_rollback(rollout: &Rollout) -> Vec<Event> {
    let nodes_in = |phase: fn(Phase) -> bool| -> Vec<NodeId> {
        rollout
            .steps
            .iter()
            .filter(|(_, step)| phase(step.phase))
            .map(|(id, _)| id.clone())
            .collect()
    };
    let failed = nodes_in(|phase| phase == Phase::Failed);
    let left_behind = nodes_in(|phase| !phase.is_settled());
    let (outcome, why) = if failed.is_empty() {
        let why = (!left_behind.is_empty()).then(|| {
            format!(
                "{} cannot be reached and goes back when it returns",
                super::sentences::nodes(&left_behind)
            )
        });
        (Outcome::Succeeded, why)
    } else {
        let why = format!("{} could not be put back", super::sentences::nodes(&failed));
        (Outcome::Failed, Some(why))
    };
    end(rollout, outcome, why, None)
}
