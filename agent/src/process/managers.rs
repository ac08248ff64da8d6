//! The process managers of this node behind one face: each component is given to the one
//! that its release names, and taken back from the one that has it.

use fleet_proto::quantity::Span;
use fleet_proto::session::FailureClass;

use super::log;
use super::own_package::{self, OwnPackageError};
use super::pm2::{self, Pm2Error};
use super::run_directory::RunDirectory;
use super::spec::{How, Spec};
use super::static_files::{self, StaticError};
use super::supervise::{SuperviseError, Supervisor};
use super::systemd::{self, SystemdError};
use crate::durable::FileError;
use crate::effects::chain;

#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    #[error(transparent)]
    Pm2(#[from] Pm2Error),
    #[error(transparent)]
    Static(#[from] StaticError),
    #[error(transparent)]
    Agent(#[from] OwnPackageError),
    #[error(transparent)]
    File(#[from] FileError),
}

impl ProcessError {
    /// Only what the release itself says can be the release's fault.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Systemd(error) => error.class(),
            Self::Pm2(error) => error.class(),
            Self::Supervise(SuperviseError::Account(error)) => error.class(),
            Self::Agent(error) => error.class(),
            Self::Supervise(_) | Self::Static(_) | Self::File(_) => FailureClass::Infrastructure,
        }
    }

    pub fn is_no_room(&self) -> bool {
        match self {
            Self::Supervise(SuperviseError::File(error))
            | Self::Systemd(SystemdError::File(error))
            | Self::Pm2(Pm2Error::File(error))
            | Self::Static(StaticError::File(error))
            | Self::Agent(OwnPackageError::File(error))
            | Self::File(error) => error.is_no_room(),
            Self::Supervise(_) | Self::Systemd(_) | Self::Pm2(_) | Self::Static(_) | Self::Agent(_) => false,
        }
    }

    /// It was given up for something newer.
    pub fn is_interrupted(&self) -> bool {
        matches!(
            self,
            Self::Systemd(SystemdError::Interrupted) | Self::Agent(OwnPackageError::Interrupted)
        )
    }

    /// Nobody was reached within this time on what was started, which was left for that.
    pub fn cut_off(&self) -> Option<Span> {
        match self {
            Self::Agent(error) => error.cut_off(),
            _ => None,
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
            How::Systemd(unit) => Ok(systemd::prepare(run, spec, unit)?),
            How::Pm2(pm2) => Ok(pm2::prepare(run, spec, pm2)?),
            How::Static(link) => Ok(static_files::prepare(run, spec, link)?),
            How::Agent(agent) => Ok(own_package::prepare(run, spec, agent)?),
        }
    }

    /// Makes the spec run: adopts what was started with the like of it, replaces what was not.
    pub fn start(
        &self,
        run: &RunDirectory,
        spec: &Spec,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), ProcessError> {
        // Another manager had it, or this one has it elsewhere.
        if let Some(before) = run.spec().filter(|before| is_elsewhere(before, spec)) {
            self.stop(run)?;
            // What it leaves behind is no reason not to start.
            if let Err(error) = retire(run, &before) {
                tracing::warn!(run = %run.path().display(), error = chain(&error), "something of the former manager is left");
            }
        }
        match &spec.how {
            How::Supervise(_) => self.supervisor.start(run, spec).map(drop)?,
            How::Systemd(unit) => systemd::start(run, spec, unit, is_interrupted)?,
            How::Pm2(pm2) => pm2::start(run, spec, pm2)?,
            How::Static(link) => static_files::start(run, spec, link)?,
            How::Agent(agent) => own_package::start(run, spec, agent, is_interrupted)?,
        }
        Ok(())
    }

    /// Nothing of the component runs when this returns well. Files are served on: they do
    /// not run.
    pub fn stop(&self, run: &RunDirectory) -> Result<(), ProcessError> {
        match run.spec().map(|spec| spec.how) {
            Some(How::Systemd(unit)) => Ok(systemd::stop(run, &unit)?),
            Some(How::Pm2(pm2)) => Ok(pm2::stop(run, &pm2)?),
            // Whoever stops the agent stops it as a whole.
            Some(How::Static(_) | How::Agent(_)) => Ok(()),
            Some(How::Supervise(_)) | None => Ok(self.supervisor.stop(run)?),
        }
    }

    /// After a stop, for good: nothing on the node names the component any more.
    pub fn retire(&self, run: &RunDirectory) -> Result<(), ProcessError> {
        if let Some(spec) = run.spec() {
            retire(run, &spec)?;
            run.forget_spec()?;
        }
        Ok(())
    }
}

fn retire(run: &RunDirectory, spec: &Spec) -> Result<(), ProcessError> {
    match &spec.how {
        How::Supervise(_) | How::Pm2(_) => Ok(()),
        How::Systemd(unit) => Ok(systemd::retire(unit)?),
        How::Static(link) => Ok(static_files::retire(run, link, &spec.directory)?),
        How::Agent(agent) => Ok(own_package::retire(run, spec, agent)?),
    }
}

/// What the one leaves behind is not what the other puts in its place.
fn is_elsewhere(before: &Spec, spec: &Spec) -> bool {
    match (&before.how, &spec.how) {
        (How::Supervise(_), How::Supervise(_)) | (How::Systemd(_), How::Systemd(_)) => false,
        (How::Agent(_), How::Agent(_)) => false,
        // By another daemon, or under other names.
        (How::Pm2(before), How::Pm2(pm2)) => {
            (&before.only, &before.user, &before.home) != (&pm2.only, &pm2.user, &pm2.home)
        }
        (How::Static(before), How::Static(link)) => before.root != link.root,
        _ => true,
    }
}

/// The last lines of what the component wrote, made harmless.
pub fn log_tail(run: &RunDirectory, lines: usize) -> Vec<String> {
    match run.spec().map(|spec| spec.how) {
        Some(How::Systemd(unit)) => systemd::log_tail(&unit, lines),
        Some(How::Pm2(pm2)) => pm2::log_tail(run, &pm2, lines),
        Some(How::Static(_)) => vec![],
        Some(How::Agent(_)) => own_package::log_tail(lines),
        Some(How::Supervise(_)) | None => log::tail(&run.log(), lines),
    }
}
