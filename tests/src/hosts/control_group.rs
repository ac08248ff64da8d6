//! A control group for each host.
//!
//! nspawn, asked to stay in the group that it is in, makes `payload` below that. Two hosts
//! in the same group would share it, and each systemd would find the other's services
//! under its own names and stop them. Nor would any limit of a service hold: nspawn lets a
//! host see the controllers of version 1, and write to none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::wait_for;

const PATIENCE: Duration = Duration::from_secs(20);

/// Controllers of version 1 that limits of services need: tasks, memory, processor.
pub const CONTROLLERS: [&str; 4] = ["pids", "memory", "cpu", "cpuacct"];

const ROOT: &str = "/sys/fs/cgroup";

/// Where groups of hosts are: below the roots in which systemd keeps processes, and beside
/// those that limit this process, so that the hosts stay within its own limits.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    let named = ["systemd", "unified"].map(|name| root.join(name));
    let mut found: Vec<PathBuf> = named.into_iter().filter(|path| path.is_dir()).collect();
    if found.is_empty() {
        // Version 2 alone: one hierarchy for everything.
        return vec![root.to_owned()];
    }
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    for line in own.lines() {
        // `4:memory:/path`
        let mut parts = line.splitn(3, ':').skip(1);
        if let (Some(controller), Some(path)) = (parts.next(), parts.next())
            && CONTROLLERS.contains(&controller)
        {
            found.push(root.join(controller).join(path.trim_start_matches('/')));
        }
    }
    found
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
