//! Nodes, in a table and one by one.

use std::fmt::Write;

use fleet_proto::labels::Labels;
use fleet_proto::session::Health;
use fleet_proto::time::Timestamp;
use fleet_proto::view::{ConnectionView, DrainView, NodeAppView, NodeView};

use super::paint::Paint;
use super::rollouts::count;
use super::table::Table;
use super::time::ago;

pub fn table(nodes: &[NodeView], now: Timestamp, paint: Paint) -> String {
    let mut table = Table::new(&[
        "node",
        "connection",
        "labels",
        "app",
        "runs",
        "last good",
        "health",
    ]);
    for node in nodes {
        let head = [
            node.node.to_string(),
            standing(node, now, paint),
            labels(&node.labels),
        ];
        if node.apps.is_empty() {
            table.row(head.to_vec());
        }
        for (i, app) in node.apps.iter().enumerate() {
            let mut row = if i == 0 {
                head.to_vec()
            } else {
                vec![String::new(); head.len()]
            };
            row.extend(app_cells(app, paint));
            table.row(row);
        }
    }
    if table.is_empty() {
        return "no node yet; `fleetctl token create` lets one in".to_owned();
    }
    table.print()
}

fn app_cells(app: &NodeAppView, paint: Paint) -> [String; 4] {
    let or_dash = |release: &Option<fleet_proto::release::ReleaseRef>| {
        release
            .as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    [
        app.app.to_string(),
        or_dash(&app.current),
        or_dash(&app.last_good),
        paint.health(&app.health),
    ]
}

pub fn labels(labels: &Labels) -> String {
    let each: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    each.join(",")
}

/// How it is connected, and whether it is let alone.
fn standing(node: &NodeView, now: Timestamp, paint: Paint) -> String {
    let connection = connection(&node.connection, now, paint);
    if let Some(drained) = node.drained {
        return format!("{connection}, {}", paint.waits(drained.word()));
    }
    match node.cordon {
        Some(_) => format!("{connection}, {}", paint.waits("cordoned")),
        None => connection,
    }
}

fn connection(connection: &ConnectionView, now: Timestamp, paint: Paint) -> String {
    match connection {
        ConnectionView::Connected => paint.good("connected"),
        ConnectionView::Silent { since } => paint.waits(&format!("silent, {}", ago(*since, now))),
        ConnectionView::Unreachable { since } => paint.bad(&format!("unreachable, {}", ago(*since, now))),
        ConnectionView::Revoked { at } => paint.bad(&format!("revoked, {}", ago(*at, now))),
        ConnectionView::Expired { at } => paint.waits(&format!("expired, {}", ago(*at, now))),
    }
}

/// One node, in full.
pub fn node(node: &NodeView, now: Timestamp, paint: Paint) -> String {
    let mut text = format!(
        "node {}: {}\nlabels {}\nplatform {}, enrolled {}",
        paint.strong(node.node.as_str()),
        connection(&node.connection, now, paint),
        labels(&node.labels),
        node.platform,
        node.enrolled_at
    );
    let who = node.cordon.as_deref().unwrap_or_default();
    if let Some(drained) = node.drained {
        let so = match drained {
            DrainView::Draining => "the node has not said yet that its apps are stopped",
            DrainView::Drained => "its apps are stopped",
        };
        let _infallible = write!(text, "\n{who}; {so}\nhint: fleetctl node undrain {}", node.node);
    } else if node.cordon.is_some() {
        let _infallible = write!(
            text,
            "\n{who}; nothing new is brought to it\nhint: fleetctl node uncordon {}",
            node.node
        );
    }
    if let Some(facts) = &node.facts {
        let agent = node.agent_version.as_deref().unwrap_or("unknown");
        let free = node.vitals.as_ref().map(|vitals| vitals.disk_free);
        let _infallible = write!(
            text,
            "\nhost {}, kernel {}, {}, {} memory, {} of {} free on disk, up since {} ({})\nagent {agent}",
            facts.hostname,
            facts.kernel,
            count(usize::try_from(facts.cpus).unwrap_or(usize::MAX), "core"),
            facts.memory,
            free.unwrap_or(facts.disk_free),
            facts.disk,
            facts.booted_at,
            ago(facts.booted_at, now)
        );
    }
    if let Some(vitals) = &node.vitals {
        let _infallible = write!(
            text,
            "\nnow {}% of the processors, {}% of the memory",
            vitals.cpu_percent, vitals.memory_percent
        );
        for on_disk in &vitals.releases {
            let runs =
                |app: &NodeAppView| app.app == on_disk.app && app.current.as_ref() == Some(&on_disk.release);
            let current = if node.apps.iter().any(runs) {
                ", current"
            } else {
                ""
            };
            let _infallible = write!(text, "\non disk {} {}{current}", on_disk.app, on_disk.release);
        }
    }
    for app in &node.apps {
        let [name, current, last_good, health] = app_cells(app, paint);
        let _infallible = write!(
            text,
            "\napp {name}: runs {current}, last good {last_good}, {health}"
        );
        if let Health::Unhealthy { why } = &app.health {
            let _infallible = write!(text, ": {why}");
        }
        if let (Some(phase), Some(rollout)) = (app.phase, app.rollout) {
            let _infallible = write!(text, "; {} in rollout {rollout}", paint.phase(phase));
        }
    }
    text
}
