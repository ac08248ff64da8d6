//! What keeps a rollout from going on, as one word, and since when.

use fleet_proto::time::Timestamp;

use crate::rollout::event::PauseCause;
use crate::rollout::gate;
use crate::rollout::state::{Course, Rollout, State};

const HELD: &str = "held";
/// It runs, and nobody has got good since.
const NODES: &str = "nodes";

pub const WAITS: [&str; 9] = [
    "operator",
    "failures",
    "unreachable",
    "progress-deadline",
    "nobody-good",
    "migration",
    gate::HALT,
    HELD,
    NODES,
];

/// None while it bakes, which takes the time that it was given, and once it has ended.
pub(super) fn wait(state: &State, rollout: &Rollout) -> Option<(&'static str, Timestamp)> {
    match &rollout.course {
        Course::Paused { cause, since, .. } => Some((cause_word(*cause), *since)),
        Course::Held { since } => Some((HELD, *since)),
        Course::Ended { .. } => None,
        Course::Running => running(state, rollout),
    }
}

fn running(state: &State, rollout: &Rollout) -> Option<(&'static str, Timestamp)> {
    let shut = gate::before_wave(state, rollout)
        .into_iter()
        .find(|gate| !gate.is_open());
    if let Some(gate) = shut {
        return Some((gate.name, gate.since.unwrap_or(rollout.started_at)));
    }
    let bakes = rollout
        .waves
        .get(rollout.wave)
        .and_then(|wave| wave.bake_until)
        .is_some();
    (!bakes).then(|| (NODES, rollout.progress_at.max(rollout.clock_from)))
}

fn cause_word(cause: PauseCause) -> &'static str {
    match cause {
        PauseCause::Operator => "operator",
        PauseCause::Failures => "failures",
        PauseCause::Unreachable => "unreachable",
        PauseCause::ProgressDeadline => "progress-deadline",
        PauseCause::NobodyGood => "nobody-good",
        PauseCause::Migration => "migration",
    }
}
