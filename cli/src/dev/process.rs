//! A child process: in a process group of its own, so that Ctrl-C reaches only us, with
//! its output in a file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::sync::watch;

use crate::error::Error;

/// Between SIGTERM and SIGKILL; a coordinator may be writing a snapshot.
const GRACE: Duration = Duration::from_secs(10);
const LOG_LINES_SHOWN: usize = 15;

pub struct Process {
    pub name: String,
    pid: Pid,
    log: PathBuf,
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    pub fn start(name: &str, program: &Path, args: &[&Path], log: &Path) -> Result<Self, Error> {
        let mut command = Command::new(program);
        command.args(args);
        into_log(&mut command, log)?;
        let mut child = command
            .spawn()
            .map_err(Error::file(format!("cannot start {}", program.display())))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0);
        let (sender, ended) = watch::channel(None);
        tokio::spawn(async move {
            let status = child.wait().await.unwrap_or_default();
            sender.send_replace(Some(status));
        });
        Ok(Self {
            name: name.to_owned(),
            pid: Pid::from_raw(pid),
            log: log.to_owned(),
            ended,
        })
    }

    pub fn ended(&self) -> Option<ExitStatus> {
        *self.ended.borrow()
    }

    pub fn watch(&self) -> watch::Receiver<Option<ExitStatus>> {
        self.ended.clone()
    }

    async fn wait(&self) -> ExitStatus {
        let mut ended = self.ended.clone();
        let status = ended.wait_for(Option::is_some).await;
        status.ok().and_then(|status| *status).unwrap_or_default()
    }

    /// Asks, waits, and insists.
    pub async fn stop(&self) {
        self.signal(Signal::SIGTERM);
        if tokio::time::timeout(GRACE, self.wait()).await.is_err() {
            self.signal(Signal::SIGKILL);
            self.wait().await;
        }
    }

    fn signal(&self, signal: Signal) {
        // Reaped processes' numbers are given to others: only a running one is signalled.
        if self.ended().is_none() && self.pid.as_raw() > 0 {
            let _gone = kill(self.pid, signal);
        }
    }

    /// For a process that ended when it should have run.
    pub fn failure(&self, what: &str) -> Error {
        Error::refused(
            format!("{what}; the last lines of its log:\n{}", tail(&self.log)),
            format!("the whole log is {}", self.log.display()),
        )
    }
}

/// Runs a program to its end; its output is in the log either way.
pub async fn run(program: &Path, args: &[&str], log: &Path, deadline: Duration) -> Result<(), Error> {
    let mut command = Command::new(program);
    command.args(args).kill_on_drop(true);
    into_log(&mut command, log)?;
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let verb = args.first().copied().unwrap_or_default();
    let status = tokio::time::timeout(deadline, command.status()).await;
    let how = match status {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => format!("ended with {status}"),
        Ok(Err(error)) => format!("could not be started: {error}"),
        Err(_) => format!("took longer than {}s", deadline.as_secs()),
    };
    Err(Error::refused(
        format!("`{name} {verb}` {how}:\n{}", tail(log)),
        format!("the whole log is {}", log.display()),
    ))
}

fn into_log(command: &mut Command, log: &Path) -> Result<(), Error> {
    let failed = || Error::file(format!("cannot write {}", log.display()));
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(failed())?;
    let copy = file.try_clone().map_err(failed())?;
    command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(copy)
        .process_group(0);
    Ok(())
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(LOG_LINES_SHOWN);
    let shown: Vec<String> = lines[skipped..]
        .iter()
        .map(|line| format!("  | {line}"))
        .collect();
    shown.join("\n")
}
