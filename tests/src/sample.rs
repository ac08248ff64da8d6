//! Releases for tests: the sample app in all the ways in which it can be good or bad.

use std::path::{Path, PathBuf};

use fleetctl::dev::sample::{Pace, Sample};

use crate::fleet::APP;
use crate::process::program;

/// How a release turns out on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Good,
    /// Starts, and its health check fails.
    Sick,
    /// Ends at once.
    Exits,
    /// Runs, and never listens.
    Hangs,
}

impl Behaviour {
    fn settings(self) -> &'static str {
        match self {
            Self::Good => "health = \"healthy\"\n",
            Self::Sick => "health = \"sick\"\n",
            Self::Exits => "start = \"exit\"\n",
            Self::Hangs => "start = \"hang\"\n",
        }
    }
}

/// Quicker than for people: a test waits.
const WAITED_FOR: Pace = Pace {
    interval: "100ms",
    min_healthy: "300ms",
    healthy_deadline: "5s",
};

/// Writes the app's directory with its `fleet.toml`.
pub fn lay_out(directory: &Path, behaviour: Behaviour) -> anyhow::Result<PathBuf> {
    let sample = Sample {
        app: APP,
        settings: behaviour.settings(),
        pace: WAITED_FOR,
    };
    Ok(sample.lay_out(directory, &program("fleet-sample")?)?)
}
