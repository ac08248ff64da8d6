//! Agents: born, connected, spoken to, speaking, killed.

use std::collections::BTreeMap;

use fleet_agent::install::Answer;
use fleet_proto::ids::AppName;
use fleet_proto::session::{Command, FromAgent, Order, Refusal, Service, ToAgent};

use super::Storm;
use super::agenda::Thing;
use super::machine::Agent;
use super::network::SessionId;

/// The longest pause between two tries to connect.
const BACKOFF_MAX_MS: u64 = 15_000;

impl Storm {
    pub(super) fn start_agent(&mut self, node: usize) -> anyhow::Result<()> {
        if !self.machines[node].is_on || self.machines[node].agent.is_some() {
            return Ok(());
        }
        self.tell(|storm| format!("{}: the agent starts", storm.machines[node].id));
        self.lives += 1;
        let life = self.lives;
        // As it is on the disk: written down and read back.
        let mut ledger: fleet_agent::ledger::Ledger =
            serde_json::from_slice(&serde_json::to_vec(&self.machines[node].ledger)?)?;
        for record in ledger.apps.values_mut() {
            record.recover();
        }
        self.machines[node].agent = Some(Agent {
            life,
            ..Agent::default()
        });
        let apps: Vec<AppName> = ledger.apps.keys().cloned().collect();
        self.save(node, ledger)?;
        for app in apps {
            self.proceed(node, &app)?;
        }
        let at = self.now + self.dice.between(0, 500);
        self.agenda.add(at, Thing::Connect { node, life });
        Ok(())
    }

    /// kill -9. What it was at may have come about, or not, or half.
    pub(super) fn kill_agent(&mut self, node: usize) {
        let Some(agent) = self.machines[node].agent.take() else {
            return;
        };
        self.tell(|storm| format!("{}: the agent is killed", storm.machines[node].id));
        for (app, lane) in agent.lanes {
            if let Some(release) = lane.fetching.filter(|_| self.dice.percent(30)) {
                let slots = self.machines[node].slots.entry(app.clone()).or_default();
                slots.insert(release);
            }
            if let Some(converging) = lane.converging {
                match (self.dice.between(0, 3), converging.to.started()) {
                    (0, _) => {}
                    (1, Some(to)) => drop(self.machines[node].running.insert(app, to)),
                    _ => drop(self.machines[node].running.remove(&app)),
                }
            }
        }
        if let Some(session) = agent.session {
            self.cut(session);
        }
        let at = self.now + self.dice.delay(10_000);
        self.agenda.add(at, Thing::StartAgent { node });
    }

    pub(super) fn cut_power(&mut self, node: usize) {
        self.tell(|storm| format!("{}: the power is cut", storm.machines[node].id));
        self.kill_agent(node);
        let machine = &mut self.machines[node];
        machine.is_on = false;
        machine.running.clear();
        let at = self.now + self.dice.delay(60_000);
        self.agenda.add(at, Thing::PowerOn { node });
    }

    pub(super) fn power_on(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        machine.is_on = true;
        machine.booted_at = fleet_proto::time::Timestamp(self.now);
        let at = self.now + self.dice.between(1_000, 20_000);
        self.agenda.add(at, Thing::StartAgent { node });
    }

    /// True where the agent dies between two writes.
    pub(super) fn dies_here(&mut self, node: usize) -> bool {
        let dies = !self.is_calm && self.dice.per_thousand(self.faults.deaths_between_writes);
        if dies {
            self.kill_agent(node);
        }
        dies
    }

    pub(super) fn connect(&mut self, node: usize, life: u64) -> anyhow::Result<()> {
        if !self.machines[node].is_alive(life) || self.is_revoked(node) {
            return Ok(());
        }
        let zone = self.machines[node].zone;
        if !self.coordinator.is_up() || self.network.cut_off.contains(&zone) {
            let at = self.now + self.dice.between(100, BACKOFF_MAX_MS);
            self.agenda.add(at, Thing::Connect { node, life });
            return Ok(());
        }
        let session = self.open_session(node, life);
        let hello = self.machines[node].hello()?;
        let service = self.machines[node].service();
        let said: BTreeMap<_, _> = hello
            .apps
            .iter()
            .map(|status| (status.app.clone(), status.clone()))
            .collect();
        if let Some(agent) = self.machines[node].agent(life) {
            agent.session = Some(session);
            agent.said = said;
            agent.said_of_service = service;
            agent.history_through = 0;
        }
        self.send_to_coordinator(session, FromAgent::Hello(hello));
        self.report(node);
        Ok(())
    }

    pub(super) fn agent_misses(&mut self, session: SessionId) {
        let (node, life) = {
            let wire = &self.network.sessions[session];
            (wire.node, wire.agent_life)
        };
        let Some(agent) = self.machines[node]
            .agent(life)
            .filter(|agent| agent.session == Some(session))
        else {
            return;
        };
        agent.session = None;
        let at = self.now + self.dice.between(100, BACKOFF_MAX_MS);
        self.agenda.add(at, Thing::Connect { node, life });
    }

    /// Has it speak soon: what changes meanwhile is said with it.
    pub(super) fn report(&mut self, node: usize) {
        let at = self.now + self.dice.delay(20);
        let Some(agent) = self.machines[node].agent.as_mut() else {
            return;
        };
        if !std::mem::replace(&mut agent.is_about_to_speak, true) {
            let life = agent.life;
            self.agenda.add(at, Thing::Say { node, life });
        }
    }

    pub(super) fn say(&mut self, node: usize, life: u64) {
        let statuses = self.machines[node].status();
        let history = self.machines[node].ledger.history.clone();
        let service = self.machines[node].service();
        let Some(agent) = self.machines[node].agent(life) else {
            return;
        };
        agent.is_about_to_speak = false;
        let Some(session) = agent.session else {
            return;
        };
        let mut says = Vec::new();
        for status in statuses {
            if agent.said.get(&status.app) != Some(&status) {
                agent.said.insert(status.app.clone(), status.clone());
                says.push(FromAgent::Status(Box::new(status)));
            }
        }
        if std::mem::replace(&mut agent.said_of_service, service) != service {
            says.push(FromAgent::Service(service));
        }
        for entry in history {
            if entry.sequence > agent.history_through {
                agent.history_through = entry.sequence;
                says.push(FromAgent::History(entry));
            }
        }
        for said in says {
            self.send_to_coordinator(session, said);
        }
    }

    pub(super) fn reaches_agent(&mut self, session: SessionId, said: ToAgent) -> anyhow::Result<()> {
        if !self.comes_through(session) {
            return Ok(());
        }
        let node = self.network.sessions[session].node;
        if self.machines[node].agent.is_none() {
            return Ok(());
        }
        match said {
            ToAgent::Command(command) => self.take_order(node, &command)?,
            ToAgent::HistoryTaken { through_sequence } => {
                let mut ledger = self.machines[node].ledger.clone();
                ledger.forget_history_through(through_sequence);
                self.save(node, ledger)?;
            }
            ToAgent::Prefetch { app, release, .. } => {
                if let Some(agent) = self.machines[node].agent.as_mut() {
                    agent.prefetch.insert(app.clone(), release);
                    self.assign(node, &app)?;
                }
            }
            ToAgent::Service(told) => self.take_service(node, told)?,
            ToAgent::Welcome(_) | ToAgent::GoAway { .. } | ToAgent::Question(_) => {}
        }
        Ok(())
    }

    fn take_service(&mut self, node: usize, told: Service) -> anyhow::Result<()> {
        let mut ledger = self.machines[node].ledger.clone();
        let answer = ledger.take_service(told);
        self.tell(|storm| {
            let (id, drained) = (&storm.machines[node].id, told.drained);
            format!(
                "{id}: told to be drained ({drained}, {}): {answer:?}",
                told.sequence
            )
        });
        if matches!(answer, Answer::Refused(_)) || self.dies_here(node) {
            return Ok(());
        }
        self.save(node, ledger)?;
        if self.dies_here(node) {
            return Ok(());
        }
        for app in self.apps_on(node) {
            self.assign(node, &app)?;
        }
        self.report(node);
        Ok(())
    }

    fn take_order(&mut self, node: usize, command: &Command) -> anyhow::Result<()> {
        let app = &command.app;
        let mut ledger = self.machines[node].ledger.clone();
        let record = ledger.apps.entry(app.clone()).or_default();
        let before = record.clone();
        let answer = record.take(command);
        let after = record.clone();
        self.tell(|storm| {
            let id = &storm.machines[node].id;
            format!("{id}: takes {} {:?}: {answer:?}", command.fence, command.order)
        });
        self.witness.order_taken(command, &before, &after, &answer)?;
        match answer {
            Answer::Refused(why) => {
                let refusal = Refusal {
                    app: app.clone(),
                    refused: command.fence,
                    seen: before.fence_seen,
                    why,
                };
                let agent = self.machines[node].agent.as_ref();
                if let Some(session) = agent.and_then(|agent| agent.session) {
                    self.send_to_coordinator(session, FromAgent::Refusal(refusal));
                }
            }
            Answer::Repeated => {
                self.save(node, ledger)?;
                if let Some(agent) = self.machines[node].agent.as_mut() {
                    agent.said.remove(app);
                }
                self.report(node);
            }
            Answer::Accepted => {
                if self.dies_here(node) {
                    return Ok(());
                }
                if let Some(agent) = self.machines[node].agent.as_mut()
                    && !matches!(command.order, Order::Commit)
                {
                    agent.prefetch.remove(app);
                }
                self.save(node, ledger)?;
                if !self.dies_here(node) {
                    self.proceed(node, app)?;
                }
            }
        }
        Ok(())
    }
}
