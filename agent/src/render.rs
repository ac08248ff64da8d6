//! The only place that prints. Data goes to stdout, everything else to stderr.
#![expect(clippy::print_stderr, reason = "this is what the commands say to people")]

use std::fmt;
use std::io::{self, Write};

use fleet_proto::ids::ComponentName;
use fleet_proto::session::{AppStatus, Health};
use serde::Serialize;

use crate::doctor::Finding;
use crate::local::RolledBack;
use crate::status::{AppView, Daemon, NodeStatus, ReleaseView};

/// A line to stdout. Whoever stops reading, as `head` does, has seen enough; where there is
/// no room for it, nobody is to believe that it was said.
macro_rules! say {
    ($($words:tt)*) => {
        write_line(format_args!($($words)*))
    };
}

fn write_line(line: fmt::Arguments<'_>) {
    if let Err(error) = writeln!(io::stdout(), "{line}")
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        eprintln!("error: cannot write to stdout: {error}");
    }
}

pub fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => say!("{text}"),
        Err(error) => eprintln!("error: cannot write this as JSON: {error}"),
    }
}

pub fn note(text: &str) {
    eprintln!("{text}");
}

/// The agent's own document; whatever answered instead is shown as it is.
pub fn condition(document: &serde_json::Value) {
    let word = |value: &serde_json::Value| value.as_str().unwrap_or("no answer of a fleet-agent").to_owned();
    let services = document["services"].as_object();
    let services = services.into_iter().flatten();
    let said: Vec<String> = services
        .map(|(service, stand)| format!("{service} {}", word(stand)))
        .collect();
    say!("{}  {}", word(&document["status"]), said.join(", "));
}

pub fn status(status: &NodeStatus) {
    let daemon = match status.daemon {
        Daemon::Running => "running",
        Daemon::Stopped => "stopped",
    };
    let coordinator = status.coordinator.as_deref().unwrap_or("none");
    say!("node {}  agent {daemon}  session {coordinator}", status.node);
    if let Some(drained) = status.drained {
        say!(
            "{}: nothing runs here until the node is undrained",
            drained.word()
        );
    }
    if status.history_waiting > 0 {
        say!(
            "{} acts that the coordinator has not been told",
            status.history_waiting
        );
    }
    if status.apps.is_empty() {
        say!("no app has been deployed here");
    }
    for view in &status.apps {
        app(view);
    }
}

fn app(view: &AppView) {
    let status = &view.status;
    let name = |release: Option<&fleet_proto::release::ReleaseRef>| {
        release.map_or_else(|| "nothing".to_owned(), ToString::to_string)
    };
    say!("");
    say!(
        "{}  runs {}  {}  last good {}",
        status.app,
        name(status.current.as_ref()),
        health(status),
        name(status.last_good.as_ref())
    );
    if let Some(step) = &status.step {
        say!("  rollout {}  {}", step.rollout, step.phase);
        if let Some(failure) = &step.failure {
            say!("  {}", failure.message);
            for line in &failure.log_tail {
                say!("    | {line}");
            }
        }
    }
    for component in &view.components {
        match component.pid {
            Some(pid) => say!(
                "  {}  pid {pid}  restarts {}",
                component.component,
                component.restarts
            ),
            None => say!(
                "  {}  does not run{}",
                component.component,
                component
                    .last_exit
                    .as_ref()
                    .map(|exit| format!(": it {exit}"))
                    .unwrap_or_default()
            ),
        }
    }
}

fn health(status: &AppStatus) -> String {
    match &status.health {
        Health::Empty => "empty".to_owned(),
        Health::Unknown => "health unknown".to_owned(),
        Health::Healthy => "healthy".to_owned(),
        Health::Unhealthy { why } => format!("unhealthy: {why}"),
    }
}

pub fn releases(releases: &[ReleaseView]) {
    if releases.is_empty() {
        say!("no release is on this node's disk");
    }
    for view in releases {
        say!(
            "{} {:<12} {}  {:>8}{}{}{}",
            view.app,
            view.release.version,
            view.release.digest.short(),
            view.bytes,
            if view.is_current { "  runs" } else { "" },
            if view.is_good { "  good" } else { "" },
            lives_in(view),
        );
    }
}

/// Said where it explains why a release is still on the disk.
fn lives_in(view: &ReleaseView) -> String {
    if view.is_current || view.in_use_by.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = view.in_use_by.iter().map(ComponentName::as_str).collect();
    format!("  kept for {}, unchanged since", names.join(", "))
}

pub fn rolled_back(moved: &RolledBack) {
    let from = moved
        .from
        .as_ref()
        .map_or_else(|| "nothing".to_owned(), ToString::to_string);
    say!("{}: from {from} to {}", moved.app, moved.to);
    match &moved.ill {
        None if moved.drained => say!("the node is drained: {} runs when it is undrained", moved.to),
        None => say!("{} runs and its checks pass", moved.to),
        Some(why) => say!("{} is not well: {why}", moved.to),
    }
}

pub fn doctor(findings: &[Finding]) {
    for finding in findings {
        let mark = if finding.is_well { "ok   " } else { "wrong" };
        say!("{mark}  {:<12} {}", finding.what, finding.says);
    }
}
