//! What becomes of nodes, by themselves and by people.

use anyhow::Context;
use fleet_coordinator::rollout::event::Tenure;
use fleet_coordinator::rollout::input::Request;
use fleet_coordinator::rollout::requests::drain::Limit;
use fleet_proto::ids::NodeId;
use fleet_proto::labels::{Labels, parse_label};
use fleet_proto::migration::MigrationStand;
use fleet_proto::quantity::Span;
use fleet_proto::session::{HistoryCause, Phase};

use super::Stage;
use super::words::Words;
use crate::sim::node::{Fate, SimNode};
use crate::sim::world::app;

impl Stage {
    pub(super) fn node(&mut self, words: &mut Words) -> anyhow::Result<String> {
        let id: NodeId = words.parse("a node")?;
        match words.next("what it does")?.as_str() {
            "joins" => {
                words.must_be("zone")?;
                let zone = words.next("a zone")?;
                let tenure = match words.takes("ephemeral") {
                    true => Tenure::Ephemeral,
                    false => Tenure::Lasting,
                };
                self.world.enrol(&id, &zone, tenure)?;
                self.shown = self.world.state.position;
            }
            "leaves" => self.world.disconnect(&id)?,
            "returns" => self.world.connect(&id)?,
            "restarts" => {
                self.world.node(&id)?.restart();
                if self.world.node(&id)?.connected {
                    self.world.connect(&id)?;
                }
            }
            "finds" => {
                words.must_be("the")?;
                words.must_be("migration")?;
                self.world.node(&id)?.database = Some(match words.next("done or not-done")?.as_str() {
                    "done" => MigrationStand::Done,
                    "not-done" => MigrationStand::NotStarted,
                    other => anyhow::bail!("a migration is done or not-done, and not `{other}`"),
                });
            }
            "hangs" => {
                let fate = hanging(words)?;
                self.world.node(&id)?.fates.push(fate);
            }
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
            "has" => {
                let (key, value) = parse_label(&words.next("a label")?)?;
                let (set, remove) = (Labels::from([(key, value)]), vec![]);
                let node = id;
                let request = Request::LabelNode { node, set, remove };
                return self.ask(request);
            }
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
            "cordoned" => {
                let node = id.clone();
                let reason = Some(words.next("why")?);
                return self.ask(Request::CordonNode { node, reason });
            }
            "drained" => return self.drain(id, words),
            "undrained" => return self.ask(Request::UndrainNode { node: id.clone() }),
            "uncordoned" => return self.ask(Request::UncordonNode { node: id.clone() }),
            "set" => {
                words.must_be("up")?;
                words.must_be("anew")?;
                self.world.set_up_anew(id)?;
                return Ok(String::new());
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

    pub(super) fn every(&mut self, words: &mut Words) -> anyhow::Result<String> {
        words.must_be("node")?;
        let fate = match words.next("fails or hangs")?.as_str() {
            "fails" => fate(words)?,
            "hangs" => hanging(words)?,
            other => anyhow::bail!("every node fails or hangs, and does not `{other}`"),
        };
        for node in self.world.nodes.values_mut() {
            node.fates.push(fate.clone());
        }
        Ok(String::new())
    }

    fn drain(&mut self, id: &NodeId, words: &mut Words) -> anyhow::Result<String> {
        let node = id.clone();
        let reason = Some(words.next("why")?);
        let limit = match words.takes("force") {
            true => Limit::Override,
            false => Limit::Keep,
        };
        self.ask(Request::DrainNode { node, reason, limit })
    }
}

/// It comes to no end.
fn hanging(words: &mut Words) -> anyhow::Result<Fate> {
    words.must_be("in")?;
    let phase = phase(words)?;
    Ok(Fate {
        version: words.option("of")?,
        phase,
        message: String::new(),
        after: Span::from_secs(u32::MAX.into()),
        hangs: true,
    })
}

fn phase(words: &mut Words) -> anyhow::Result<Phase> {
    Ok(match words.next("a phase")?.as_str() {
        "fetch" => Phase::Fetching,
        "migrate" => Phase::Migrating,
        "activate" => Phase::Activating,
        "verify" => Phase::Verifying,
        "bake" => Phase::Baking,
        "rollback" => Phase::RollingBack,
        "commit" => Phase::Done,
        other => anyhow::bail!(
            "fetch, migrate, activate, verify, bake, commit and rollback can go wrong, and not `{other}`"
        ),
    })
}

fn fate(words: &mut Words) -> anyhow::Result<Fate> {
    let phase = phase(words)?;
    Ok(Fate {
        hangs: false,
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
