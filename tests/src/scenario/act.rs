//! What each command does.

use anyhow::Context;
use fleet_coordinator::rollout::input::{Intent, Refusal, Reply, Request, RollBack};
use fleet_coordinator::rollout::plan::plan;
use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::quantity::Span;
use fleet_proto::release::{OnFailure, Strategy};
use fleet_proto::session::{HistoryCause, Phase};
use fleet_proto::version::Version;

use super::words::Words;
use super::{Stage, show};
use crate::sim::node::{Fate, SimNode};
use crate::sim::world::app;

impl Stage {
    pub(super) fn play(&mut self, line: &str) -> anyhow::Result<String> {
        let mut words = Words::of(line)?;
        let shown = match words.next("a command")?.as_str() {
            "fleet" => self.fleet(&mut words)?,
            "node" => self.node(&mut words)?,
            "every" => self.every(&mut words)?,
            "release" => {
                let version = words.parse("a version")?;
                self.world.push(&version, Strategy::default())?;
                self.shown = self.world.state.position;
                String::new()
            }
            "rollout" => {
                let intent = intent(&mut words)?;
                self.ask(Request::StartRollout(intent))?
            }
            "plan" => {
                let intent = intent(&mut words)?;
                match plan(&self.world.state, &intent) {
                    Ok((plan, _)) => show::plan(&plan),
                    Err(refusal) => refused(&refusal),
                }
            }
            "pause" => {
                let number = RolloutNumber(words.parse("a number")?);
                self.ask(Request::Pause { number, reason: None })?
            }
            "resume" => {
                let number = RolloutNumber(words.parse("a number")?);
                let waves = words.option("waves")?;
                self.ask(Request::Resume { number, waves })?
            }
            "abort" => {
                let number = RolloutNumber(words.parse("a number")?);
                self.ask(Request::Abort { number, reason: None })?
            }
            "rollback" => self.roll_back(&mut words)?,
            "kill" => {
                words.must_be("coordinator")?;
                self.world.kill_coordinator()?;
                String::new()
            }
            "start" => {
                words.must_be("coordinator")?;
                self.world.start_coordinator()?;
                self.news()
            }
            "settle" => {
                self.world.settle()?;
                self.news()
            }
            "advance" => {
                self.world.advance(words.parse("a duration")?)?;
                self.news()
            }
            "show" => self.show(&mut words)?,
            "expect" => {
                self.expect(&mut words)?;
                String::new()
            }
            other => anyhow::bail!("`{other}` is no command; there are:\n{}", super::COMMANDS),
        };
        words.must_end()?;
        Ok(shown)
    }

    fn fleet(&mut self, words: &mut Words) -> anyhow::Result<String> {
        words.must_be("of")?;
        let count: usize = words.parse("a number")?;
        words.must_be("in")?;
        words.must_be("zones")?;
        let mut zones = Vec::new();
        while !words.is_at_end() {
            zones.push(words.next("a zone")?);
        }
        anyhow::ensure!(!zones.is_empty(), "expected a zone");
        for i in 0..count {
            let id = format!("n{:02}", i + 1).parse()?;
            self.world.enrol(&id, &zones[i % zones.len()])?;
        }
        self.shown = self.world.state.position;
        Ok(String::new())
    }

    fn node(&mut self, words: &mut Words) -> anyhow::Result<String> {
        let id: NodeId = words.parse("a node")?;
        match words.next("what it does")?.as_str() {
            "joins" => {
                words.must_be("zone")?;
                let zone = words.next("a zone")?;
                self.world.enrol(&id, &zone)?;
                self.shown = self.world.state.position;
            }
            "leaves" => self.world.disconnect(&id)?,
            "returns" => self.world.connect(&id)?,
            "fails" => {
                let fate = fate(words)?;
                self.world.node(&id)?.fates.push(fate);
            }
            "rolls" => {
                words.must_be("back")?;
                let now = self.world.now;
                roll_back_by_hand(self.world.node(&id)?, now)?;
                if self.world.node(&id)?.connected {
                    self.world.report(&id)?;
                }
            }
            "is" => return self.node_is(&id, words),
            other => anyhow::bail!("a node does not `{other}`"),
        }
        Ok(String::new())
    }

    fn node_is(&mut self, id: &NodeId, words: &mut Words) -> anyhow::Result<String> {
        match words.next("ill, well or revoked")?.as_str() {
            "ill" => self.world.node(id)?.ill = Some(words.next("why")?),
            "well" => {
                let node = self.world.node(id)?;
                node.ill = None;
                node.fates.clear();
            }
            "revoked" => {
                let node = id.clone();
                let reason = "stolen".to_owned();
                let shown = self.ask(Request::RevokeNode { node, reason })?;
                self.world.node(id)?.connected = false;
                return Ok(shown);
            }
            other => anyhow::bail!("a node is ill, well or revoked, and not `{other}`"),
        }
        if self.world.node(id)?.connected {
            self.world.report(id)?;
        }
        Ok(String::new())
    }

    fn every(&mut self, words: &mut Words) -> anyhow::Result<String> {
        words.must_be("node")?;
        words.must_be("fails")?;
        let fate = fate(words)?;
        for node in self.world.nodes.values_mut() {
            node.fates.push(fate.clone());
        }
        Ok(String::new())
    }

    fn roll_back(&mut self, words: &mut Words) -> anyhow::Result<String> {
        let to = |words: &mut Words| words.option::<Version>("to");
        let mut request = RollBack {
            to: to(words)?,
            ..RollBack::default()
        };
        if request.to.is_none() && !words.is_at_end() {
            request.number = Some(RolloutNumber(words.parse("a number")?));
            request.to = to(words)?;
        }
        self.ask(Request::RollBack(request))
    }

    fn ask(&mut self, request: Request) -> anyhow::Result<String> {
        match self.world.request(request)? {
            Ok(Reply::Rollout(number)) => Ok(number.to_string()),
            Ok(_) => Ok(String::new()),
            Err(refusal) => Ok(refused(&refusal)),
        }
    }
}

fn refused(refusal: &Refusal) -> String {
    match &refusal.hint {
        Some(hint) => format!("refused: {}\nhint: {hint}", refusal.message),
        None => format!("refused: {}", refusal.message),
    }
}

fn intent(words: &mut Words) -> anyhow::Result<Intent> {
    let mut intent = Intent {
        app: Some(app()?),
        version: Some(words.parse("a version")?),
        ..Intent::default()
    };
    while !words.is_at_end() {
        match words.next("an option")?.as_str() {
            "waves" => intent.waves = Some(words.parse("waves")?),
            "bake" => {
                let bakes = words.next("durations")?;
                intent.bake = bakes
                    .split(',')
                    .map(str::parse)
                    .collect::<Result<Vec<Span>, _>>()?;
            }
            "max_in_flight" => intent.max_in_flight = Some(words.parse("an amount")?),
            "max_unavailable" => intent.max_unavailable = Some(words.parse("an amount")?),
            "max_failures" => intent.max_failures = Some(words.parse("an amount")?),
            "max_unreachable" => intent.max_unreachable = Some(words.parse("an amount")?),
            "canary" => intent.canary = Some(words.parse("a selector")?),
            "select" => intent.select = words.parse("a selector")?,
            "on_failure" => {
                intent.on_failure = Some(match words.next("pause or rollback")?.as_str() {
                    "pause" => OnFailure::Pause,
                    "rollback" => OnFailure::Rollback,
                    other => anyhow::bail!("on_failure is pause or rollback, and not `{other}`"),
                });
            }
            other => anyhow::bail!("a rollout has no `{other}`"),
        }
    }
    Ok(intent)
}

fn fate(words: &mut Words) -> anyhow::Result<Fate> {
    let phase = match words.next("fetch, verify or bake")?.as_str() {
        "fetch" => Phase::Fetching,
        "verify" => Phase::Verifying,
        "bake" => Phase::Baking,
        other => anyhow::bail!("a node fails fetch, verify or bake, and not `{other}`"),
    };
    Ok(Fate {
        phase,
        version: words.option("of")?,
        after: words.option("after")?.unwrap_or(Span::ZERO),
        message: words.next("why")?,
    })
}

/// As `fleet-agent rollback` does, on the node and with nobody's leave.
fn roll_back_by_hand(node: &mut SimNode, now: fleet_proto::time::Timestamp) -> anyhow::Result<()> {
    let app = app()?;
    let record = node.ledger.apps.get_mut(&app).context("it runs nothing")?;
    let moved = record.put_back_by_hand(None)?;
    let message = "put back by hand on the node".to_owned();
    let (from, to) = (moved.from, Some(moved.to));
    let cause = HistoryCause::ByHand;
    node.ledger.record(&app, from, to, cause, message, now);
    Ok(())
}
