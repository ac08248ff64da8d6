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

    /// Quicker than for people: a test waits for what is bad. A good release has all the
    /// time that a machine full of other tests may take.
    fn pace(self) -> Pace {
        let (healthy_deadline, response_time) = match self {
            Self::Good => ("60s", "20s"),
            Self::Sick | Self::Exits | Self::Hangs => ("5s", "2s"),
        };
        Pace {
            interval: "100ms",
            timeout: "3s",
            min_healthy: "300ms",
            healthy_deadline,
            response_time,
        }
    }
}

/// Writes the app's directory with its `fleet.toml`.
pub fn lay_out(directory: &Path, behaviour: Behaviour) -> anyhow::Result<PathBuf> {
    let sample = Sample {
        app: APP,
        settings: behaviour.settings(),
        pace: behaviour.pace(),
    };
    Ok(sample.lay_out(directory, &program("fleet-sample")?)?)
}
