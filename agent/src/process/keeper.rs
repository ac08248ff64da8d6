//! The keeper: `fleet-agent keep DIR`, the app's parent.
//!
//! Plain threads and no runtime: it sits beside every component, for months. It adopts
//! what the app leaves behind (it is a subreaper), so that stopping reaches processes
//! that have left their group and session.
//!
//! Nothing that may pass ends it, neither a full disk nor a full process table: an app
//! without its keeper is not started again when it ends.

use std::fs::File;
use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use fleet_proto::release::StopSignal;
use fleet_proto::time::Timestamp;
use nix::fcntl::Flock;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, fchown, setsid};

use super::account::{Account, AccountError};
use super::log::Log;
use super::proc::{self, ProcessId};
use super::run_directory::{KeeperState, RUN_VARIABLE, RunDirectory};
use super::signals;
use super::spec::{How, Spec, Supervised};
use crate::durable::FileError;
use crate::effects::chain;
use crate::secrets::kept::{EnvFrom, SecretEnv};

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// An app that ran this long had started well; its next end is a new story.
const STABLE: Duration = Duration::from_secs(60);
/// Until the agent can be told what could not be written down.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// Between looks for what is left of a group; short, for stopping waits for it.
const SWEEP_EVERY: Duration = Duration::from_millis(20);
const LOCK_DEADLINE: Duration = Duration::from_secs(1);
/// SIGKILL cannot be ignored, only delayed by a disk that hangs.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("there is no readable spec.json in the run directory")]
    NoSpec,
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("cannot {what}")]
    System {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("processes of the app do not end, even by SIGKILL: {0:?}")]
    Unkillable(Vec<i32>),
}

fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> KeeperError {
    move |source| KeeperError::System {
        what,
        source: source.into(),
    }
}

/// Runs until told to stop. Another keeper that is there already is no error.
pub fn keep(directory: &Path) -> Result<(), KeeperError> {
    // Fails only for a session leader, which is what is wanted.
    let _leads_already = setsid();
    let run = RunDirectory::new(directory);
    let Some(_lock) = lock_patiently(&run)? else {
        return Ok(());
    };
    nix::sys::prctl::set_child_subreaper(true).map_err(system("adopt orphans"))?;
    let heard = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD];
    let signals = signals::blocked(&heard).map_err(system("block signals"))?;
    let (output, writer) = io::pipe().map_err(system("make a pipe"))?;
    let log = Log::begin(&run.log());
    let log = std::thread::spawn(move || log.take_down(output));

    let spec = run.spec().ok_or(KeeperError::NoSpec)?;
    let How::Supervise(supervised) = spec.how.clone() else {
        return Err(KeeperError::NoSpec);
    };
    let secrets = spec.env_from.as_ref().map(EnvFrom::read).transpose()?;
    let own =
        ProcessId::own().ok_or_else(|| system("find oneself in /proc")(io::Error::other("no /proc")))?;
    let state = KeeperState {
        boot: proc::boot_id(),
        spec: spec.fingerprint(),
        keeper: own,
        app: None,
        restarts: 0,
        since: Timestamp::now(),
        last_exit: None,
    };
    let mut keeper = Keeper {
        run,
        spec,
        supervised,
        secrets: secrets.unwrap_or_default(),
        state,
        signals,
        writer: Some(writer),
        is_told: true,
    };
    let result = keeper.run();
    // With the last writer gone the log ends, and all of it is on the disk.
    keeper.writer = None;
    let _panicked = log.join();
    result
}

/// Whoever looks at the lock holds it for an instant; another keeper holds it for good.
fn lock_patiently(run: &RunDirectory) -> Result<Option<Flock<File>>, KeeperError> {
    let deadline = Instant::now() + LOCK_DEADLINE;
    loop {
        match run.lock()? {
            None if Instant::now() < deadline => std::thread::sleep(SWEEP_EVERY),
            answer => return Ok(answer),
        }
    }
}

struct Keeper {
    run: RunDirectory,
    spec: Spec,
    supervised: Supervised,
    /// Kept in memory, for starts to come.
    secrets: SecretEnv,
    state: KeeperState,
    signals: Receiver<Signal>,
    writer: Option<PipeWriter>,
    /// Whether the state that is written down is the one that is so.
    is_told: bool,
}

/// What ended a wait.
enum Woken {
    Stop,
    AppEnded,
    TimeIsUp,
}

impl Keeper {
    fn run(&mut self) -> Result<(), KeeperError> {
        let mut backoff = BACKOFF_MIN;
        loop {
            let started = Instant::now();
            if let Err(error) = self.start() {
                self.could_not(&error);
            }
            if matches!(self.wait(None), Woken::Stop) {
                return self.stop();
            }
            // What it left behind would hold its port against the next one.
            while let Err(error) = self.sweep() {
                self.could_not(&error);
                if matches!(self.wait(Some(BACKOFF_MAX)), Woken::Stop) {
                    return self.stop();
                }
            }
            if started.elapsed() >= STABLE {
                backoff = BACKOFF_MIN;
            }
            if matches!(self.wait(Some(backoff)), Woken::Stop) {
                return self.stop();
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
            self.state.restarts += 1;
        }
    }

    /// A command that cannot be started ends as an app does that fails at once.
    fn start(&mut self) -> Result<(), KeeperError> {
        let child = self.command()?.spawn().map_err(system("start the app"))?;
        let pid = i32::try_from(child.id()).unwrap_or(0);
        self.state.app = ProcessId::of(pid);
        self.state.since = Timestamp::now();
        self.tell();
        Ok(())
    }

    /// As an app that has ended at once.
    fn could_not(&mut self, error: &KeeperError) {
        self.state.app = None;
        self.state.since = Timestamp::now();
        self.state.last_exit = Some(format!("could not be started: {}", chain(error)));
        self.tell();
    }

    /// Only the agent's view of the app suffers while this fails.
    fn tell(&mut self) {
        self.is_told = self.run.write_state(&self.state).is_ok();
    }

    fn command(&self) -> Result<Command, KeeperError> {
        let output = || -> Result<Stdio, KeeperError> {
            let writer = self.writer.as_ref().map(PipeWriter::try_clone);
            match writer {
                Some(writer) => Ok(writer.map_err(system("hand the log to the app"))?.into()),
                None => Ok(Stdio::null()),
            }
        };
        let becoming = self.spec.becoming()?;
        if let (Some(account), Some(writer)) = (&becoming.account, &self.writer) {
            // Or they could write to it, and not open it again, as `/dev/stderr`.
            fchown(writer, Some(account.uid()), None).map_err(system("hand the log to the app"))?;
        }
        let mut command = Command::new("/proc/self/exe");
        command.arg0("fleet-agent").arg("launch");
        if becoming.is_nothing() {
            command.current_dir(&self.spec.directory);
        } else {
            command.arg("--become").arg(becoming.to_argument());
        }
        command
            .arg("--")
            .args(&self.supervised.command)
            .env_clear()
            .env("HOME", &self.spec.home)
            .envs(becoming.account.iter().flat_map(Account::env))
            .envs(&self.spec.env)
            .envs(self.secrets.variables())
            .env(RUN_VARIABLE, self.run.path())
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?)
            .process_group(0);
        Ok(command)
    }

    fn wait(&mut self, limit: Option<Duration>) -> Woken {
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            if self.reap() && limit.is_none() {
                return Woken::AppEnded;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let pause = if self.is_told {
                left
            } else {
                Some(left.map_or(TELL_AGAIN, |left| left.min(TELL_AGAIN)))
            };
            let woken = match pause {
                None => self.signals.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(pause) => self.signals.recv_timeout(pause),
            };
            match woken {
                Err(RecvTimeoutError::Timeout) if pause != left => self.tell(),
                Ok(Signal::SIGCHLD) => {}
                // A keeper outlives the terminal from which its agent was started.
                Ok(Signal::SIGHUP) => {}
                Ok(_) | Err(RecvTimeoutError::Disconnected) => return Woken::Stop,
                Err(RecvTimeoutError::Timeout) => return Woken::TimeIsUp,
            }
        }
    }

    /// Takes leave of all that ended, the app itself and orphans of it. True if the
    /// app does not run any more.
    fn reap(&mut self) -> bool {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let (pid, how) = match status {
                WaitStatus::Exited(pid, code) => (pid, format!("exited with code {code}")),
                WaitStatus::Signaled(pid, signal, _) => (pid, format!("was killed by {signal}")),
                WaitStatus::StillAlive => break,
                _ => continue,
            };
            if self.state.app.is_some_and(|app| app.pid == pid.as_raw()) {
                self.state.app = None;
                self.state.since = Timestamp::now();
                self.state.last_exit = Some(how);
                self.tell();
            }
        }
        self.state.app.is_none()
    }

    /// The grace is for all of them: behind a shell, which ends at once, the server may
    /// still be answering.
    fn stop(&mut self) -> Result<(), KeeperError> {
        let own = self.state.keeper.pid;
        self.ask_to_stop();
        let deadline = Instant::now() + self.supervised.grace.as_duration();
        loop {
            self.reap();
            let left = deadline.saturating_duration_since(Instant::now());
            let is_over = || self.state.app.is_none() && proc::family(own).is_empty();
            if left.is_zero() || is_over() {
                break;
            }
            let _woken = self.signals.recv_timeout(left.min(SWEEP_EVERY));
        }
        let swept = self.sweep();
        self.tell();
        swept
    }

    fn ask_to_stop(&self) {
        let signal = signal_of(self.supervised.stop_signal);
        if let Some(app) = self.state.app {
            let _gone = killpg(Pid::from_raw(app.pid), signal);
        }
        let asked = self.state.app.map(|app| app.pid);
        for stat in proc::family(self.state.keeper.pid) {
            if Some(stat.group) != asked {
                let _gone = kill(Pid::from_raw(stat.id.pid), signal);
            }
        }
    }

    /// Ends everything that descends from the app, wherever it has gone.
    fn sweep(&mut self) -> Result<(), KeeperError> {
        let own = self.state.keeper.pid;
        let deadline = Instant::now() + KILL_DEADLINE;
        loop {
            self.reap();
            let left: Vec<i32> = proc::family(own).iter().map(|stat| stat.id.pid).collect();
            if left.is_empty() {
                self.reap();
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(KeeperError::Unkillable(left));
            }
            for pid in &left {
                let _gone = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            std::thread::sleep(SWEEP_EVERY);
        }
    }
}

fn signal_of(signal: StopSignal) -> Signal {
    match signal {
        StopSignal::Term => Signal::SIGTERM,
        StopSignal::Interrupt => Signal::SIGINT,
        StopSignal::Quit => Signal::SIGQUIT,
        StopSignal::Hangup => Signal::SIGHUP,
        StopSignal::User1 => Signal::SIGUSR1,
        StopSignal::User2 => Signal::SIGUSR2,
    }
}
