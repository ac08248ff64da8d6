//! The agent's side of a keeper: start it, adopt it, stop it, and prove that it stopped.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fleet_proto::quantity::Span;
use nix::sys::signal::Signal;

use super::account::AccountError;
use super::proc::{self, ProcessId};
use super::run_directory::{KeeperState, RUN_VARIABLE, RunDirectory};
use super::spec::{How, Spec};
use crate::durable::FileError;

/// A keeper needs milliseconds; a machine that is short of them gets some more.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// Beyond the app's own grace.
const STOP_DEADLINE: Duration = Duration::from_secs(15);
const GRACE_UNKNOWN: Span = Span::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("cannot start a keeper for {}", .directory.display())]
    Spawn {
        directory: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the keeper for {} did not say within {}s that it runs", .directory.display(), START_DEADLINE.as_secs())]
    Silent { directory: PathBuf },
    #[error("processes of {} still run after they were killed: {left:?}", .directory.display())]
    StillRuns { directory: PathBuf, left: Vec<i32> },
}

/// How a component's process is, for whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Running {
    No,
    Yes(KeeperState),
}

/// Who supervises, with which program.
#[derive(Debug, Clone)]
pub struct Supervisor {
    /// `fleet-agent` itself, which has the keeper in it.
    program: PathBuf,
}

impl Supervisor {
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
        }
    }

    /// This very program, even when its file has been replaced meanwhile.
    pub fn this_program() -> Self {
        Self::new("/proc/self/exe")
    }

    /// All that needs room on the disk or a right that may be missing, while what runs
    /// goes on.
    pub fn prepare(&self, run: &RunDirectory, spec: &Spec) -> Result<(), SuperviseError> {
        let becoming = spec.becoming()?;
        if !becoming.is_nothing() {
            becoming.try_on(&self.program)?;
        }
        run.create()?;
        Ok(run.prepare_spec(spec)?)
    }

    /// Makes the spec run: adopts a keeper that has the like of it, from whichever slot,
    /// replaces one that has another, clears away what a keeper that was killed left behind.
    pub fn start(&self, run: &RunDirectory, spec: &Spec) -> Result<KeeperState, SuperviseError> {
        run.create()?;
        if let Running::Yes(state) = look(run)?
            && state.spec == spec.fingerprint()
        {
            return Ok(state);
        }
        // A full disk must not take down what runs.
        self.prepare(run, spec)?;
        self.stop(run)?;
        run.write_spec(spec)?;
        self.spawn(run, spec)
    }

    fn spawn(&self, run: &RunDirectory, spec: &Spec) -> Result<KeeperState, SuperviseError> {
        let mut child = Command::new(&self.program)
            .arg0("fleet-agent")
            .arg("keep")
            .arg(run.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .env_remove("NOTIFY_SOCKET")
            .spawn()
            .map_err(|source| SuperviseError::Spawn {
                directory: run.path().to_owned(),
                source,
            })?;
        let pid = i32::try_from(child.id()).unwrap_or(0);
        // Somebody has to wait for it, or it stays a zombie; a keeper mostly outlives this.
        let waiting = std::thread::Builder::new()
            .name("keeper".to_owned())
            .stack_size(64 << 10)
            .spawn(move || child.wait());
        drop(waiting);
        let wanted = spec.fingerprint();
        let is_up = || {
            run.state()
                .filter(|state| state.keeper.pid == pid && state.spec == wanted)
        };
        wait_for(START_DEADLINE, is_up).ok_or_else(|| SuperviseError::Silent {
            directory: run.path().to_owned(),
        })
    }

    /// Nothing of the component runs when this returns well.
    pub fn stop(&self, run: &RunDirectory) -> Result<(), SuperviseError> {
        if !run.path().exists() {
            return Ok(());
        }
        let grace = run.spec().map_or(GRACE_UNKNOWN, |spec| match spec.how {
            How::Supervise(supervised) => supervised.grace,
            How::Systemd(_) | How::Pm2(_) | How::Static(_) | How::Agent(_) => GRACE_UNKNOWN,
        });
        run.forget_spec()?;
        if let Running::Yes(state) = look(run)? {
            state.keeper.signal(Signal::SIGTERM);
            let deadline = grace.as_duration() + STOP_DEADLINE;
            if wait_for(deadline, || (!state.keeper.is_alive()).then_some(())).is_none() {
                state.keeper.signal(Signal::SIGKILL);
            }
        }
        self.clear_leftovers(run, grace)
    }

    /// What a keeper that was killed could not take with it: first asked, then killed.
    fn clear_leftovers(&self, run: &RunDirectory, grace: Span) -> Result<(), SuperviseError> {
        let left = leftovers(run);
        if left.is_empty() {
            return Ok(());
        }
        for process in &left {
            process.signal(Signal::SIGTERM);
        }
        let gone = || leftovers(run).is_empty().then_some(());
        if wait_for(grace.as_duration(), gone).is_some() {
            return Ok(());
        }
        let killed = || {
            let left = leftovers(run);
            for process in &left {
                process.signal(Signal::SIGKILL);
            }
            left.is_empty().then_some(())
        };
        wait_for(STOP_DEADLINE, killed).ok_or_else(|| SuperviseError::StillRuns {
            directory: run.path().to_owned(),
            left: leftovers(run).iter().map(|process| process.pid).collect(),
        })
    }
}

/// Who keeps the component, by the lock and not by a number alone.
pub fn look(run: &RunDirectory) -> Result<Running, SuperviseError> {
    if !run.path().exists() {
        return Ok(Running::No);
    }
    // A keeper that has only just taken the lock has not written its state yet, and
    // one that stops has released neither; both are over soon.
    let settled = || match run.lock() {
        Ok(Some(_free)) => Some(Ok(Running::No)),
        Ok(None) => run
            .state()
            .filter(|state| state.keeper.is_alive())
            .map(|state| Ok(Running::Yes(state))),
        Err(error) => Some(Err(error.into())),
    };
    wait_for(START_DEADLINE, settled).unwrap_or_else(|| {
        Err(SuperviseError::Silent {
            directory: run.path().to_owned(),
        })
    })
}

/// How the component is, without waiting.
pub fn glance(run: &RunDirectory) -> Option<KeeperState> {
    run.state().filter(|state| state.keeper.is_alive())
}

/// By number, by the session that the keeper made, and by the mark in the environment:
/// one of them finds whatever an app may have become.
fn leftovers(run: &RunDirectory) -> Vec<ProcessId> {
    let known = run.state();
    let own = std::process::id();
    proc::all()
        .into_iter()
        .filter(|stat| stat.is_alive() && u32::try_from(stat.id.pid) != Ok(own))
        .filter(|stat| {
            let by_state = known.as_ref().is_some_and(|state| {
                state.app == Some(stat.id)
                    || (stat.session == state.keeper.pid && stat.id.start_ticks >= state.keeper.start_ticks)
            });
            by_state || proc::has_variable(stat.id.pid, RUN_VARIABLE, run.path())
        })
        .map(|stat| stat.id)
        .collect()
}

fn wait_for<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
