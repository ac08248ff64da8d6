//! Gates: conditions that must be open before a rollout or a wave starts.

use serde::{Deserialize, Serialize};

use fleet_proto::ids::{AppName, EnvironmentName};
use fleet_proto::time::Timestamp;

use super::plan::Plan;
use super::state::{Course, Rollout, State};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    Open,
    Waiting { why: String, until: Option<Timestamp> },
    Shut { why: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    pub name: &'static str,
    pub verdict: Verdict,
    pub hint: Option<String>,
}

impl Gate {
    fn open(name: &'static str) -> Self {
        Self {
            name,
            verdict: Verdict::Open,
            hint: None,
        }
    }

    pub fn is_open(&self) -> bool {
        self.verdict == Verdict::Open
    }
}

/// Before a rollout starts.
pub fn before_rollout(state: &State, plan: &Plan) -> Vec<Gate> {
    vec![one_at_a_time(state, &plan.app, &plan.environment)]
}

/// Before each of its waves.
pub fn before_wave(rollout: &Rollout) -> Vec<Gate> {
    vec![not_paused(rollout)]
}

fn one_at_a_time(state: &State, app: &AppName, environment: &EnvironmentName) -> Gate {
    const NAME: &str = "one-at-a-time";
    let Some(active) = state.active_rollout(app, environment) else {
        return Gate::open(NAME);
    };
    let number = active.number.0;
    Gate {
        name: NAME,
        verdict: Verdict::Shut {
            why: format!(
                "rollout {} of {app} in {environment} is {}",
                active.number,
                active.course.word()
            ),
        },
        hint: Some(format!("fleetctl status {number}, or fleetctl abort {number}")),
    }
}

fn not_paused(rollout: &Rollout) -> Gate {
    const NAME: &str = "pause";
    match &rollout.course {
        Course::Paused { why, .. } => Gate {
            name: NAME,
            verdict: Verdict::Waiting {
                why: why.clone(),
                until: None,
            },
            hint: Some(format!("fleetctl resume {}", rollout.number.0)),
        },
        _ => Gate::open(NAME),
    }
}
