//! Why it is not moving, in words: the same ones on every surface.

use fleet_proto::ids::NodeId;
use fleet_proto::quantity::Span;
use fleet_proto::session::Failure;

use super::Waiting;
use crate::rollout::availability::{Availability, Rule};
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
    let limit = format!("{} lost (max_unreachable {allowed})", count(lost));
    if let Some((node, failure)) = first_failure(rollout, lost) {
        return format!("{limit}; {node}: {}", failure.message);
    }
    let (revoked, away): (Vec<NodeId>, Vec<NodeId>) = lost
        .iter()
        .cloned()
        .partition(|id| state.nodes.get(id).is_some_and(Node::is_revoked));
    let mut why = vec![limit];
    if !revoked.is_empty() {
        let were = if revoked.len() == 1 { "was" } else { "were" };
        why.push(format!("{} {were} revoked", nodes(&revoked)));
    }
    if !away.is_empty() {
        why.push(format!("{} cannot be reached", nodes(&away)));
    }
    why.join("; ")
}

pub(super) fn no_progress(rollout: &Rollout, progress: &Progress, deadline: Span) -> String {
    let phases: Vec<String> = progress
        .unverified
        .iter()
        .take(NAMED)
        .filter_map(|id| Some(format!("{id} is {}", rollout.steps.get(id)?.phase)))
        .collect();
    let stands = match phases.as_slice() {
        [] => format!(
            "{} could not be told, for as many as may be down are",
            nodes(&progress.wave.ready)
        ),
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

pub(super) fn unavailable(availability: &Availability, kept_back: usize, rollout: &Rollout) -> Waiting {
    let down: Vec<NodeId> = availability.unavailable.iter().cloned().collect();
    let waits = if kept_back == 1 {
        "1 node waits"
    } else {
        &format!("{kept_back} nodes wait")
    };
    let are = if down.len() == 1 { "is" } else { "are" };
    Waiting {
        hint: Some(format!("fleetctl status {}", rollout.number.0)),
        ..Waiting::new(format!(
            "{waits}: {} of {} nodes {are} unavailable ({}), {} is {}",
            down.len(),
            availability.total,
            nodes(&down),
            availability.rule,
            match availability.rule {
                Rule::MaxUnavailable => availability.limit,
                Rule::MinAvailable(least) => least,
            }
        ))
    }
}
