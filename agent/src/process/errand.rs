//! A command that is run once: `fleet-agent errand DIR` runs it, with a time limit, and
//! writes down how it ended. It outlives the agent, so that an agent that is restarted
//! meanwhile still learns its end.
//!
//! ```text
//! task.json  what is to be done, written and synced before anything is started
//! lock       held while it is at it
//! log        what it wrote
//! ended.json how it ended, of which task; synced
//! ```

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fleet_proto::quantity::Span;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};
use serde::{Deserialize, Serialize};

use super::account::{Account, Become};
use super::end::End;
use super::log::{self, Log};
use super::proc::{self, ProcessId};
use super::run_directory::{RUN_VARIABLE, lock};
use crate::boundary::{Boundary, boundary};
use crate::durable::{self, FileError, failed};
use crate::effects::chain;
use crate::secrets::kept::EnvFrom;

/// What an end takes, with its name and a few words.
const ENDED_BYTES: usize = 1024;
/// SIGKILL cannot be ignored, only delayed.
const KILL_DEADLINE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);
pub const GRACE: Span = Span::from_secs(5);
/// Whoever runs it needs milliseconds to begin; a machine that is short of them gets more.
const BEGINS_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum ErrandError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot run an errand in {}", .directory.display())]
    Spawn {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("an earlier errand in {} does not end", .0.display())]
    Busy(PathBuf),
    /// It was begun, and how far it came is not known.
    #[error("it cannot be seen how an errand ended")]
    Unseen(#[source] FileError),
    #[error("it was given up")]
    GivenUp,
    #[error("there is no readable task in {}", .0.display())]
    NoTask(PathBuf),
}

impl ErrandError {
    fn after_it_began(self) -> Self {
        match self {
            Self::File(error) => Self::Unseen(error),
            error => error,
        }
    }

    /// Nothing was run, for certain.
    pub fn is_before_it_began(&self) -> bool {
        !matches!(self, Self::Busy(_) | Self::Unseen(_) | Self::GivenUp)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Whose end it is that is written down.
    pub id: String,
    pub command: Vec<String>,
    pub directory: PathBuf,
    pub env: BTreeMap<String, String>,
    /// What else is in its environment, and not written down here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_from: Option<EnvFrom>,
    pub home: String,
    pub user: Option<String>,
    #[serde(default)]
    pub group: Option<String>,
    pub timeout: Span,
    /// From SIGTERM to SIGKILL, when its time is over.
    #[serde(default = "grace")]
    pub grace: Span,
}

fn grace() -> Span {
    GRACE
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ended {
    id: String,
    end: End,
}

/// Where one kind of errand is run, again and again.
#[derive(Debug, Clone)]
pub struct Errand {
    directory: PathBuf,
}

impl Errand {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    pub fn log_tail(&self, lines: usize) -> Vec<String> {
        log::tail(&self.directory.join("log"), lines)
    }

    /// Runs what must not be run twice, or finds out how it ended. None: nobody saw its end.
    pub fn once(&self, task: &Task) -> Result<Option<End>, ErrandError> {
        match self.find(&task.id, task.timeout.as_duration())? {
            Some(End::NotStarted(_)) if !self.is_begun(&task.id) => self.run(task),
            found => Ok(found),
        }
    }

    /// Runs it, whatever has been run before, and waits for its end. None: nobody saw it.
    pub fn run(&self, task: &Task) -> Result<Option<End>, ErrandError> {
        self.run_until(task, &|| false)
    }

    /// As [`Errand::run`]. Once it is given up, nothing of it is left.
    pub fn run_until(&self, task: &Task, is_given_up: &dyn Fn() -> bool) -> Result<Option<End>, ErrandError> {
        durable::create_directory(&self.directory)?;
        durable::keep_private(&self.directory)?;
        self.wait_until_free(task.timeout.as_duration(), is_given_up)?;
        if is_given_up() {
            return Err(ErrandError::GivenUp);
        }
        durable::remove(&self.path("ended.json"))?;
        let bytes = serde_json::to_vec(task)
            .map_err(|error| failed("encode", self.path("task.json"))(error.into()))?;
        durable::replace(&self.path("task.json"), &bytes, 0o600)?;
        boundary(Boundary::TaskWritten);
        let mut child = Command::new("/proc/self/exe")
            .arg0("fleet-agent")
            .arg("errand")
            .arg(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .env_remove("NOTIFY_SOCKET")
            .spawn()
            .map_err(|source| ErrandError::Spawn {
                directory: self.directory.clone(),
                source,
            })?;
        // The runner's own status says nothing.
        while matches!(child.try_wait(), Ok(None)) {
            if is_given_up() {
                let _gone = (child.kill(), child.wait());
                self.wait_until_free(Duration::ZERO, is_given_up)
                    .map_err(ErrandError::after_it_began)?;
                return Err(ErrandError::GivenUp);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        // Also where it did not come to write it down, and what it has begun is still at it.
        self.wait_until_free(task.timeout.as_duration(), is_given_up)
            .map_err(ErrandError::after_it_began)?;
        Ok(self.ended(&task.id))
    }

    fn is_begun(&self, id: &str) -> bool {
        self.task().is_some_and(|task| task.id == id)
    }

    /// How a task ended that somebody else has begun, waiting for it if it is still at it.
    /// None: it was begun, and nobody saw its end.
    pub fn find(&self, id: &str, limit: Duration) -> Result<Option<End>, ErrandError> {
        if !self.is_begun(id) {
            return Ok(Some(End::NotStarted("it was not begun".to_owned())));
        }
        self.wait_until_free(limit, &|| false)
            .map_err(ErrandError::after_it_began)?;
        Ok(self.ended(id))
    }

    /// Neither is anybody at it, nor anything left that somebody who was killed has begun: that
    /// has its time too, and is ended then.
    fn wait_until_free(&self, limit: Duration, is_given_up: &dyn Fn() -> bool) -> Result<(), ErrandError> {
        let (time_is_up, deadline) = (
            Instant::now() + limit,
            Instant::now() + limit + GRACE.as_duration() + BEGINS_WITHIN,
        );
        loop {
            let is_free = lock(&self.path("lock"))?.is_some();
            let left = if is_free { self.left() } else { vec![] };
            if is_free && left.is_empty() {
                return Ok(());
            }
            if Instant::now() > time_is_up || is_given_up() {
                left.iter().for_each(|process| process.signal(Signal::SIGKILL));
            }
            if Instant::now() > deadline {
                return Err(ErrandError::Busy(self.directory.clone()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn left(&self) -> Vec<ProcessId> {
        let alive = proc::all().into_iter().filter(proc::Stat::is_alive);
        let is_marked = |id: &ProcessId| proc::has_variable(id.pid, RUN_VARIABLE, &self.directory);
        alive.map(|stat| stat.id).filter(is_marked).collect()
    }

    fn task(&self) -> Option<Task> {
        serde_json::from_slice(&std::fs::read(self.path("task.json")).ok()?).ok()
    }

    fn ended(&self, id: &str) -> Option<End> {
        let ended: Ended = serde_json::from_slice(&std::fs::read(self.path("ended.json")).ok()?).ok()?;
        (ended.id == id).then_some(ended.end)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The program's side: runs the task that lies there.
pub fn carry_out(directory: &Path) -> Result<(), ErrandError> {
    let _leads_already = setsid();
    let errand = Errand::new(directory);
    let deadline = Instant::now() + BEGINS_WITHIN;
    // Whoever only looks whether it is free holds it for an instant.
    let _lock = loop {
        match lock(&errand.path("lock"))? {
            Some(lock) => break lock,
            None if Instant::now() > deadline => return Err(ErrandError::Busy(directory.to_owned())),
            None => std::thread::sleep(LOOK_EVERY),
        }
    };
    let task = errand
        .task()
        .ok_or_else(|| ErrandError::NoTask(directory.to_owned()))?;
    if errand.ended(&task.id).is_some() {
        return Ok(());
    }
    // A full disk must not keep the end from being written down.
    let path = errand.path("ended.json");
    let room = durable::beside(&path, "new");
    durable::write_new(&room, &[b' '; ENDED_BYTES], 0o600)?;
    boundary(Boundary::ErrandBegun);
    let end = match begin(&errand, &task) {
        Ok(begun) => see_through(begun, &task),
        Err(error) => End::NotStarted(error.to_string().chars().take(ENDED_BYTES / 4).collect()),
    };
    boundary(Boundary::CommandEnded);
    let ended = Ended { id: task.id, end };
    let mut bytes = serde_json::to_vec(&ended).map_err(|error| failed("encode", &path)(error.into()))?;
    bytes.resize(ENDED_BYTES.max(bytes.len()), b' ');
    let mut file = OpenOptions::new()
        .write(true)
        .open(&room)
        .map_err(failed("open", &room))?;
    file.write_all(&bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed("write", &room))?;
    std::fs::rename(&room, &path).map_err(failed("rename", &room))?;
    durable::sync_directory(directory)?;
    boundary(Boundary::EndWritten);
    Ok(())
}

/// The command, and who takes down what it says.
struct Begun {
    child: Child,
    log: JoinHandle<()>,
}

/// As long as this fails, nothing has been run.
fn begin(errand: &Errand, task: &Task) -> io::Result<Begun> {
    nix::sys::prctl::set_child_subreaper(true)?;
    let (output, writer) = io::pipe()?;
    let log = Log::begin(&errand.path("log"));
    let log = std::thread::spawn(move || log.take_down(output));
    let mut command = command(errand, task)?;
    // The command goes with the other ends of the log.
    let child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
    Ok(Begun { child, log })
}

fn see_through(begun: Begun, task: &Task) -> End {
    let Begun { mut child, log } = begun;
    let deadline = Instant::now() + task.timeout.as_duration();
    let mut ended = None;
    while ended.is_none() && Instant::now() < deadline {
        ended = child.try_wait().ok().flatten();
        std::thread::sleep(LOOK_EVERY);
    }
    let end = ended.map_or(End::TimedOut, end_of);
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    if let (End::TimedOut, Ok(group)) = (&end, i32::try_from(child.id())) {
        let _gone = killpg(Pid::from_raw(group), Signal::SIGTERM);
        signal_all(own, Signal::SIGTERM);
        let patience = Instant::now() + task.grace.as_duration();
        while Instant::now() < patience && !proc::family(own).is_empty() {
            reap();
            std::thread::sleep(LOOK_EVERY);
        }
    }
    // What it has left behind ends with it; a disk that hangs may delay that.
    let patience = Instant::now() + KILL_DEADLINE;
    while Instant::now() < patience && !proc::family(own).is_empty() {
        signal_all(own, Signal::SIGKILL);
        reap();
        std::thread::sleep(LOOK_EVERY);
    }
    if proc::family(own).is_empty() {
        let _panicked = log.join();
    }
    end
}

fn command(errand: &Errand, task: &Task) -> io::Result<Command> {
    let account = task.user.as_deref();
    let account = account.map(|name| Account::of(name, task.group.as_deref()));
    let account = account
        .transpose()
        .map_err(|error| io::Error::other(chain(&error)))?;
    let secrets = task.env_from.as_ref().map(EnvFrom::read).transpose();
    let secrets = secrets.map_err(io::Error::other)?.unwrap_or_default();
    let mut command = Command::new("/proc/self/exe");
    command.arg0("fleet-agent").arg("launch");
    if account.is_some() {
        let becoming = Become {
            account: account.clone(),
            directory: Some(task.directory.clone()),
            ..Become::default()
        };
        let tried = becoming.try_on(Path::new("/proc/self/exe"));
        tried.map_err(|error| io::Error::other(chain(&error)))?;
        command.arg("--become").arg(becoming.to_argument());
    } else {
        command.current_dir(&task.directory);
    }
    command
        .arg("--")
        .args(&task.command)
        .env_clear()
        .env("HOME", &task.home)
        .envs(account.iter().flat_map(Account::env))
        .envs(&task.env)
        .envs(secrets.variables())
        .env(RUN_VARIABLE, &errand.directory)
        .stdin(Stdio::null())
        .process_group(0);
    Ok(command)
}

/// Also those that have left the group.
fn signal_all(own: i32, signal: Signal) {
    for stat in proc::family(own) {
        let _gone = kill(Pid::from_raw(stat.id.pid), signal);
    }
}

fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Killed(signal.unwrap_or(0)),
    }
}
