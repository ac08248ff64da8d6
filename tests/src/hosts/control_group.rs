//! A control group for each host.
//!
//! nspawn, asked to stay in the group that it is in, makes `payload` below that. Two hosts
//! in the same group would share it, and each systemd would find the other's services
//! under its own names and stop them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::wait_for;

const PATIENCE: Duration = Duration::from_secs(20);

/// Where systemd keeps its processes: version 2 alone, or beside version 1.
fn hierarchies() -> Vec<PathBuf> {
    let beside: Vec<PathBuf> = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"]
        .into_iter()
        .map(PathBuf::from)
        .filter(|path| path.is_dir())
        .collect();
    if beside.is_empty() {
        vec![PathBuf::from("/sys/fs/cgroup")]
    } else {
        beside
    }
}

/// The files into which a process writes itself to be in the group.
pub fn create(name: &str) -> anyhow::Result<Vec<PathBuf>> {
    hierarchies()
        .into_iter()
        .map(|hierarchy| {
            let group = hierarchy.join(name);
            std::fs::create_dir_all(&group).with_context(|| group.display().to_string())?;
            Ok(group.join("cgroup.procs"))
        })
        .collect()
}

/// Stops a host's processes all at the same instant, nspawn itself excepted.
pub fn freeze(name: &str) -> anyhow::Result<()> {
    // Freezing is the one thing that version 2 does without a controller.
    let payload = hierarchies()
        .into_iter()
        .map(|hierarchy| hierarchy.join(name).join("payload"))
        .find(|payload| payload.join("cgroup.freeze").exists())
        .context("no control group can be frozen")?;
    std::fs::write(payload.join("cgroup.freeze"), "1")?;
    wait_for("the host to stand still", PATIENCE, || {
        let events = std::fs::read_to_string(payload.join("cgroup.events")).ok()?;
        events.contains("frozen 1").then_some(())
    })
}

/// The processes in the group and below it.
pub fn processes(name: &str) -> Vec<Pid> {
    hierarchies()
        .iter()
        .flat_map(|hierarchy| below(&hierarchy.join(name)))
        .filter_map(|group| std::fs::read_to_string(group.join("cgroup.procs")).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| line.parse::<i32>().ok())
        .filter(|id| *id > 1)
        .map(Pid::from_raw)
        .collect()
}

/// Kills what is in the group, and removes it.
pub fn clear(name: &str) -> anyhow::Result<()> {
    wait_for(&format!("the processes of {name} to end"), PATIENCE, || {
        let left = processes(name);
        for process in &left {
            let _ = kill(*process, Signal::SIGKILL);
        }
        left.is_empty().then_some(())
    })?;
    for hierarchy in hierarchies() {
        for group in below(&hierarchy.join(name)) {
            // The kernel may take a moment to see that the last process is gone.
            wait_for("a control group to be empty", PATIENCE, || {
                (std::fs::remove_dir(&group).is_ok() || !group.exists()).then_some(())
            })?;
        }
    }
    Ok(())
}

/// The groups whose names begin so.
pub fn starting_with(prefix: &str) -> Vec<String> {
    let mut found: Vec<String> = hierarchies()
        .iter()
        .filter_map(|hierarchy| std::fs::read_dir(hierarchy).ok())
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(prefix))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The group and all below it, the deepest first.
fn below(group: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(below(&entry.path()));
        }
    }
    if group.is_dir() {
        found.push(group.to_owned());
    }
    found
}
