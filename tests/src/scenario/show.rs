//! What a script shows, and what it expects.

use std::fmt::Write;

use fleet_coordinator::rollout::decide::decide_rollout;
use fleet_coordinator::rollout::gate::{Gate, Verdict};
use fleet_coordinator::rollout::plan::Plan;
use fleet_coordinator::rollout::state::Rollout;
use fleet_coordinator::rollout::view;
use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::session::Health;
use fleet_proto::time::Timestamp;
use fleetctl::render::explain::explain;
use fleetctl::render::paint::Paint;

use super::Stage;
use super::words::Words;
use crate::sim::world::app;

/// Said of nodes all the time, and told by other lines.
const NOT_SHOWN: [&str; 3] = ["node-reported", "node-connected", "took-charge"];

impl Stage {
    /// What happened since it was last shown, nodes with the same news in one line.
    pub(super) fn news(&mut self) -> String {
        let mut lines: Vec<(Timestamp, String, Vec<NodeId>)> = Vec::new();
        for stamped in self.world.told_since(self.shown) {
            let event = view::event(stamped);
            if NOT_SHOWN.contains(&event.kind.as_str()) {
                continue;
            }
            let told = event.node.as_ref().and_then(|node| {
                let rest = event.message.strip_prefix(node.as_str())?.strip_prefix(' ')?;
                Some((node.clone(), rest.to_owned()))
            });
            match (told, lines.last_mut()) {
                (Some((node, rest)), Some((at, known, nodes)))
                    if *at == event.at && *known == rest && !nodes.is_empty() =>
                {
                    nodes.push(node);
                }
                (Some((node, rest)), _) => lines.push((event.at, rest, vec![node])),
                (None, _) => lines.push((event.at, event.message, vec![])),
            }
        }
        self.shown = self.world.state.position;
        let mut text = String::new();
        for (at, what, nodes) in lines {
            let who: Vec<&str> = nodes.iter().map(NodeId::as_str).collect();
            let what = if nodes.len() > 1 { of_several(&what) } else { what };
            let line = format!("{} {what}", who.join(" "));
            let _infallible = writeln!(text, "{} {}", clock(at), line.trim_start());
        }
        text
    }

    pub(super) fn show(&mut self, words: &mut Words) -> anyhow::Result<String> {
        match words.next("rollout, waiting or nodes")?.as_str() {
            "rollout" => {
                let rollout = self.rollout(words)?;
                let mut text = format!("{} {}", rollout.number, rollout.course.word());
                for (i, wave) in rollout.plan.waves.iter().enumerate() {
                    let _infallible = write!(text, "\n  wave {}:", i + 1);
                    for node in &wave.nodes {
                        let phase = rollout.steps.get(node).map_or("?", |step| step.phase.word());
                        let _infallible = write!(text, " {node} {phase}");
                    }
                }
                Ok(text)
            }
            "waiting" => {
                let rollout = self.rollout(words)?;
                let decision = decide_rollout(&self.world.state, rollout, self.world.now);
                let mut text = String::new();
                for waiting in decision.waiting {
                    let since = waiting
                        .since
                        .map_or(String::new(), |at| format!(" since {}", clock(at)));
                    let until = waiting
                        .until
                        .map_or(String::new(), |at| format!(" until {}", clock(at)));
                    let hint = waiting
                        .hint
                        .map_or(String::new(), |hint| format!("; hint: {hint}"));
                    let _infallible = writeln!(text, "{}{since}{until}{hint}", waiting.what);
                }
                Ok(text)
            }
            "nodes" => self.nodes(),
            other => anyhow::bail!("`{other}` cannot be shown"),
        }
    }

    /// As `fleetctl explain` prints it.
    pub(super) fn explain(&mut self, words: &mut Words) -> anyhow::Result<String> {
        let (state, now) = (&self.world.state, self.world.now);
        let seen = view::rollout(state, self.rollout(words)?, now);
        Ok(explain(&seen, Paint::PLAIN))
    }

    fn nodes(&self) -> anyhow::Result<String> {
        let app = app()?;
        let mut text = String::new();
        for (id, node) in &self.world.state.nodes {
            let stands = node.app(&app);
            let runs = stands
                .and_then(|app| app.current.as_ref())
                .map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let good = stands
                .and_then(|app| app.last_good.as_ref())
                .map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let health = match stands.map(|app| &app.health) {
                None | Some(Health::Empty) => "empty".to_owned(),
                Some(Health::Unknown) => "unknown".to_owned(),
                Some(Health::Healthy) => "healthy".to_owned(),
                Some(Health::Unhealthy { why }) => format!("unhealthy: {why}"),
            };
            let there = if node.is_connected() {
                ""
            } else {
                ", not connected"
            };
            let _infallible = writeln!(text, "{id} runs {runs}, last good {good}, {health}{there}");
        }
        Ok(text)
    }

    pub(super) fn expect(&mut self, words: &mut Words) -> anyhow::Result<()> {
        if words.takes("rollout") {
            let rollout = self.rollout(words)?;
            let expected = words.next("a state")?;
            let found = rollout.course.word();
            anyhow::ensure!(
                found == expected,
                "rollout {} is {found}, expected {expected}",
                rollout.number
            );
            return Ok(());
        }
        let nodes: Vec<NodeId> = if words.takes("every") {
            words.must_be("node")?;
            self.world.nodes.keys().cloned().collect()
        } else {
            vec![words.parse("a node")?]
        };
        words.must_be("runs")?;
        let expected = words.next("a version")?;
        for id in nodes {
            let record = self.world.node(&id)?.ledger.apps.get(&app()?);
            let found = record
                .and_then(|record| record.current_release())
                .map_or_else(|| "nothing".to_owned(), ToString::to_string);
            anyhow::ensure!(found == expected, "{id} runs {found}, expected {expected}");
        }
        Ok(())
    }

    fn rollout(&self, words: &mut Words) -> anyhow::Result<&Rollout> {
        let number = RolloutNumber(words.parse("a rollout's number")?);
        let found = self.world.state.rollouts.get(&number);
        found.ok_or_else(|| anyhow::anyhow!("there is no rollout {number}"))
    }
}

pub(super) fn plan(plan: &Plan, gates: &[Gate]) -> String {
    let mut text = String::new();
    for gate in gates {
        if let Verdict::Shut { why } | Verdict::Waiting { why, .. } = &gate.verdict {
            let _infallible = writeln!(text, "gate {}: {why}", gate.name);
        }
    }
    for (i, wave) in plan.waves.iter().enumerate() {
        let nodes: Vec<&str> = wave.nodes.iter().map(NodeId::as_str).collect();
        let _infallible = writeln!(
            text,
            "wave {} to {}, bake {}: {}",
            i + 1,
            wave.reach,
            wave.bake,
            nodes.join(" ")
        );
    }
    if !plan.dropped.is_empty() {
        let _infallible = writeln!(text, "adds nobody: {}", plan.dropped.join(", "));
    }
    if !plan.held_back.is_empty() {
        let nodes: Vec<&str> = plan.held_back.iter().map(NodeId::as_str).collect();
        let _infallible = writeln!(text, "held back: {}", nodes.join(" "));
    }
    for left_out in &plan.left_out {
        let _infallible = writeln!(text, "left out: {}, {}", left_out.node, left_out.why);
    }
    text
}

fn of_several(what: &str) -> String {
    for (one, many) in [("was ", "were "), ("is ", "are ")] {
        if let Some(rest) = what.strip_prefix(one) {
            let rest = rest.replace("its last good", "their last good");
            return format!("{many}{rest}");
        }
    }
    what.to_owned()
}

/// `12:05:00`, as the journal has it.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.split(['T', '.']).nth(1).unwrap_or_default().to_owned()
}
