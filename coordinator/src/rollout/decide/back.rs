//! Putting back: a rollback is a rollout of its own, with a parent.

use std::collections::BTreeSet;

use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Health, Phase};

use super::migrate::has_something_to_undo;
use super::{end, end_by, sentences};
use crate::rollout::event::{Event, Outcome, RolloutKind, RolloutStart, Urgency};
use crate::rollout::node::Node;
use crate::rollout::plan::plan_back;
use crate::rollout::state::{MigrationRecord, Rollout, State, Step};
use crate::rollout::way_back::{self, is_shut_for};

/// Which of a rollout's nodes go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// It failed: nobody keeps the release.
    AllThatMoved,
    /// It was aborted: waves that passed are proven and stay, what is on its way goes back.
    NotYetProven,
    /// It was aborted, and there is no way back: who still runs what it ran is told to stay
    /// with it.
    NotYetSwitched,
}

/// The rollback that was decided, and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Back {
    pub number: RolloutNumber,
    pub event: Event,
}

impl Scope {
    pub fn takes(self, step: &Step) -> bool {
        // What a newer rollout has taken over is none of this one's business any more.
        let may_run_it = step.is_issued()
            && !step.taken_over
            && !matches!(step.phase, Phase::RolledBack | Phase::Failed | Phase::Pending);
        match self {
            Self::AllThatMoved => may_run_it,
            Self::NotYetProven => may_run_it && step.phase != Phase::Done,
            Self::NotYetSwitched => may_run_it && matches!(step.phase, Phase::Fetching | Phase::Staged),
        }
    }
}

fn nodes_of(state: &State, rollout: &Rollout, scope: Scope) -> BTreeSet<NodeId> {
    // Out of reach it may have switched long since.
    let is_known = |id| scope != Scope::NotYetSwitched || state.nodes.get(id).is_some_and(Node::is_connected);
    rollout
        .steps
        .iter()
        .filter(|(id, step)| scope.takes(step) && is_known(id))
        .map(|(id, _)| id.clone())
        .collect()
}

/// The migration behind which these nodes do not go unasked.
fn stands_in_the_way<'a>(state: &'a State, rollout: &Rollout, scope: Scope) -> Option<&'a MigrationRecord> {
    is_shut_for(state, rollout, &nodes_of(state, rollout, scope))
}

/// The migration behind which nothing is rolled back by itself; also where everybody who was
/// told went back alone: what becomes of the rest is a person's decision.
pub(super) fn is_frozen<'a>(state: &'a State, rollout: &Rollout) -> Option<&'a MigrationRecord> {
    let told = rollout.steps.iter().filter(|(_, step)| step.is_issued());
    is_shut_for(state, rollout, &told.map(|(id, _)| id.clone()).collect())
}

/// An abort takes back what is not proven; behind a migration that cannot be undone it
/// leaves nodes where they are, and says so.
pub fn abort(state: &State, rollout: &Rollout, by: &str, why: String) -> Vec<Event> {
    let record = stands_in_the_way(state, rollout, Scope::NotYetProven).filter(|_| rollout.is_forward());
    let Some(record) = record else {
        let back = put_back(state, rollout, Scope::NotYetProven, by, Some(why.clone()));
        return end_by(rollout, Some(by), Outcome::Aborted, Some(why), back);
    };
    let back = nodes_of(state, rollout, Scope::NotYetSwitched);
    let mut stay = nodes_of(state, rollout, Scope::NotYetProven);
    stay.retain(|id| !back.contains(id));
    let back = put_back(state, rollout, Scope::NotYetSwitched, by, Some(why.clone()));
    let why = match stay.len() {
        0 => why,
        len => format!(
            "{why}; {} {} where {}: {} (fleetctl rollback {} --again goes back all the same)",
            sentences::nodes(&stay.into_iter().collect::<Vec<_>>()),
            if len == 1 { "stays" } else { "stay" },
            if len == 1 { "it is" } else { "they are" },
            way_back::why_shut(&rollout.plan.app, record),
            rollout.number.0,
        ),
    };
    end_by(rollout, Some(by), Outcome::Aborted, Some(why), back)
}

pub fn put_back(
    state: &State,
    rollout: &Rollout,
    scope: Scope,
    by: &str,
    reason: Option<String>,
) -> Option<Back> {
    let release = rollout.release().filter(|_| rollout.is_forward())?;
    let nodes = nodes_of(state, rollout, scope);
    if nodes.is_empty() && !has_something_to_undo(state, rollout) {
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
        urgency: Urgency::Ordinary,
        selected: false,
    };
    Some(Back {
        number,
        event: Event::RolloutStarted {
            number,
            rollout: Box::new(start),
        },
    })
}

/// It succeeded if every node that can be asked serves again as it did before.
pub(super) fn end_rollback(state: &State, rollout: &Rollout) -> Vec<Event> {
    let not_back: Vec<String> = rollout
        .steps
        .iter()
        .filter(|(_, step)| step.phase.is_settled())
        .filter_map(|(id, step)| Some(format!("{id} {}", why_not_back(state, rollout, id, step)?)))
        .collect();
    let (outcome, why) = match not_back.as_slice() {
        [] => (Outcome::Succeeded, remarks(state, rollout)),
        [only] => (Outcome::Failed, Some(only.clone())),
        [first, ..] => {
            let why = format!("{} nodes are not back where they were; {first}", not_back.len());
            (Outcome::Failed, Some(why))
        }
    };
    end(rollout, outcome, why, None)
}

/// What a rollback that succeeded leaves to be known.
fn remarks(state: &State, rollout: &Rollout) -> Option<String> {
    let (mut revoked, mut elsewhere, mut away, mut empty) = (vec![], vec![], vec![], vec![]);
    let mut expired = vec![];
    for (id, step) in &rollout.steps {
        let Some(node) = state.nodes.get(id) else { continue };
        if node.has_expired() {
            expired.push(id.clone());
        } else if node.is_revoked() {
            revoked.push(id.clone());
        } else if step.skipped {
            elsewhere.push(id.clone());
        } else if !step.phase.is_settled() {
            away.push(id.clone());
        } else if !node.serves(&rollout.plan.app) {
            empty.push(id.clone());
        }
    }
    let remarks: Vec<String> = [
        (
            revoked,
            [
                "was revoked and stays as it is",
                "were revoked and stay as they are",
            ],
        ),
        (expired, ["has expired", "have expired"]),
        (
            elsewhere,
            [
                "was told otherwise by a newer rollout",
                "were told otherwise by a newer rollout",
            ],
        ),
        (
            away,
            [
                "cannot be reached and goes back when it returns",
                "cannot be reached and go back when they return",
            ],
        ),
        (empty, ["runs nothing, as before", "run nothing, as before"]),
    ]
    .into_iter()
    .filter(|(nodes, _)| !nodes.is_empty())
    .map(|(nodes, says)| {
        format!(
            "{} {}",
            sentences::nodes(&nodes),
            says[usize::from(nodes.len() > 1)]
        )
    })
    .chain(super::migrate::stays(state, rollout))
    .collect();
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

fn why_not_back(state: &State, rollout: &Rollout, id: &NodeId, step: &Step) -> Option<String> {
    if step.phase == Phase::Failed {
        let why = step
            .failure
            .as_ref()
            .map_or("", |failure| failure.message.as_str());
        return Some(format!("could not be put back: {why}"));
    }
    let node = state.nodes.get(id).filter(|node| node.is_connected())?;
    let app = node.app(&rollout.plan.app);
    let wanted = rollout.release();
    match app.and_then(|app| Some((app.current.as_ref()?, &app.health))) {
        Some((release, Health::Unhealthy { why })) if !node.service.drained => {
            Some(format!("runs {release} again and is not healthy: {why}"))
        }
        Some((release, _)) if wanted.is_some_and(|wanted| wanted != release) => {
            Some(format!("runs {release} and was to run another"))
        }
        Some(_) => None,
        None => served_before(state, rollout, id)
            .map(|before| format!("ran {before} before, and runs nothing now")),
    }
}

/// What the node ran before the rollout that is undone here.
fn served_before(state: &State, rollout: &Rollout, id: &NodeId) -> Option<ReleaseRef> {
    let undone = match rollout.kind {
        RolloutKind::Rollback {
            parent: Some(parent), ..
        } => state.rollouts.get(&parent).unwrap_or(rollout),
        _ => rollout,
    };
    undone.steps.get(id)?.from.clone()
}
