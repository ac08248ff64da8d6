//! What each command does.

use anyhow::Context;
use fleet_coordinator::rollout::event::{CatchUp, Urgency};
use fleet_coordinator::rollout::gate::{Asked, WithActive, WithKnownBad, before_rollout};
use fleet_coordinator::rollout::input::{Definition, Intent, Refusal, Reply, Request, Retry, RollBack};
use fleet_coordinator::rollout::plan::plan;
use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::labels::{Labels, Selector, parse_label};
use fleet_proto::migration::{MigrationPlan, MigrationStand, Undo};
use fleet_proto::quantity::Span;
use fleet_proto::release::{OnFailure, Strategy};
use fleet_proto::session::{HistoryCause, Phase};
use fleet_proto::version::Version;

use super::words::Words;
use super::{Stage, show};
use crate::sim::node::{Fate, SimNode};
use crate::sim::world::{ENVIRONMENT, app};

impl Stage {
    pub(super) fn play(&mut self, line: &str) -> anyhow::Result<String> {
        let mut words = Words::of(line)?;
        let shown = match words.next("a command")?.as_str() {
            "fleet" => self.fleet(&mut words)?,
            "node" => self.node(&mut words)?,
            "every" => self.every(&mut words)?,
            "release" => {
                let version = words.parse("a version")?;
                let (strategy, migration) = strategy(&mut words)?;
                self.world.push(&version, strategy, migration)?;
                self.shown = self.world.state.position;
                String::new()
            }
            "rollout" => {
                let intent = self.intent(&mut words)?;
                self.ask(Request::StartRollout(intent))?
            }
            "plan" => {
                let intent = self.intent(&mut words)?;
                match plan(&self.world.state, &intent) {
                    Ok((plan, release)) => {
                        let asked = Asked {
                            app: &plan.app,
                            environment: &plan.environment,
                            release: Some(&release),
                            leaves: &[],
                            insistence: intent.insistence,
                        };
                        let gates = before_rollout(&self.world.state, &asked);
                        show::plan(&plan, &gates)
                    }
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
            "migration" => {
                let number = RolloutNumber(words.parse("a number")?);
                let stand = match words.next("done or not-done")?.as_str() {
                    "done" => MigrationStand::Done,
                    "not-done" => MigrationStand::NotStarted,
                    other => anyhow::bail!("a migration is done or not-done, and not `{other}`"),
                };
                self.ask(Request::ResolveMigration { number, stand })?
            }
            "retry" => {
                let number = RolloutNumber(words.parse("a number")?);
                let known_bad = known_bad(&mut words);
                let reason = None;
                self.ask(Request::Retry(Retry {
                    number,
                    known_bad,
                    reason,
                }))?
            }
            "halt" | "unhalt" => self.halt(line, &mut words)?,
            "rollback" => self.roll_back(&mut words)?,
            "environment" => {
                self.environment(&mut words)?;
                String::new()
            }
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
            "explain" => self.explain(&mut words)?,
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
        let mut request = RollBack::default();
        while words.takes("emergency") {
            request.urgency = Urgency::Emergency;
            request.reason = Some(words.next("why")?);
        }
        request.known_bad = known_bad(words);
        request.to = to(words)?;
        if request.to.is_none() && !words.is_at_end() {
            request.number = Some(RolloutNumber(words.parse("a number")?));
            request.to = to(words)?;
        }
        self.ask(Request::RollBack(request))
    }

    fn halt(&mut self, line: &str, words: &mut Words) -> anyhow::Result<String> {
        let environment = words.option("environment")?;
        if line.starts_with("unhalt") {
            return self.ask(Request::Unhalt { environment });
        }
        let reason = Some(words.next("why")?);
        self.ask(Request::Halt { environment, reason })
    }

    /// Nodes with these labels are in it; the one that was there before takes the others.
    fn environment(&mut self, words: &mut Words) -> anyhow::Result<()> {
        let name = words.parse("a name")?;
        let mut definition = Definition::from(words.option::<Selector>("select")?.unwrap_or_default());
        if words.takes("catch_up") {
            definition.catch_up = match words.next("auto or manual")?.as_str() {
                "auto" => CatchUp::Auto,
                "manual" => CatchUp::Manual,
                other => anyhow::bail!("catch_up is auto or manual, and not `{other}`"),
            };
        }
        self.world.define(name, definition)
    }

    pub(super) fn ask(&mut self, request: Request) -> anyhow::Result<String> {
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

impl Stage {
    fn intent(&self, words: &mut Words) -> anyhow::Result<Intent> {
        let mut intent = intent(words)?;
        // Where there are several, a script says which, or means the first one.
        intent.environment.get_or_insert(ENVIRONMENT.parse()?);
        Ok(intent)
    }
}

/// What a release says of itself, as far as scripts vary it.
fn strategy(words: &mut Words) -> anyhow::Result<(Strategy, Option<MigrationPlan>)> {
    let mut strategy = Strategy::default();
    let mut migration: Option<MigrationPlan> = None;
    while !words.is_at_end() {
        match words.next("an option")?.as_str() {
            "retries" => strategy.retries = words.parse("a number")?,
            "progress_deadline" => strategy.progress_deadline = words.parse("a duration")?,
            "fetch_deadline" => strategy.fetch_deadline = words.parse("a duration")?,
            "activate_deadline" => strategy.activate_deadline = words.parse("a duration")?,
            "put_back_deadline" => strategy.put_back_deadline = words.parse("a duration")?,
            "migration" => migration.get_or_insert_default().undo = undo(words)?,
            "status" => migration.get_or_insert_default().has_status = true,
            "contract" => migration.get_or_insert_default().has_contract = true,
            other => anyhow::bail!("a release has no `{other}`"),
        }
    }
    Ok((strategy, migration))
}

fn undo(words: &mut Words) -> anyhow::Result<Undo> {
    Ok(match words.next("keep, down or never")?.as_str() {
        "keep" => Undo::Keep,
        "down" => Undo::Down,
        "never" => Undo::Never,
        other => anyhow::bail!("a migration is undone by keep, down or never, and not by `{other}`"),
    })
}

fn known_bad(words: &mut Words) -> WithKnownBad {
    if words.takes("again") {
        WithKnownBad::TryAgain
    } else {
        WithKnownBad::Refuse
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
            "environment" => intent.environment = Some(words.parse("a name")?),
            "supersede" => intent.insistence.active = WithActive::Supersede,
            "again" => intent.insistence.known_bad = WithKnownBad::TryAgain,
            "emergency" => {
                intent.insistence.urgency = Urgency::Emergency;
                intent.reason = Some(words.next("why")?);
            }
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
        other => anyhow::bail!(
            "fetch, migrate, activate, verify, bake and rollback can go wrong, and not `{other}`"
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
