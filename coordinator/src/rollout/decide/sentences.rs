//! Why it is not moving, in words: the same ones on every surface.

use fleet_proto::ids::NodeId;
use fleet_proto::quantity::Span;
use fleet_proto::session::Failure;

use super::{Waiting, back, budgets, migrate};
use crate::rollout::availability::{Availability, Rule};
use crate::rollout::event::PauseCause;
use crate::rollout::node::Node;
use crate::rollout::progress::Progress;
use crate::rollout::state::{MigrationRecord, Rollout, State};

/// So many names are read; more are counted.
const NAMED: usize = 5;

pub(super) fn nodes(ids: &[NodeId]) -> String {
    let shown = ids
        .iter()
        .take(NAMED)
        .map(NodeId::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match ids.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn count(ids: &[NodeId]) -> String {
    match ids.len() {
        1 => "1 node".to_owned(),
        more => format!("{more} nodes"),
    }
}

pub(super) fn failures(rollout: &Rollout, failed: &[NodeId], allowed: usize) -> String {
    let limit = format!("{} failed (max_failures {allowed})", count(failed));
    // Within the budget it is another rule that stops it.
    let limit = if failed.len() > allowed {
        limit
    } else {
        format!("no node of wave {} got good; {limit}", rollout.wave + 1)
    };
    match first_failure(rollout, failed) {
        Some((node, failure)) => format!("{limit}; {node}: {}", failure.message),
        None => limit,
    }
}

fn first_failure<'a>(rollout: &'a Rollout, failed: &'a [NodeId]) -> Option<(&'a NodeId, &'a Failure)> {
    failed.iter().find_map(|id| {
        let failure = rollout.steps.get(id)?.failure.as_ref()?;
        Some((id, failure))
    })
}

pub(super) fn lost(state: &State, rollout: &Rollout, lost: &[NodeId], allowed: usize) -> String {
    let mut why = vec![format!("{} lost (max_unreachable {allowed})", count(lost))];
    why.extend(how_lost(state, rollout, lost));
    why.join("; ")
}

/// A wave is over, within all budgets, and has proven nothing.
pub(super) fn nobody_good(state: &State, rollout: &Rollout, progress: &Progress) -> String {
    let mut why = vec![format!("no node of wave {} got good", rollout.wave + 1)];
    let (alone, elsewhere): (Vec<NodeId>, Vec<NodeId>) = progress
        .wave
        .skipped
        .iter()
        .cloned()
        .partition(|id| state.nodes.get(id).is_some_and(|node| node.cordon.is_some()));
    if !alone.is_empty() {
        let are = if alone.len() == 1 { "is" } else { "are" };
        why.push(format!("{} {are} cordoned", nodes(&alone)));
    }
    if !elsewhere.is_empty() {
        let environment = &rollout.plan.environment;
        let are = if elsewhere.len() == 1 { "is" } else { "are" };
        why.push(format!("{} {are} no longer in {environment}", nodes(&elsewhere)));
    }
    why.extend(how_lost(state, rollout, &progress.lost));
    why.join("; ")
}

fn how_lost(state: &State, rollout: &Rollout, lost: &[NodeId]) -> Vec<String> {
    if let Some((node, failure)) = first_failure(rollout, lost) {
        return vec![format!("{node}: {}", failure.message)];
    }
    let (revoked, away): (Vec<NodeId>, Vec<NodeId>) = lost
        .iter()
        .cloned()
        .partition(|id| state.nodes.get(id).is_some_and(Node::is_revoked));
    let mut why = vec![];
    if !revoked.is_empty() {
        let were = if revoked.len() == 1 { "was" } else { "were" };
        why.push(format!("{} {were} revoked", nodes(&revoked)));
    }
    if !away.is_empty() {
        why.push(format!("{} could not be reached", nodes(&away)));
    }
    why
}

pub(super) fn no_progress(state: &State, rollout: &Rollout, progress: &Progress, deadline: Span) -> String {
    let phases: Vec<String> = progress
        .unverified
        .iter()
        .take(NAMED)
        .filter_map(|id| Some(format!("{id} is {}", rollout.steps.get(id)?.phase)))
        .collect();
    let stands = match phases.as_slice() {
        [] if progress.wave.ready.is_empty() => format!(
            "{} did not confirm the end of the bake",
            nodes(&progress.wave.committing)
        ),
        [] => {
            let availability = Availability::of(state, rollout);
            let ready = nodes(&progress.wave.ready);
            format!("{ready} could not be told: {}", limit_of(&availability))
        }
        phases => phases.join(", "),
    };
    format!("no node got good within progress_deadline {deadline}; {stands}")
}

/// Where a person is asked about a migration, or one cannot begin.
pub(super) fn way_out_of_a_migration(rollout: &Rollout, in_doubt: Option<&MigrationRecord>) -> String {
    let number = rollout.number.0;
    let go_on = format!("fleetctl resume {number} tries again; fleetctl abort {number} gives up");
    match in_doubt {
        Some(record) => format!(
            "fleetctl migration {number} done, or fleetctl migration {number} not-done, says whether the migration of {} ({}) was done; {go_on}",
            record.release, record.act
        ),
        None => go_on,
    }
}

pub(super) fn moving(rollout: &Rollout, progress: &Progress) -> Waiting {
    let parts: Vec<String> = progress
        .wave
        .moving
        .iter()
        .map(|(phase, ids)| format!("{} {phase}", nodes(ids)))
        .collect();
    Waiting {
        since: progress.longest.values().min().copied(),
        ..Waiting::new(format!("wave {}: {}", rollout.wave + 1, parts.join("; ")))
    }
}

pub(super) fn retrying(rollout: &Rollout, ids: &[NodeId]) -> Waiting {
    let steps = ids.iter().filter_map(|id| rollout.steps.get(id));
    let until = steps.filter_map(|step| step.retry_at).min();
    let why = first_failure(rollout, ids).map_or("", |(_, failure)| failure.message.as_str());
    let since = ids
        .iter()
        .filter_map(|id| Some(rollout.steps.get(id)?.since))
        .min();
    let are = if ids.len() == 1 { "is" } else { "are" };
    Waiting {
        since,
        until,
        hint: Some(format!(
            "fleetctl retry {} does not wait for that",
            rollout.number.0
        )),
        ..Waiting::new(format!("{} {are} tried again: {why}", nodes(ids)))
    }
}

pub(super) fn unclear(ids: &[NodeId]) -> Waiting {
    let runs = if ids.len() == 1 { "it runs" } else { "they run" };
    Waiting {
        hint: ids.first().map(|id| format!("fleetctl node show {id}")),
        ..Waiting::new(format!(
            "{} to say whether what {runs} again is healthy",
            nodes(ids)
        ))
    }
}

pub(super) fn absent(ids: &[NodeId]) -> Waiting {
    Waiting {
        hint: ids.first().map(|id| format!("fleetctl node show {id}")),
        ..Waiting::new(format!("{} to connect", nodes(ids)))
    }
}

pub(super) fn in_turn(kept_back: usize, in_flight: usize, gone: usize, limit: usize) -> Waiting {
    let waits = if kept_back == 1 {
        "1 node waits its turn"
    } else {
        &format!("{kept_back} nodes wait their turn")
    };
    let gone = match gone {
        0 => String::new(),
        gone => format!(", {gone} of them out of reach"),
    };
    Waiting::new(format!(
        "{waits}: {} in flight{gone}, the limit is {limit}",
        if in_flight == 1 {
            "1 is".to_owned()
        } else {
            format!("{in_flight} are")
        }
    ))
}

pub(super) fn unavailable(
    state: &State,
    availability: &Availability,
    kept_back: usize,
    rollout: &Rollout,
) -> Waiting {
    let waits = if kept_back == 1 {
        "1 node waits"
    } else {
        &format!("{kept_back} nodes wait")
    };
    Waiting {
        hint: Some(what_would_help(state, availability, rollout)),
        ..Waiting::new(format!("{waits}: {}", limit_of(availability)))
    }
}

/// The commands that would end a pause, one way or the other.
pub(super) fn way_out_of_a_pause(state: &State, rollout: &Rollout, cause: PauseCause) -> String {
    let number = rollout.number.0;
    match cause {
        PauseCause::Operator => format!("fleetctl resume {number}"),
        PauseCause::NobodyGood if !budgets::can_be_accepted(rollout) => format!("fleetctl abort {number}"),
        PauseCause::Migration => way_out_of_a_migration(rollout, migrate::in_doubt(state, rollout)),
        PauseCause::Failures if back::is_frozen(state, rollout).is_some() => format!(
            "fleetctl resume {number} to go on, fleetctl abort {number} to stop and leave nodes where they are, fleetctl rollback {number} --again to go back all the same"
        ),
        _ => format!("fleetctl resume {number} to go on, fleetctl abort {number} to give up"),
    }
}

/// How many are down, which, and how many may be.
fn limit_of(availability: &Availability) -> String {
    let down: Vec<NodeId> = availability.unavailable.iter().cloned().collect();
    let are = if down.len() == 1 { "is" } else { "are" };
    let which = if down.is_empty() {
        String::new()
    } else {
        format!(" ({})", nodes(&down))
    };
    format!(
        "{} of {} nodes {are} unavailable{which}, {} is {}",
        down.len(),
        availability.total,
        availability.rule,
        match availability.rule {
            Rule::MaxUnavailable => availability.limit,
            Rule::MinAvailable(least) => least,
        }
    )
}

/// The first node that a person can do something about.
fn what_would_help(state: &State, availability: &Availability, rollout: &Rollout) -> String {
    let number = rollout.number.0;
    let down = availability.unavailable.iter();
    let down = down.filter_map(|id| Some((id, state.nodes.get(id)?)));
    let by_people = down.filter_map(|(id, node)| {
        if node.service.drained {
            Some(format!("fleetctl node undrain {id}"))
        } else if node.is_unreachable() {
            Some(format!(
                "bring {id} back, or give it up: fleetctl node revoke {id}"
            ))
        } else if rollout.steps.get(id).is_none_or(|step| !step.is_in_flight()) {
            Some(format!("fleetctl node show {id} says how it is"))
        } else {
            None
        }
    });
    let mut by_people = by_people;
    by_people.next().unwrap_or_else(|| match availability.limit {
        0 => format!("fleetctl abort {number}, and begin anew with another limit"),
        _ => format!("fleetctl status {number}"),
    })
}
