//! What `fleetctl dev` says: how to talk to the fleet, and what happened in the story.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::rollouts::count;
use super::table::Table;
use super::time::span;
use crate::dev::fleet::stop::Stopped;
use crate::dev::fleet::{ENVIRONMENT, Fleet, Ready};
use crate::dev::sample::APP;
use crate::dev::story::Tale;

/// Lines for `. DIR/env`.
pub fn env(fleet: &Fleet, ready: &Ready) -> String {
    let path = |path: &std::path::Path| path.display().to_string();
    let values = [
        ("FLEET_COORDINATOR", ready.address.clone()),
        ("FLEET_HTTP", ready.http.clone()),
        ("FLEET_IDENTITY", path(&fleet.layout.operator())),
        ("FLEET_APP", APP.to_owned()),
        ("FLEET_ENV", ENVIRONMENT.to_owned()),
        ("FLEET_RELEASE_KEY", path(&fleet.layout.release_key())),
        ("FLEET_DIR", path(fleet.layout.root())),
    ];
    let mut text = String::new();
    for (name, value) in &values {
        let _infallible = writeln!(text, "export {name}={}", quoted(value));
    }
    let directory = quoted(&path(&fleet.binaries.directory));
    let _infallible = writeln!(text, "export PATH={directory}:\"$PATH\"");
    text
}

/// For sh: nothing in single quotes means anything.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

pub fn ready(fleet: &Fleet, ready: &Ready) -> String {
    format!(
        "\nthe fleet is ready: {} in {}\nits dashboard: {}/\n\nin another terminal:\n  . {}\n  \
         fleetctl rollout v1.0.0 --waves 10,50,100\n  fleetctl rollout v1.1.0 --waves 10,50,100\n  \
         fleetctl rollout v1.2.0 --waves 10,50,100      it is sick, and is put back\n  fleetctl top\n  fleetctl dashboard                             the dashboard, as the admin\n\n\
         Ctrl-C stops everything",
        count(fleet.nodes.len(), "node"),
        fleet.layout.root().display(),
        ready.http,
        quoted(&fleet.layout.env().display().to_string())
    )
}

/// `ended in fleet: 1 coordinator, 10 agents, 10 keepers, 10 apps`
pub fn stopped(stopped: &Stopped) -> String {
    let directory = stopped.directory.display();
    if stopped.ended.is_empty() {
        return format!("nothing runs in {directory}");
    }
    let mut parts: Vec<(&str, usize)> = Vec::new();
    for ended in &stopped.ended {
        match parts.iter_mut().find(|(part, _)| *part == ended.part) {
            Some((_, number)) => *number += 1,
            None => parts.push((ended.part, 1)),
        }
    }
    let each: Vec<String> = parts
        .into_iter()
        .map(|(part, number)| count(number, part))
        .collect();
    format!("ended in {directory}: {}", each.join(", "))
}

pub fn tale(tale: &Tale) -> String {
    let mut table = Table::new(&["rollout", "release", "waves", "outcome", "seconds", "nodes moved"]);
    for chapter in &tale.chapters {
        let remark = if chapter.as_it_should {
            ""
        } else {
            " (not as it should be)"
        };
        table.row(vec![
            format!("#{}", chapter.rollout),
            chapter.release.clone(),
            chapter.waves.clone(),
            format!("{}{remark}", chapter.outcome),
            format!("{:.1}", chapter.seconds),
            chapter.nodes.to_string(),
        ]);
    }
    let mut served: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in &tale.answers {
        *served
            .entry(answer.version.as_deref().unwrap_or("nothing"))
            .or_default() += 1;
    }
    let served: Vec<String> = served
        .iter()
        .map(|(version, nodes)| format!("{} served {version}", count(*nodes, "node")))
        .collect();
    let end = if tale.as_it_should {
        "all of it as it should be"
    } else {
        "not all of it as it should be"
    };
    format!(
        "\n{}asked over HTTP, {}; {end}, in {}",
        table.print(),
        served.join(", "),
        span(tale.took())
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotes_survive_a_shell() {
        assert_eq!(super::quoted("/tmp/it's here"), r"'/tmp/it'\''s here'");
    }
}
