//! Stopping everything, and letting it go on.

use fleet_proto::ids::EnvironmentName;

use super::Answer;
use crate::rollout::event::Event;
use crate::rollout::input::{Refusal, RefusalKind, Reply};
use crate::rollout::plan::find_environment;
use crate::rollout::state::{Halt, State};

pub(super) fn halt(
    state: &State,
    by: &str,
    environment: Option<&EnvironmentName>,
    reason: Option<&str>,
) -> Answer {
    let stands = halt_at(state, environment)?;
    if let Some(halt) = stands.filter(|halt| !is_passed_by(state, environment, halt)) {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!(
                "{} was halted by {} already: {}",
                whole(environment),
                halt.by,
                halt.reason
            ),
        )
        .hint(unhalt_command(environment)));
    }
    let event = Event::Halted {
        environment: environment.cloned(),
        by: by.to_owned(),
        reason: reason.unwrap_or("no reason was given").to_owned(),
    };
    Ok((vec![event], Reply::Done))
}

pub(super) fn unhalt(state: &State, by: &str, environment: Option<&EnvironmentName>) -> Answer {
    if halt_at(state, environment)?.is_none() {
        let refusal = Refusal::new(
            RefusalKind::Refused,
            format!("{} is not halted", whole(environment)),
        );
        return Err(match halted_elsewhere(state, environment) {
            Some(hint) => refusal.hint(hint),
            None => refusal,
        });
    }
    let event = Event::Unhalted {
        environment: environment.cloned(),
        by: by.to_owned(),
    };
    Ok((vec![event], Reply::Done))
}

fn halt_at<'a>(state: &'a State, environment: Option<&EnvironmentName>) -> Result<Option<&'a Halt>, Refusal> {
    Ok(match environment {
        None => state.halt.as_ref(),
        Some(name) => find_environment(state, Some(name))?.1.halt.as_ref(),
    })
}

/// By an emergency, which is stopped by a halt of its own.
fn is_passed_by(state: &State, environment: Option<&EnvironmentName>, halt: &Halt) -> bool {
    let active = state
        .active
        .iter()
        .filter_map(|number| state.rollouts.get(number));
    active
        .filter(|rollout| environment.is_none_or(|name| rollout.plan.environment == *name))
        .any(|rollout| !halt.stops(rollout))
}

fn halted_elsewhere(state: &State, asked: Option<&EnvironmentName>) -> Option<String> {
    if asked.is_some() && state.halt.is_some() {
        return Some("the whole fleet is: fleetctl unhalt".to_owned());
    }
    let (name, _) = state
        .environments
        .iter()
        .find(|(_, within)| within.halt.is_some())?;
    Some(format!("fleetctl unhalt --env {name}"))
}

fn whole(environment: Option<&EnvironmentName>) -> String {
    environment.map_or_else(|| "the fleet".to_owned(), |name| format!("environment {name}"))
}

fn unhalt_command(environment: Option<&EnvironmentName>) -> String {
    environment.map_or_else(
        || "fleetctl unhalt".to_owned(),
        |name| format!("fleetctl unhalt --env {name}"),
    )
}
