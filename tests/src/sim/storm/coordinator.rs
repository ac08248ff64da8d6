//! The coordinator: the real `turn`, around it what `driver.rs` does, and death at any
//! point of it.

use std::collections::{BTreeMap, VecDeque};

use fleet_coordinator::rollout::check::check;
use fleet_coordinator::rollout::input::{Definition, Input, Settings};
use fleet_coordinator::rollout::state::State;
use fleet_coordinator::rollout::turn::{Turn, turn};
use fleet_coordinator::rollout::view;
use fleet_proto::ids::EnvironmentName;
use fleet_proto::session::{FromAgent, ToAgent};
use fleet_proto::time::Timestamp;

use super::Storm;
use super::agenda::Thing;
use super::invariants::Broken;
use super::network::SessionId;
use super::record::Record;

/// As many as the driver takes at most.
const INPUTS_PER_TURN: usize = 1024;

pub struct Coordinator {
    /// The process's own: ahead of what is durable while a turn is taken.
    state: State,
    /// What was acknowledged: what survives.
    pub acknowledged: State,
    pub record: Record,
    /// 0 while none runs.
    pub life: u64,
    pub environments: BTreeMap<EnvironmentName, Definition>,
    pub settings: Settings,
    queue: VecDeque<Input>,
    will_turn: bool,
    /// The newest stream of each node.
    sessions: BTreeMap<usize, SessionId>,
    snapshot_at: u64,
    pub events_per_snapshot: u64,
    pub tick_ms: u64,
    /// What waits longer comes into one turn with more: so slow is its disk.
    pub turn_delay_ms: u64,
    /// Of its clock, which people and machines set right, and wrong.
    pub clock_is_off_ms: i64,
    pub events: u64,
}

/// Where in its turn a coordinator dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    BeforeTheAppend,
    BeforeSending,
    AmidSending,
}

impl Coordinator {
    pub fn new(record: Record, environments: BTreeMap<EnvironmentName, Definition>) -> Self {
        Self {
            state: State::default(),
            acknowledged: State::default(),
            record,
            life: 0,
            environments,
            settings: Settings::default(),
            queue: VecDeque::new(),
            will_turn: false,
            sessions: BTreeMap::new(),
            snapshot_at: 0,
            events_per_snapshot: 5_000,
            tick_ms: 1_000,
            turn_delay_ms: 100,
            clock_is_off_ms: 0,
            events: 0,
        }
    }

    pub fn is_up(&self) -> bool {
        self.life != 0
    }
}

impl Storm {
    pub(super) fn start_coordinator(&mut self) -> anyhow::Result<()> {
        if self.coordinator.is_up() {
            return Ok(());
        }
        self.tell(|_| "the coordinator starts".to_owned());
        let recovered = self.coordinator.record.recover()?;
        // Invariants 10 and 11, byte for byte.
        let bytes = serde_json::to_vec(&recovered)?;
        if bytes != serde_json::to_vec(&self.coordinator.acknowledged)? {
            return Err(Broken::new("10/11", "what was recovered is not what was acknowledged").into());
        }
        self.lives += 1;
        let life = self.lives;
        self.coordinator.state = recovered;
        self.coordinator.life = life;
        let environments = self.coordinator.environments.clone();
        let admins = [self.operator.clone()].into();
        self.coordinator
            .queue
            .push_back(Input::TakeCharge { environments, admins });
        self.agenda.add(self.now, Thing::Tick { life });
        self.coordinator.will_turn = true;
        self.take_turn(life)
    }

    pub(super) fn kill_coordinator(&mut self) {
        if !self.coordinator.is_up() {
            return;
        }
        self.tell(|_| "the coordinator is killed".to_owned());
        let life = std::mem::take(&mut self.coordinator.life);
        self.coordinator.record.close();
        self.coordinator.queue.clear();
        self.coordinator.will_turn = false;
        self.coordinator.sessions.clear();
        for session in 0..self.network.sessions.len() {
            let wire = &self.network.sessions[session];
            if wire.is_open && wire.coordinator_life == life {
                self.cut(session);
            }
        }
        let at = self.now + self.dice.delay(20_000);
        self.agenda.add(at, Thing::StartCoordinator);
    }

    pub(super) fn submit(&mut self, input: Input) {
        if !self.coordinator.is_up() {
            return;
        }
        self.coordinator.queue.push_back(input);
        if !std::mem::replace(&mut self.coordinator.will_turn, true) {
            let life = self.coordinator.life;
            let at = self.now + self.dice.delay(self.coordinator.turn_delay_ms);
            self.agenda.add(at, Thing::Turn { life });
        }
    }

    pub(super) fn tick(&mut self, life: u64) -> anyhow::Result<()> {
        if self.coordinator.life != life {
            return Ok(());
        }
        self.agenda
            .add(self.now + self.coordinator.tick_ms, Thing::Tick { life });
        self.coordinator.queue.push_back(Input::Tick);
        self.take_turn(life)
    }

    pub(super) fn take_turn(&mut self, life: u64) -> anyhow::Result<()> {
        if self.coordinator.life != life {
            return Ok(());
        }
        self.coordinator.will_turn = false;
        let waiting = self.coordinator.queue.len();
        // Everything that waits, or only a part: both happen.
        let taken = if self.is_calm || self.dice.percent(70) {
            waiting
        } else {
            1 + self.dice.index(waiting.max(1))
        };
        let inputs: Vec<Input> = self
            .coordinator
            .queue
            .drain(..taken.min(waiting).min(INPUTS_PER_TURN))
            .collect();
        let after = self.coordinator.state.position;
        let now = Timestamp(self.now.saturating_add_signed(self.coordinator.clock_is_off_ms));
        let coordinator = &mut self.coordinator;
        let outcome = turn(&mut coordinator.state, &inputs, &coordinator.settings, now)?;
        self.finish_turn(after, outcome)?;
        if !self.coordinator.queue.is_empty() && self.coordinator.is_up() && !self.coordinator.will_turn {
            self.coordinator.will_turn = true;
            self.agenda.add(self.now, Thing::Turn { life });
        }
        Ok(())
    }

    fn finish_turn(&mut self, after: u64, outcome: Turn) -> anyhow::Result<()> {
        let dies = !self.is_calm && self.dice.per_thousand(self.faults.deaths_in_turn);
        let death = dies.then(|| match self.dice.between(0, 3) {
            0 => Death::BeforeTheAppend,
            1 => Death::BeforeSending,
            _ => Death::AmidSending,
        });
        if death == Some(Death::BeforeTheAppend) {
            self.tell(|_| format!("dies before it appends {} events", outcome.events.len()));
            self.kill_coordinator();
            return Ok(());
        }
        let coordinator = &mut self.coordinator;
        coordinator
            .record
            .append(coordinator.state.term, after, &outcome.events)?;
        coordinator.events += outcome.events.len() as u64;
        for stamped in &outcome.events {
            self.coordinator.acknowledged.apply(stamped)?;
            self.tell(|_| format!("  {} {}", stamped.position, view::event(stamped).message));
            self.witness.event(stamped)?;
        }
        for (node, message) in &outcome.messages {
            self.witness.sent(node, message)?;
        }
        if !outcome.events.is_empty() {
            let broken = check(&self.coordinator.state);
            if let Some(first) = broken.into_iter().next() {
                return Err(Broken::new("check", first).into());
            }
        }
        for answer in &outcome.answers {
            self.tell(|_| format!("  answer: {answer:?}"));
        }
        if death == Some(Death::BeforeSending) {
            self.kill_coordinator();
            return Ok(());
        }
        let sent = match death {
            Some(_) => self.dice.index(outcome.messages.len() + 1),
            None => outcome.messages.len(),
        };
        for (id, message) in outcome.messages.into_iter().take(sent) {
            self.send_from_coordinator(&id, message);
        }
        if death.is_some() {
            self.kill_coordinator();
            return Ok(());
        }
        let position = self.coordinator.state.position;
        if position >= self.coordinator.snapshot_at + self.coordinator.events_per_snapshot {
            self.coordinator.snapshot_at = position;
            self.coordinator.record.save_snapshot(&self.coordinator.state)?;
        }
        Ok(())
    }

    fn send_from_coordinator(&mut self, id: &fleet_proto::ids::NodeId, message: ToAgent) {
        let Some(node) = self.by_id.get(id) else { return };
        let session = self.coordinator.sessions.get(node).copied();
        if let Some(session) = session.filter(|session| self.network.sessions[*session].is_open) {
            self.send_to_agent(session, message);
        }
    }

    pub(super) fn reaches_coordinator(&mut self, session: SessionId, said: FromAgent) {
        let wire = &self.network.sessions[session];
        let is_of_this_process = wire.coordinator_life == self.coordinator.life;
        if !self.coordinator.is_up() || !is_of_this_process || !self.comes_through(session) {
            return;
        }
        let index = self.network.sessions[session].node;
        let node = self.machines[index].id.clone();
        if self.is_revoked(index) {
            self.cut(session);
            return;
        }
        match said {
            FromAgent::Hello(hello) => {
                // A greeting is no greeting without its stream.
                if !self.network.sessions[session].is_open {
                    return;
                }
                let older = self.coordinator.sessions.insert(index, session);
                if let Some(older) = older.filter(|older| *older != session) {
                    self.cut(older);
                }
                self.submit(Input::NodeConnected { node, hello });
            }
            FromAgent::Status(status) => self.submit(Input::NodeStatus {
                node,
                status: *status,
            }),
            FromAgent::Refusal(refusal) => self.submit(Input::NodeRefused { node, refusal }),
            FromAgent::History(entry) => self.submit(Input::NodeHistory { node, entry }),
            FromAgent::Service(status) => self.submit(Input::NodeService { node, status }),
            FromAgent::Heartbeat(_) => {}
        }
    }

    /// The end of an older stream says nothing about the newer one.
    pub(super) fn coordinator_misses(&mut self, session: SessionId) {
        let wire = &self.network.sessions[session];
        let node = wire.node;
        if wire.coordinator_life != self.coordinator.life
            || self.coordinator.sessions.get(&node) != Some(&session)
        {
            return;
        }
        self.coordinator.sessions.remove(&node);
        let node = self.machines[node].id.clone();
        self.submit(Input::NodeGone { node });
    }

    /// Revoked nodes get no stream.
    pub(super) fn is_revoked(&self, node: usize) -> bool {
        let id = &self.machines[node].id;
        let known = self.coordinator.acknowledged.nodes.get(id);
        known.is_some_and(fleet_coordinator::rollout::node::Node::is_revoked)
    }
}
