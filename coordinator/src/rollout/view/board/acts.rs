//! What may be done with a rollout now, and what would come of it: each act is tried on a
//! state that nothing is applied to, so that a button says what its press will.

use fleet_proto::ids::OperatorName;
use fleet_proto::time::Timestamp;
use fleet_proto::view::board::{ActBoard, ActsBoard};

use crate::rollout::event::Event;
use crate::rollout::gate::WithKnownBad;
use crate::rollout::input::{Author, Refusal, RefusalKind, Request, Retry, RollBack};
use crate::rollout::requests;
use crate::rollout::state::{Course, Rollout, State};

pub fn acts(state: &State, rollout: &Rollout, operator: Option<&OperatorName>, now: Timestamp) -> ActsBoard {
    let number = rollout.number;
    let is_held = matches!(rollout.course, Course::Held { .. });
    let waves = is_held.then(|| "100".parse().ok()).flatten();
    let how_far = if is_held { " --waves 100" } else { "" };
    let tried = |act, request: Request, how: &str| {
        let answer = match operator {
            Some(operator) => {
                let author = Author::Operator(operator.clone());
                requests::answer(state, &author, &request, now).map(|(events, _)| events)
            }
            None => Err(nobody()),
        };
        ActBoard {
            act,
            allowed: answer.is_ok(),
            consequence: consequence(act, rollout, answer.as_deref().unwrap_or_default()),
            why_not: answer.err().map(|refused| refused.message),
            command: format!("fleetctl {act} {}{how}", number.0),
        }
    };
    let back = RollBack {
        number: Some(number),
        ..RollBack::default()
    };
    let retry = Retry {
        number,
        known_bad: WithKnownBad::Refuse,
        reason: None,
    };
    ActsBoard {
        acts: vec![
            tried("pause", Request::Pause { number, reason: None }, ""),
            tried("resume", Request::Resume { number, waves }, how_far),
            tried("abort", Request::Abort { number, reason: None }, ""),
            tried("retry", Request::Retry(retry), ""),
            tried("rollback", Request::RollBack(back), ""),
        ],
    }
}

fn nobody() -> Refusal {
    Refusal::new(RefusalKind::NotAllowed, "log in to act")
}

/// What follows if nothing else happens meanwhile.
fn consequence(act: &str, rollout: &Rollout, events: &[Event]) -> String {
    let started = events.iter().find_map(|event| match event {
        Event::RolloutStarted { number, rollout } => Some((*number, rollout.plan.nodes())),
        _ => None,
    });
    let ends = events
        .iter()
        .any(|event| matches!(event, Event::RolloutEnded { .. }));
    let this = rollout.number;
    match (act, started) {
        ("pause", _) => format!(
            "{} on their way finish their step. Nobody else begins until somebody resumes {this}.",
            nodes(in_flight(rollout))
        ),
        ("resume", _) => format!("{this} goes on: {} are still to come.", nodes(to_come(rollout))),
        ("abort", Some((back, count))) => {
            format!("{this} ends here, for good. {back} puts {} back.", nodes(count))
        }
        ("abort", None) => format!("{this} ends here, for good. Nobody has to be put back."),
        ("retry", Some((again, count))) => {
            format!("{again} brings the release to {} once more.", nodes(count))
        }
        ("retry", None) => format!("{} are tried again.", nodes(tried_again(events))),
        ("rollback", Some((back, count))) => format!(
            "{}{back} takes {} back, each to its own last good release.",
            if ends {
                format!("{this} ends here. ")
            } else {
                String::new()
            },
            nodes(count)
        ),
        _ => "Nothing moves.".to_owned(),
    }
}

fn nodes(count: usize) -> String {
    match count {
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    }
}

fn in_flight(rollout: &Rollout) -> usize {
    let steps = rollout.steps.values();
    steps
        .filter(|step| step.is_in_flight() && !step.is_good())
        .count()
}

fn to_come(rollout: &Rollout) -> usize {
    let steps = rollout.steps.values();
    let open = steps.filter(|step| !step.phase.is_settled()).count();
    open + rollout.held_back.len()
}

fn tried_again(events: &[Event]) -> usize {
    let nodes = events.iter().map(|event| match event {
        Event::RolloutRetried { nodes, .. } => nodes.len(),
        _ => 0,
    });
    nodes.sum()
}
