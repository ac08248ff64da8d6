//! What an agent does about its work: the real rules of `install.rs` say what is next and
//! what follows; here is only how long it takes and what it comes to.

use fleet_agent::install::{Outcome, Purpose};
use fleet_agent::ledger::Ledger;
use fleet_proto::ids::AppName;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{FailureClass, Health, Phase};

use super::Storm;
use super::agenda::Thing;
use super::machine::{Converging, Made};
use super::outcomes::failure;
use super::releases::Nature;

impl Storm {
    /// On the disk before anything follows from it.
    pub(super) fn save(&mut self, node: usize, ledger: Ledger) -> anyhow::Result<()> {
        let machine = &mut self.machines[node];
        if let Some(agent) = machine.agent.as_mut() {
            for (app, record) in &ledger.apps {
                let before = machine.ledger.apps.get(app);
                if before.and_then(|before| before.current_release()) != record.current_release() {
                    agent.health.remove(app);
                }
            }
        }
        machine.ledger = ledger;
        self.witness.node_saved(&self.machines[node])
    }

    /// After the record of an app has changed: everything that follows from it.
    pub(super) fn proceed(&mut self, node: usize, app: &AppName) -> anyhow::Result<()> {
        self.report(node);
        let mut ledger = self.machines[node].ledger.clone();
        let Some(record) = ledger.apps.get_mut(app) else {
            return Ok(());
        };
        if record.proceed() {
            self.save(node, ledger)?;
        }
        self.prune(node, app)?;
        self.assign(node, app)?;
        self.report(node);
        Ok(())
    }

    fn prune(&mut self, node: usize, app: &AppName) -> anyhow::Result<()> {
        let machine = &self.machines[node];
        let mut ledger = machine.ledger.clone();
        let Some(record) = ledger.apps.get_mut(app) else {
            return Ok(());
        };
        let settled = record
            .step
            .as_ref()
            .is_some_and(|step| matches!(step.phase, Phase::Done | Phase::RolledBack));
        if !settled {
            return Ok(());
        }
        record.forget_old_releases(machine.good_releases_max);
        let record = record.clone();
        let ahead = machine
            .agent
            .as_ref()
            .and_then(|agent| agent.prefetch.get(app))
            .cloned();
        self.save(node, ledger)?;
        if let Some(slots) = self.machines[node].slots.get_mut(app) {
            slots.retain(|release| record.keeps(&release.digest) || ahead.as_ref() == Some(release));
        }
        self.witness.node_saved(&self.machines[node])
    }

    /// The same work goes on; other work takes its place.
    pub(super) fn assign(&mut self, node: usize, app: &AppName) -> anyhow::Result<()> {
        let machine = &mut self.machines[node];
        let work = machine
            .ledger
            .apps
            .get(app)
            .map(fleet_agent::ledger::AppRecord::work);
        let Some(agent) = machine.agent.as_mut() else {
            return Ok(());
        };
        let life = agent.life;
        let lane = agent.lanes.entry(app.clone()).or_default();
        let drained = machine.ledger.service.drained;
        let is_new = (&lane.work, lane.drained) != (&work, drained);
        let migrates = is_new && !drained && work.as_ref().is_some_and(|work| work.migrate.is_some());
        if is_new {
            lane.assignment += 1;
            lane.drained = drained;
            lane.work.clone_from(&work);
        }
        let ordered = work.as_ref().and_then(|work| work.fetch.clone());
        let wanted = ordered.or_else(|| agent.prefetch.get(app).cloned());
        if lane.fetching != wanted {
            let given_up = std::mem::replace(&mut lane.fetching, wanted.clone());
            lane.fetch_effect += 1;
            let effect = lane.fetch_effect;
            if let Some(release) = given_up
                && !machine.is_full
                && self.dice.percent(30)
            {
                machine.slots.entry(app.clone()).or_default().insert(release);
            }
            if wanted.is_some() {
                let at = self.now + self.dice.delay(5_000);
                let app = app.clone();
                self.agenda.add(
                    at,
                    Thing::Fetched {
                        node,
                        life,
                        app,
                        effect,
                    },
                );
            }
        }
        if migrates {
            self.begin_migration(node, app)?;
        }
        if is_new {
            self.go_on(node, app);
        }
        Ok(())
    }

    /// The run lane: first what runs is made so, then it is looked at.
    fn go_on(&mut self, node: usize, app: &AppName) {
        let machine = &mut self.machines[node];
        let runs = machine.running.get(app).cloned();
        let Some(agent) = machine.agent.as_mut() else {
            return;
        };
        let life = agent.life;
        let Some(lane) = agent.lanes.get_mut(app).filter(|lane| lane.converging.is_none()) else {
            return;
        };
        let Some(work) = &lane.work else { return };
        let (assignment, purpose) = (lane.assignment, work.purpose);
        let app = app.clone();
        let wanted = Made {
            release: work.run.clone(),
            drained: lane.drained,
        };
        if lane.converged.as_ref() != Some(&wanted) {
            let runs_already = runs == wanted.clone().started();
            let takes = if runs_already { 100 } else { 3_000 };
            lane.converged = None;
            lane.converging = Some(Converging {
                to: wanted,
                assignment,
            });
            let at = self.now + self.dice.delay(takes);
            self.agenda.add(at, Thing::Converged { node, life, app });
            return;
        }
        let takes = match purpose {
            Purpose::PutBack | Purpose::Smoke if lane.drained => 0,
            // Nothing runs that could be judged.
            _ if lane.drained => return,
            Purpose::Rest => return,
            Purpose::Activate => 0,
            Purpose::Verify => self.dice.delay(8_000),
            Purpose::Bake => self.dice.between(500, 30_000),
            Purpose::Smoke => self.dice.between(10, 60_000),
            Purpose::PutBack => self.dice.delay(3_000).min(60_000),
        };
        let at = self.now + takes;
        self.agenda.add(
            at,
            Thing::Judged {
                node,
                life,
                app,
                assignment,
            },
        );
    }

    pub(super) fn fetched(
        &mut self,
        node: usize,
        life: u64,
        app: &AppName,
        effect: u64,
    ) -> anyhow::Result<()> {
        let machine = &mut self.machines[node];
        let is_full = machine.is_full;
        let Some(agent) = machine.agent(life) else {
            return Ok(());
        };
        let Some(lane) = agent
            .lanes
            .get_mut(app)
            .filter(|lane| lane.fetch_effect == effect)
        else {
            return Ok(());
        };
        let Some(release) = lane.fetching.take() else {
            return Ok(());
        };
        agent.prefetch.retain(|_, ahead| *ahead != release);
        let was_there = machine.has(app, &release);
        let cannot = match self.releases.nature(&release) {
            _ if was_there => None,
            _ if is_full => Some("no space left on device"),
            _ if self.faults.store_is_down => Some("the artifact store does not answer"),
            Nature::CannotBeFetched => Some("an artifact is not there"),
            _ => None,
        };
        if cannot.is_none() {
            let slots = self.machines[node].slots.entry(app.clone()).or_default();
            slots.insert(release.clone());
        }
        if self.dies_here(node) {
            return Ok(());
        }
        let counter = self.releases.known(&release).map_or(0, |known| known.counter);
        let outcome = match cannot {
            None => Outcome::Staged { release, counter },
            Some(why) => Outcome::NotStaged {
                failure: failure(FailureClass::Infrastructure, why),
                release,
            },
        };
        self.settle(node, app, &outcome)?;
        // What was prefetched before, or is wanted after, is nobody's outcome.
        self.assign(node, app)?;
        Ok(())
    }

    pub(super) fn converged(&mut self, node: usize, life: u64, app: &AppName) -> anyhow::Result<()> {
        let machine = &mut self.machines[node];
        let Some(agent) = machine.agent(life) else {
            return Ok(());
        };
        let Some(lane) = agent.lanes.get_mut(app) else {
            return Ok(());
        };
        let Some(done) = lane.converging.take() else {
            return Ok(());
        };
        let current = done.assignment == lane.assignment;
        let purpose = lane.work.as_ref().map(|work| work.purpose);
        let is_there = done
            .to
            .release
            .as_ref()
            .is_none_or(|release| self.machines[node].has(app, release));
        if current {
            self.witness
                .may_start(&self.machines[node], app, done.to.release.as_ref())?;
        } else if !is_there {
            // Nobody wants it any more, and it was cleared away meanwhile.
            self.go_on(node, app);
            return Ok(());
        }
        // What cannot be stopped is tried again, and says nothing of the release.
        let purpose = purpose.filter(|purpose| !done.to.drained || *purpose == Purpose::PutBack);
        if !self.is_calm && self.dice.per_thousand(self.faults.starts_that_fail) {
            self.tell(|storm| format!("{}: {:?} cannot be started", storm.machines[node].id, done.to));
            return self.could_not_start(node, app, purpose.filter(|_| current));
        }
        let machine = &mut self.machines[node];
        match done.to.clone().started() {
            Some(release) => drop(machine.running.insert(app.clone(), release)),
            None => drop(machine.running.remove(app)),
        }
        if let Some(agent) = machine.agent(life) {
            agent.health.remove(app);
            if let Some(lane) = agent.lanes.get_mut(app) {
                lane.converged = Some(done.to);
            }
        }
        let looks = self.now + self.dice.delay(1_000);
        let looked = app.clone();
        self.agenda.add(
            looks,
            Thing::Looked {
                node,
                life,
                app: looked,
            },
        );
        self.go_on(node, app);
        Ok(())
    }

    /// Infrastructure, as far as anybody knows: tried again where nothing else follows.
    fn could_not_start(
        &mut self,
        node: usize,
        app: &AppName,
        purpose: Option<Purpose>,
    ) -> anyhow::Result<()> {
        let why = "the process cannot be started: no memory";
        let outcome = match purpose {
            Some(Purpose::Activate | Purpose::Verify | Purpose::Bake | Purpose::Smoke) => {
                Outcome::Failed(failure(FailureClass::Infrastructure, why))
            }
            Some(Purpose::PutBack) => Outcome::CannotPutBack {
                why: why.to_owned(),
                is_its_own: true,
            },
            Some(Purpose::Rest) | None => {
                self.go_on(node, app);
                return Ok(());
            }
        };
        self.settle(node, app, &outcome)?;
        self.go_on(node, app);
        Ok(())
    }

    pub(super) fn looked(&mut self, node: usize, life: u64, app: &AppName) {
        if self.machines[node].ledger.service.drained {
            return;
        }
        let health = match self.machines[node].running.get(app) {
            None => Health::Empty,
            Some(release) => match self.illness(node, release) {
                Some(why) => Health::Unhealthy { why: why.to_owned() },
                None => Health::Healthy,
            },
        };
        if let Some(agent) = self.machines[node].agent(life) {
            agent.health.insert(app.clone(), health);
            self.report(node);
        }
    }

    fn illness(&self, node: usize, release: &ReleaseRef) -> Option<&'static str> {
        let strikes = |percent| self.releases.strikes(release, node, percent);
        match self.releases.nature(release) {
            _ if self.machines[node].is_ill => Some("the node is ill"),
            Nature::CrashLoops(percent) if strikes(percent) => Some("it restarts again and again"),
            Nature::FailsVerification(percent) if strikes(percent) => Some("it answers 503"),
            _ => None,
        }
    }

    pub(super) fn judged(
        &mut self,
        node: usize,
        life: u64,
        app: &AppName,
        assignment: u64,
    ) -> anyhow::Result<()> {
        let Some(agent) = self.machines[node].agent(life) else {
            return Ok(());
        };
        let Some(lane) = agent
            .lanes
            .get(app)
            .filter(|lane| lane.assignment == assignment && lane.converging.is_none())
        else {
            return Ok(());
        };
        let Some(work) = lane.work.clone() else {
            return Ok(());
        };
        let drained = lane.drained;
        let ill = work.run.as_ref().and_then(|release| self.illness(node, release));
        let nature = work
            .run
            .as_ref()
            .map_or(Nature::Good, |release| self.releases.nature(release));
        let strikes = |percent| {
            work.run
                .as_ref()
                .is_some_and(|release| self.releases.strikes(release, node, percent))
        };
        let release_failed = |why: &str| Outcome::Failed(failure(FailureClass::Release, why));
        let outcome = match work.purpose {
            Purpose::PutBack if drained => Outcome::PutBack { ill: None },
            Purpose::Smoke if drained => Outcome::Smoked,
            _ if drained => return Ok(()),
            Purpose::Rest => return Ok(()),
            Purpose::Activate => Outcome::Activated,
            Purpose::Verify => match (ill, nature) {
                (Some(why), _) => release_failed(why),
                (None, Nature::TakesAgentDown(percent)) if strikes(percent) => {
                    self.kill_agent(node);
                    return Ok(());
                }
                (None, nature) => Outcome::Verified {
                    has_smoke: matches!(nature, Nature::FailsSmoke(_)),
                },
            },
            Purpose::Bake => match (ill, nature) {
                (Some(why), _) => release_failed(why),
                (None, Nature::FailsInBake(percent)) if strikes(percent) => release_failed("it leaks memory"),
                _ => {
                    self.go_on(node, app);
                    return Ok(());
                }
            },
            Purpose::Smoke => match (ill, nature) {
                (Some(why), _) => release_failed(why),
                (None, Nature::FailsSmoke(percent)) if strikes(percent) => {
                    release_failed("nobody can log in")
                }
                _ => Outcome::Smoked,
            },
            Purpose::PutBack => Outcome::PutBack {
                ill: ill.map(str::to_owned),
            },
        };
        self.settle(node, app, &outcome)
    }
}
