//! What each command does.

use fleet_coordinator::rollout::event::{CatchUp, Tenure, Urgency};
use fleet_coordinator::rollout::gate::{Asked, Gate, WithKnownBad, before_rollout};
use fleet_coordinator::rollout::input::{Definition, Refusal, Reply, Request, Retry, RollBack};
use fleet_coordinator::rollout::plan::plan;
use fleet_coordinator::rollout::requests::would_start;
use fleet_proto::ids::RolloutNumber;
use fleet_proto::labels::Selector;
use fleet_proto::migration::MigrationStand;
use fleet_proto::version::Version;

use super::options::{intent, known_bad, strategy};
use super::words::Words;
use super::{Stage, show};

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
                let intent = intent(&mut words)?;
                self.ask(Request::StartRollout(intent))?
            }
            "plan" => {
                let intent = intent(&mut words)?;
                match plan(&self.world.state, &intent) {
                    Ok((plan, release)) => {
                        let asked = Asked {
                            app: &plan.app,
                            environment: &plan.environment,
                            release: Some(&release),
                            back_to: &[],
                            insistence: intent.insistence,
                        };
                        let gates = before_rollout(&self.world.state, &asked);
                        let refused_all_the_same = would_start(&self.world.state, &intent)
                            .err()
                            .filter(|_| gates.iter().all(Gate::is_open));
                        let refusal =
                            refused_all_the_same.map_or_else(String::new, |refusal| refused(&refusal));
                        format!("{}{refusal}", show::plan(&plan, &gates))
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
            self.world.enrol(&id, &zones[i % zones.len()], Tenure::Lasting)?;
        }
        self.shown = self.world.state.position;
        Ok(String::new())
    }

    fn roll_back(&mut self, words: &mut Words) -> anyhow::Result<String> {
        let mut request = RollBack::default();
        while !words.is_at_end() {
            if words.takes("emergency") {
                request.urgency = Urgency::Emergency;
                request.reason = Some(words.next("why")?);
            } else if words.takes("again") {
                request.known_bad = WithKnownBad::TryAgain;
            } else if words.takes("to") {
                request.to = Some(words.parse::<Version>("a version")?);
            } else {
                request.number = Some(RolloutNumber(words.parse("a number")?));
            }
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
