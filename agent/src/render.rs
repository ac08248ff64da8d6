//! The only place that prints. Data goes to stdout, everything else to stderr.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is what the commands say to people"
)]

use fleet_proto::ids::ComponentName;
use fleet_proto::session::{AppStatus, Health};
use serde::Serialize;

use crate::doctor::Finding;
use crate::local::RolledBack;
use crate::status::{AppView, Daemon, NodeStatus, ReleaseView};

pub fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("error: cannot write this as JSON: {error}"),
    }
}

pub fn note(text: &str) {
    eprintln!("{text}");
}

pub fn status(status: &NodeStatus) {
    let daemon = match status.daemon {
        Daemon::Running => "running",
        Daemon::Stopped => "stopped",
    };
    let coordinator = status.coordinator.as_deref().unwrap_or("none");
    println!("node {}  agent {daemon}  session {coordinator}", status.node);
    if let Some(drained) = status.drained {
        println!(
            "{}: nothing runs here until the node is undrained",
            drained.word()
        );
    }
    if status.history_waiting > 0 {
        println!(
            "{} acts that the coordinator has not been told",
            status.history_waiting
        );
    }
    if status.apps.is_empty() {
        println!("no app has been deployed here");
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
    println!();
    println!(
        "{}  runs {}  {}  last good {}",
        status.app,
        name(status.current.as_ref()),
        health(status),
        name(status.last_good.as_ref())
    );
    if let Some(step) = &status.step {
        println!("  rollout {}  {}", step.rollout, step.phase);
        if let Some(failure) = &step.failure {
            println!("  {}", failure.message);
            for line in &failure.log_tail {
                println!("    | {line}");
            }
        }
    }
    for component in &view.components {
        match component.pid {
            Some(pid) => println!(
                "  {}  pid {pid}  restarts {}",
                component.component, component.restarts
            ),
            None => println!(
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
        println!("no release is on this node's disk");
    }
    for view in releases {
        println!(
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
    println!("{}: from {from} to {}", moved.app, moved.to);
    match &moved.ill {
        None if moved.drained => println!("the node is drained: {} runs when it is undrained", moved.to),
        None => println!("{} runs and its checks pass", moved.to),
        Some(why) => println!("{} is not well: {why}", moved.to),
    }
}

pub fn doctor(findings: &[Finding]) {
    for finding in findings {
        let mark = if finding.is_well { "ok   " } else { "wrong" };
        println!("{mark}  {:<12} {}", finding.what, finding.says);
    }
}
