//! How a command ended.

use fleet_proto::quantity::Span;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    Exited(i32),
    Killed(i32),
    TimedOut,
    /// Nothing was run.
    NotStarted(String),
}

impl End {
    pub fn is_good(&self) -> bool {
        *self == Self::Exited(0)
    }

    /// Continues the name of what was run, with its time limit.
    pub fn in_words(&self, limit: Span) -> String {
        match self {
            Self::Exited(code) => format!("exited with code {code}"),
            Self::Killed(signal) => match Signal::try_from(*signal) {
                Ok(signal) => format!("was killed by {signal}"),
                Err(_) => format!("was killed by signal {signal}"),
            },
            Self::TimedOut => format!("did not end within {limit} and was ended"),
            Self::NotStarted(why) => format!("was not run: {why}"),
        }
    }
}
