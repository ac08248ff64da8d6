//! Events: one a line, in the order of the journal.

use fleet_proto::view::EventView;

pub fn line(event: &EventView) -> String {
    let rollout = event
        .rollout
        .map_or(String::new(), |rollout| format!("{rollout} "));
    let node = event
        .node
        .as_ref()
        .map_or(String::new(), |node| format!("{node} "));
    format!(
        "{:>6} {} {rollout}{node}{}",
        event.position, event.at, event.message
    )
}
