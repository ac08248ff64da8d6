//! The services of the package: the agent's own, and that of the guard.

use std::time::{Duration, Instant};

use fleet_proto::release::UnitName;
use nix::sys::signal::Signal;

use super::OwnPackageError;
use super::command::ask;
use super::record::Process;
use crate::process::proc::ProcessId;

pub const AGENT: &str = "fleet-agent.service";
pub const GUARD: &str = "fleet-agent-update.service";

/// Whose journal tells of an update.
pub fn units() -> Vec<UnitName> {
    [AGENT, GUARD]
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect()
}
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// An agent that is told to end does so at once, for apps outlive it.
const GRACE: Duration = Duration::from_secs(20);
/// One that ends as soon as it is started is seldom seen.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Default)]
pub struct Service {
    pub load: String,
    pub active: String,
    sub: String,
    result: String,
    pub main: Option<Process>,
}

impl Service {
    /// Why it is not ready, if it is not. Continues "it …".
    pub fn ill(&self) -> Option<String> {
        let Self {
            active, sub, result, ..
        } = self;
        let why = match result.as_str() {
            "" | "success" => String::new(),
            result => format!(", {result}"),
        };
        (active != "active").then(|| format!("is {active} ({sub}{why})"))
    }
}

pub fn look(unit: &str) -> Result<Service, OwnPackageError> {
    let properties = "--property=LoadState,ActiveState,SubState,Result,MainPID";
    let shown = ask("systemctl", &["show", properties, unit], ANSWER_WITHIN)?;
    let mut service = Service::default();
    for (name, value) in shown.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "LoadState" => value.clone_into(&mut service.load),
            "ActiveState" => value.clone_into(&mut service.active),
            "SubState" => value.clone_into(&mut service.sub),
            "Result" => value.clone_into(&mut service.result),
            "MainPID" => {
                let pid = value.parse().ok().filter(|pid| *pid > 0);
                service.main = pid.and_then(ProcessId::of).map(Process::of);
            }
            _ => {}
        }
    }
    Ok(service)
}

/// Somebody is at it, or will be.
pub fn start_guard() -> Result<(), OwnPackageError> {
    if look(GUARD)?.active != "active" {
        ask("systemctl", &["start", "--no-block", GUARD], ANSWER_WITHIN)?;
    }
    Ok(())
}

/// Does not wait until the new one is ready, for it may never be; only until the one that
/// ran is gone, which is killed if it does not go.
pub fn restart_agent() -> Result<(), OwnPackageError> {
    let before = look(AGENT)?.main;
    ask("systemctl", &["restart", "--no-block", AGENT], ANSWER_WITHIN)?;
    let began = Instant::now();
    let mut is_killed = false;
    while began.elapsed() < 2 * GRACE {
        let now = look(AGENT)?.main;
        let is_gone = before.is_none() || now != before;
        if is_gone && (now.is_some() || began.elapsed() > SEEN_WITHIN) {
            return Ok(());
        }
        if began.elapsed() > GRACE
            && !is_killed
            && let Some(before) = &before
        {
            before.id.signal(Signal::SIGKILL);
            is_killed = true;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err(OwnPackageError::NotRestarted)
}

/// Whether a process belongs to the agent's service.
pub fn is_of_the_agent(process: ProcessId) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", process.pid));
    let suffix = format!("/{AGENT}");
    groups.is_ok_and(|groups| groups.lines().any(|group| group.ends_with(&suffix)))
}
