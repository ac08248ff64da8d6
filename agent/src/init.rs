//! The first process of a pod: `fleet-agent run` where it is process 1, or with `--init`.
//!
//! ```text
//! init ─spawns→ agent ─spawns→ keeper ─spawns→ app
//!   ↑ adopts and reaps whatever has lost its parent
//! ```
//!
//! The kernel gives every orphan to process 1, which has to take leave of it, and the exit
//! status of a child is had by whoever asks first. So process 1 has one child of its own, the
//! agent, and may take leave of everything that ends. It keeps nothing alive: nothing outlives
//! it, so its own end, after that of the agent, is the end of the pod.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::process::{proc, signals};

/// Beyond the time that the agent has to stop its apps: for its own end.
const MARGIN: Duration = Duration::from_secs(2);
/// Between looks for what is left; short, for a pod's end waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// SIGKILL cannot be ignored, only delayed by a disk that hangs.
const KILL_DEADLINE: Duration = Duration::from_secs(1);
/// As of a process that was killed.
const KILLED: u8 = 128 + 9;

#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct InitError {
    what: &'static str,
    #[source]
    source: io::Error,
}

fn failed<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> InitError {
    move |source| InitError {
        what,
        source: source.into(),
    }
}

/// Whether whoever is called by this process's number has to be one.
pub fn is_first() -> bool {
    std::process::id() == 1
}

/// Runs the agent to its end, and gives its exit code.
pub fn run(config: &Path, log: &str, stop_deadline: Duration) -> Result<u8, InitError> {
    let signals = signals::blocked(&[
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGCHLD,
    ])
    .map_err(failed("block signals"))?;
    // Where it is not process 1, orphans come to it all the same.
    nix::sys::prctl::set_child_subreaper(true).map_err(failed("adopt orphans"))?;
    let agent = Command::new("/proc/self/exe")
        .arg0("fleet-agent")
        .args(["run", "--in-pod", "--log", log, "--config"])
        .arg(config)
        .spawn()
        .map_err(failed("start the agent"))?;
    let pid = i32::try_from(agent.id()).map_err(|error| failed("know the agent")(io::Error::other(error)))?;
    let mut init = Init {
        signals,
        agent: Pid::from_raw(pid),
        stop_deadline,
        stopping: None,
    };
    let code = init.wait_for_the_agent();
    init.end_the_rest();
    Ok(code)
}

struct Init {
    signals: Receiver<Signal>,
    agent: Pid,
    stop_deadline: Duration,
    /// Since it was told to stop: until when the agent has time.
    stopping: Option<Instant>,
}

impl Init {
    fn wait_for_the_agent(&mut self) -> u8 {
        loop {
            if let Some(status) = self.reap() {
                return self.code(status);
            }
            let left = self
                .stopping
                .map(|until| until.saturating_duration_since(Instant::now()));
            let woken = match left {
                None => self.signals.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(left) => self.signals.recv_timeout(left),
            };
            match woken {
                Ok(Signal::SIGCHLD) => {}
                Ok(Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT) => {
                    self.stopping
                        .get_or_insert_with(|| Instant::now() + self.stop_deadline + MARGIN);
                    let _gone = kill(self.agent, Signal::SIGTERM);
                }
                // Its affair: it knows which are for the apps.
                Ok(other) => drop(kill(self.agent, other)),
                // An agent that hangs does not hold up the end of the pod.
                Err(_) => {
                    let _gone = kill(self.agent, Signal::SIGKILL);
                    return KILLED;
                }
            }
        }
    }

    /// Takes leave of all that ended. How the agent did, if it was among them.
    fn reap(&self) -> Option<ExitStatus> {
        let mut agent = None;
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let (pid, raw) = match status {
                WaitStatus::Exited(pid, code) => (pid, code << 8),
                WaitStatus::Signaled(pid, signal, _) => (pid, signal as i32),
                WaitStatus::StillAlive => break,
                _ => continue,
            };
            if pid == self.agent {
                agent = Some(ExitStatus::from_raw(raw));
            }
        }
        agent
    }

    /// One that was told to end before it knew how to has done as it was told.
    fn code(&self, status: ExitStatus) -> u8 {
        match (status.code(), status.signal()) {
            (Some(code), _) => u8::try_from(code).unwrap_or(1),
            (None, Some(15)) if self.stopping.is_some() => 0,
            (None, signal) => u8::try_from(128 + signal.unwrap_or(0)).unwrap_or(KILLED),
        }
    }

    /// After an agent that stopped its apps there is nothing. After one that came to a bad end
    /// its keepers are told, who stop their apps as they would have for it.
    fn end_the_rest(&mut self) {
        let until = self
            .stopping
            .unwrap_or_else(|| Instant::now() + self.stop_deadline);
        self.end_by(Signal::SIGTERM, until);
        self.end_by(Signal::SIGKILL, Instant::now() + KILL_DEADLINE);
    }

    fn end_by(&self, signal: Signal, until: Instant) {
        let own = i32::try_from(std::process::id()).unwrap_or(1);
        let mut told = std::collections::BTreeSet::new();
        loop {
            let _agent = self.reap();
            let left = proc::family(own);
            if left.is_empty() || Instant::now() > until {
                return;
            }
            // Once each: some count how often they are asked to stop. Children of others are
            // theirs to stop.
            for stat in left.iter().filter(|stat| stat.parent == own) {
                if told.insert(stat.id.pid) {
                    let _gone = kill(Pid::from_raw(stat.id.pid), signal);
                }
            }
            let _woken = self.signals.recv_timeout(LOOK_EVERY);
        }
    }
}
