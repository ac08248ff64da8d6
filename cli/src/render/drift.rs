//! Drift: one line a finding, and one for what is not known.

use fleet_proto::session::drift::Finding;
use fleet_proto::view::NodeDriftView;

use super::rollouts::count;

/// How many nodes were found how.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub nodes: usize,
    /// Not all of them was looked at, or nothing.
    pub unknown: usize,
    pub drifted: usize,
}

impl Tally {
    pub fn add(&mut self, node: &NodeDriftView) {
        self.nodes += 1;
        self.unknown += usize::from(!node.unknown.is_empty());
        self.drifted += usize::from(!node.findings.is_empty() || node.more > 0);
    }

    pub fn sentence(&self) -> String {
        let Self {
            nodes,
            unknown,
            drifted,
        } = self;
        let asked = count(*nodes, "node");
        match (unknown, drifted) {
            (0, 0) => format!("{asked} asked: all as Fleet left it"),
            (0, drifted) => format!("{asked} asked: {drifted} drifted"),
            (unknown, drifted) => format!("{asked} asked: {drifted} drifted, {unknown} not known"),
        }
    }
}

/// Empty where there is nothing to say.
pub fn node(node: &NodeDriftView) -> String {
    let mut lines: Vec<String> = node.findings.iter().map(|found| finding(node, found)).collect();
    if node.more > 0 {
        lines.push(format!("{} {} more", node.node, node.more));
    }
    lines.extend(
        node.unknown
            .iter()
            .map(|why| format!("{} not known: {why}", node.node)),
    );
    lines.join("\n")
}

fn finding(node: &NodeDriftView, finding: &Finding) -> String {
    let of = match &finding.component {
        Some(component) => format!("{}/{component}", finding.app),
        None => finding.app.to_string(),
    };
    format!(
        "{} {of} {} {}: expected {}; found {}; hint: {}",
        node.node,
        finding.what.word(),
        finding.subject,
        finding.expected,
        finding.found,
        finding.mend
    )
}
