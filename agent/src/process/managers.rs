//! The process managers of this node behind one face: each component is given to the one
//! that its release names, and taken back from the one that has it.

use fleet_proto::session::FailureClass;

use super::log;
use super::run_directory::RunDirectory;
use super::spec::{How, Spec};
use super::supervise::{SuperviseError, Supervisor};

#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
}

impl ProcessError {
    /// Only what the release itself says can be the release's fault.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Supervise(_) => FailureClass::Infrastructure,
        }
    }

    pub fn is_no_room(&self) -> bool {
        match self {
            Self::Supervise(SuperviseError::File(error)) => error.is_no_room(),
            Self::Supervise(_) => false,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Managers {
    pub supervisor: Supervisor,
}

impl Managers {
    pub fn of_this_node() -> Self {
        Self {
            supervisor: Supervisor::this_program(),
        }
    }

    /// All that needs room on the disk, while what runs goes on.
    pub fn prepare(&self, run: &RunDirectory, spec: &Spec) -> Result<(), ProcessError> {
        match &spec.how {
            How::Supervise(_) => Ok(self.supervisor.prepare(run, spec)?),
        }
    }

    /// Makes the spec run: adopts what was started with the like of it, replaces what was not.
    pub fn start(&self, run: &RunDirectory, spec: &Spec) -> Result<(), ProcessError> {
        match &spec.how {
            How::Supervise(_) => self.supervisor.start(run, spec).map(drop)?,
        }
        Ok(())
    }

    /// Nothing of the component runs when this returns well.
    pub fn stop(&self, run: &RunDirectory) -> Result<(), ProcessError> {
        Ok(self.supervisor.stop(run)?)
    }
}

/// The last lines of what the component wrote, made harmless.
pub fn log_tail(run: &RunDirectory, lines: usize) -> Vec<String> {
    log::tail(&run.log(), lines)
}
