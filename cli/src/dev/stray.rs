//! Processes of a fleet that we did not start, or lost: agents that somebody started
//! again by hand, and apps that outlived their agent.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const GRACE: Duration = Duration::from_secs(5);
/// `fleetctl dev` stops its processes itself, each with a grace of its own.
const DEV_GRACE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    pub pid: i32,
    pub program: PathBuf,
    words: Vec<String>,
}

impl Stray {
    fn is_named(&self, name: &str) -> bool {
        self.program
            .file_name()
            .is_some_and(|file| file.to_string_lossy().starts_with(name))
    }

    fn does(&self, verb: &str) -> bool {
        self.words.get(1).is_some_and(|word| word == verb)
    }

    /// What it is of a fleet, in a word.
    pub fn part(&self) -> &'static str {
        if self.is_coordinator() {
            "coordinator"
        } else if self.is_agent() {
            "agent"
        } else if self.is_named("fleet-agent") && self.does("keep") {
            "keeper"
        } else if self.is_named("fleetctl") {
            "fleetctl dev"
        } else if self.is_named("fleet-agent") || self.is_named("fleet-coordinator") {
            "helper"
        } else {
            "app"
        }
    }

    /// An agent proper, and not one of the processes by which it keeps apps running.
    pub fn is_agent(&self) -> bool {
        self.is_named("fleet-agent") && self.does("run")
    }

    pub fn is_coordinator(&self) -> bool {
        self.is_named("fleet-coordinator") && self.does("run")
    }
}

/// Whatever runs from the fleet's directory, and Fleet's own programs that were told to
/// work in it. A shell or a `tail` that merely looks at it is left alone.
pub fn find(root: &Path) -> Vec<Stray> {
    all(|process| process.runs_in(root))
}

/// The `fleetctl dev` that looks after the fleet in that directory.
pub fn find_dev(root: &Path) -> Vec<Stray> {
    all(|process| {
        let words = &process.found.words;
        process.found.is_named("fleetctl")
            && words.iter().any(|word| word == "dev")
            && words.iter().all(|word| word != "--stop")
            && process
                .paths()
                .any(|path| path.canonicalize().is_ok_and(|path| path == root))
    })
}

fn all(which: impl Fn(&Process) -> bool) -> Vec<Stray> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter_map(Process::read)
        .filter(|process| which(process))
        .map(|process| process.found)
        .collect()
}

/// A process of this machine, whosever it is.
struct Process {
    found: Stray,
    working: PathBuf,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let line = std::fs::read(directory.join("cmdline")).ok()?;
        let found = Stray {
            pid,
            program: std::fs::read_link(directory.join("exe")).ok()?,
            words: line
                .split(|byte| *byte == 0)
                .filter(|word| !word.is_empty())
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect(),
        };
        let working = std::fs::read_link(directory.join("cwd")).unwrap_or_default();
        Some(Self { found, working })
    }

    fn runs_in(&self, root: &Path) -> bool {
        let is_ours = self.found.is_named("fleet-agent") || self.found.is_named("fleet-coordinator");
        self.found.program.starts_with(root) || (is_ours && self.paths().any(|path| path.starts_with(root)))
    }

    /// What its command line names. A word is a path when it says so by being absolute,
    /// or when something of that name is there: `json` is none wherever one stands.
    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let values = self.found.words.iter().skip(2).filter_map(|word| {
            if word.starts_with('-') {
                word.split_once('=').map(|(_, value)| value)
            } else {
                Some(word.as_str())
            }
        });
        values.filter_map(|value| {
            let path = self.working.join(value);
            (value.starts_with('/') || path.exists()).then_some(path)
        })
    }
}

/// Asks them to stop, waits, and insists. What is found anew meanwhile goes too.
pub async fn stop(root: &Path, which: impl Fn(&Stray) -> bool) -> Vec<Stray> {
    let find = || find(root).into_iter().filter(|stray| which(stray)).collect();
    end(find, GRACE).await
}

pub async fn stop_dev(root: &Path) -> Vec<Stray> {
    end(|| find_dev(root), DEV_GRACE).await
}

async fn end(find: impl Fn() -> Vec<Stray>, grace: Duration) -> Vec<Stray> {
    let mut stopped: Vec<Stray> = Vec::new();
    let begun = Instant::now();
    loop {
        let left = find();
        if left.is_empty() || begun.elapsed() > grace * 2 {
            return stopped;
        }
        for stray in left {
            let is_new = !stopped.contains(&stray);
            if begun.elapsed() > grace {
                let _gone = kill(Pid::from_raw(stray.pid), Signal::SIGKILL);
            } else if is_new {
                let _gone = kill(Pid::from_raw(stray.pid), Signal::SIGTERM);
            }
            if is_new {
                stopped.push(stray);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
