//! Processes of a fleet that we did not start, or lost: agents that somebody started
//! again by hand, and apps that outlived their agent.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const GRACE: Duration = Duration::from_secs(5);
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
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| stray(pid, root))
        .collect()
}

fn stray(pid: i32, root: &Path) -> Option<Stray> {
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
    if found.program.starts_with(root) {
        return Some(found);
    }
    if !found.is_named("fleet-agent") && !found.is_named("fleet-coordinator") {
        return None;
    }
    let working = std::fs::read_link(directory.join("cwd")).unwrap_or_default();
    let works_here = found
        .words
        .iter()
        .any(|word| working.join(word).starts_with(root));
    works_here.then_some(found)
}

/// Asks them to stop, waits, and insists. What is found anew meanwhile goes too.
pub async fn stop(root: &Path, which: impl Fn(&Stray) -> bool) -> Vec<Stray> {
    let mut stopped: Vec<Stray> = Vec::new();
    let begun = Instant::now();
    loop {
        let left: Vec<Stray> = find(root).into_iter().filter(|stray| which(stray)).collect();
        if left.is_empty() || begun.elapsed() > GRACE * 2 {
            return stopped;
        }
        for stray in left {
            let is_new = !stopped.contains(&stray);
            if begun.elapsed() > GRACE {
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
