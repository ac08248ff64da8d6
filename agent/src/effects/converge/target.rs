//! What is to run, and for whom.

use fleet_proto::ids::EnvironmentName;
use fleet_proto::release::ReleaseRef;

use crate::install::Work;
use crate::ledger::Installed;

/// What is to run, and with which environment's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub release: ReleaseRef,
    pub environment: Option<EnvironmentName>,
}

impl Target {
    pub fn of(work: &Work) -> Option<Self> {
        Some(Self {
            release: work.run.clone()?,
            environment: work.run_in.clone(),
        })
    }
}

impl From<&Installed> for Target {
    fn from(installed: &Installed) -> Self {
        Self {
            release: installed.release.clone(),
            environment: installed.environment.clone(),
        }
    }
}
