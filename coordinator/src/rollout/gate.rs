//! Gates: conditions that must be open before a rollout or a wave starts.
//!
//! A gate is a function of what is known: facts come into the state as events, the verdict
//! is read off them. A further kind of gate is a further function in one of the two lists;
//! nothing that decides has to know of it.

use serde::{Deserialize, Serialize};

use fleet_proto::ids::{AppName, EnvironmentName};
use fleet_proto::release::ReleaseRef;
use fleet_proto::time::Timestamp;

use super::event::Urgency;
use super::state::{Course, Halt, Rollout, State};
use super::way_back::{self, Reach};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    Open,
    /// It will open, or a person can open it.
    Waiting {
        why: String,
        until: Option<Timestamp>,
    },
    /// Not for this one.
    Shut {
        why: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    pub name: &'static str,
    pub verdict: Verdict,
    pub since: Option<Timestamp>,
    /// The command that would open it.
    pub hint: Option<String>,
}

impl Gate {
    fn open(name: &'static str) -> Self {
        Self {
            name,
            verdict: Verdict::Open,
            since: None,
            hint: None,
        }
    }

    fn shut(name: &'static str, why: String, hint: String) -> Self {
        Self {
            verdict: Verdict::Shut { why },
            hint: Some(hint),
            ..Self::open(name)
        }
    }

    fn waiting(name: &'static str, why: String, since: Timestamp, hint: String) -> Self {
        Self {
            verdict: Verdict::Waiting { why, until: None },
            since: Some(since),
            hint: Some(hint),
            ..Self::open(name)
        }
    }

    pub fn is_open(&self) -> bool {
        self.verdict == Verdict::Open
    }
}

/// What somebody asks to begin.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub app: &'a AppName,
    pub environment: &'a EnvironmentName,
    /// None when nodes go back, each to its own.
    pub release: Option<&'a ReleaseRef>,
    /// How far back nodes go, each to its own.
    pub back_to: &'a [Reach],
    pub insistence: Insistence,
}

/// Which gates an operator has said to pass by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Insistence {
    pub urgency: Urgency,
    pub active: WithActive,
    pub known_bad: WithKnownBad,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WithActive {
    #[default]
    Refuse,
    /// End it, and take its place.
    Supersede,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WithKnownBad {
    #[default]
    Refuse,
    TryAgain,
}

type BeforeRollout = fn(&State, &Asked<'_>) -> Gate;
type BeforeWave = fn(&State, &Rollout) -> Gate;

const BEFORE_ROLLOUT: [BeforeRollout; 4] = [
    not_halted,
    one_at_a_time,
    not_known_to_be_bad,
    not_behind_a_migration,
];
/// People come first.
const BEFORE_WAVE: [BeforeWave; 2] = [not_paused, still_not_halted];

pub const PAUSE: &str = "pause";
pub const HALT: &str = "halt";

pub fn before_rollout(state: &State, asked: &Asked<'_>) -> Vec<Gate> {
    BEFORE_ROLLOUT.iter().map(|gate| gate(state, asked)).collect()
}

pub fn before_wave(state: &State, rollout: &Rollout) -> Vec<Gate> {
    BEFORE_WAVE.iter().map(|gate| gate(state, rollout)).collect()
}

/// The first of these that is not open.
pub fn shut(state: &State, rollout: &Rollout, name: &str) -> Option<Gate> {
    let mut gates = before_wave(state, rollout).into_iter();
    gates.find(|gate| gate.name == name && !gate.is_open())
}

fn not_paused(_state: &State, rollout: &Rollout) -> Gate {
    match &rollout.course {
        Course::Paused { why, since, .. } => Gate::waiting(
            PAUSE,
            why.clone(),
            *since,
            format!("fleetctl resume {}", rollout.number.0),
        ),
        Course::Running | Course::Held { .. } | Course::Ended { .. } => Gate::open(PAUSE),
    }
}

fn not_halted(state: &State, asked: &Asked<'_>) -> Gate {
    match state.halt_of(asked.environment) {
        Some(halt) if asked.insistence.urgency == Urgency::Ordinary => Gate::shut(
            HALT,
            halted(halt),
            format!(
                "{}, or --emergency --reason WHY",
                unhalt(state, asked.environment)
            ),
        ),
        _ => Gate::open(HALT),
    }
}

fn still_not_halted(state: &State, rollout: &Rollout) -> Gate {
    match state.halts(rollout) {
        Some(halt) => Gate::waiting(
            HALT,
            halted(halt),
            halt.since,
            unhalt(state, &rollout.plan.environment),
        ),
        None => Gate::open(HALT),
    }
}

fn halted(halt: &Halt) -> String {
    format!("halted by {}: {}", halt.by, halt.reason)
}

/// The command that lifts what stops this environment.
fn unhalt(state: &State, environment: &EnvironmentName) -> String {
    match state.halt {
        Some(_) => "fleetctl unhalt".to_owned(),
        None => format!("fleetctl unhalt --env {environment}"),
    }
}

fn one_at_a_time(state: &State, asked: &Asked<'_>) -> Gate {
    const NAME: &str = "one-at-a-time";
    let Asked { app, environment, .. } = asked;
    let active = state.active_rollout(app, environment);
    let Some(active) = active.filter(|_| asked.insistence.active == WithActive::Refuse) else {
        return Gate::open(NAME);
    };
    let number = active.number.0;
    Gate::shut(
        NAME,
        format!(
            "rollout {} of {app} in {environment} is {}",
            active.number,
            active.course.word()
        ),
        format!("fleetctl status {number}, fleetctl abort {number}, or --supersede to take its place"),
    )
}

fn not_known_to_be_bad(state: &State, asked: &Asked<'_>) -> Gate {
    const NAME: &str = "known-bad";
    let known = asked.release.and_then(|release| {
        let within = state.environments.get(asked.environment)?;
        let bad = within.known_bad.get(asked.app)?.get(&release.version)?;
        Some(bad).filter(|bad| bad.release == *release)
    });
    match known {
        Some(bad) if asked.insistence.known_bad == WithKnownBad::Refuse => Gate::shut(
            NAME,
            format!(
                "{} {} failed in {} before, in rollout {}: {}",
                asked.app, bad.release, asked.environment, bad.rollout, bad.why
            ),
            "--again tries it all the same".to_owned(),
        ),
        _ => Gate::open(NAME),
    }
}

/// Going back behind a migration that cannot be undone is a person's decision, be it by a
/// rollback or by a rollout of what is older.
fn not_behind_a_migration(state: &State, asked: &Asked<'_>) -> Gate {
    const NAME: &str = "migration";
    if asked.insistence.known_bad == WithKnownBad::TryAgain {
        return Gate::open(NAME);
    }
    let Asked { app, environment, .. } = asked;
    let named = asked.release.map(|release| Reach::of(state, app, release));
    let reaches = named.as_ref().map_or(asked.back_to, std::slice::from_ref);
    match way_back::is_shut(state, app, environment, reaches) {
        Some(record) => Gate::shut(NAME, way_back::why_shut(app, record), way_back::hint(record)),
        None => Gate::open(NAME),
    }
}
