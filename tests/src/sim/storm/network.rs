//! Streams between the coordinator and its agents. Within a stream messages keep their
//! order; what is on its way when a stream is cut is lost, or comes late; and now and
//! then something comes a second time, long after.

use fleet_proto::session::{FromAgent, ToAgent};

use super::Storm;
use super::agenda::Thing;

/// An index: streams are never forgotten within one run.
pub type SessionId = usize;

#[derive(Debug)]
pub struct Session {
    pub node: usize,
    /// Of the two processes that hold its ends.
    pub agent_life: u64,
    pub coordinator_life: u64,
    pub is_open: bool,
    /// When the newest message of each direction arrives: none overtakes another.
    to_coordinator_at: u64,
    to_agent_at: u64,
}

/// How the wires are; each seed has its own.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    pub latency_ms: u64,
    /// Of a thousand messages, so many come a second time.
    pub doubled: u64,
    /// Of a hundred messages of a stream that was cut, so many come late all the same.
    pub late: u64,
}

#[derive(Debug, Default)]
pub struct Network {
    pub sessions: Vec<Session>,
    pub weather: Weather,
    /// Zones that nobody reaches.
    pub cut_off: Vec<usize>,
}

impl Storm {
    pub(super) fn open_session(&mut self, node: usize, agent_life: u64) -> SessionId {
        self.network.sessions.push(Session {
            node,
            agent_life,
            coordinator_life: self.coordinator.life,
            is_open: true,
            to_coordinator_at: self.now,
            to_agent_at: self.now,
        });
        self.network.sessions.len() - 1
    }

    pub(super) fn send_to_coordinator(&mut self, session: SessionId, said: FromAgent) {
        let latency = self.dice.delay(self.network.weather.latency_ms);
        let wire = &mut self.network.sessions[session];
        wire.to_coordinator_at = wire.to_coordinator_at.max(self.now + latency);
        let at = wire.to_coordinator_at;
        // A greeting belongs to its stream; a state may be heard twice.
        if !matches!(said, FromAgent::Hello(_)) && self.dice.per_thousand(self.network.weather.doubled) {
            let said = said.clone();
            // Heard twice, but not after what was said later.
            self.agenda.add(at, Thing::ReachesCoordinator { session, said });
        }
        self.agenda.add(at, Thing::ReachesCoordinator { session, said });
    }

    pub(super) fn send_to_agent(&mut self, session: SessionId, said: ToAgent) {
        let latency = self.dice.delay(self.network.weather.latency_ms);
        let wire = &mut self.network.sessions[session];
        wire.to_agent_at = wire.to_agent_at.max(self.now + latency);
        let at = wire.to_agent_at;
        if self.dice.per_thousand(self.network.weather.doubled) {
            let said = said.clone();
            let again = at + self.dice.between(0, 120_000);
            self.agenda.add(again, Thing::ReachesAgent { session, said });
        }
        self.agenda.add(at, Thing::ReachesAgent { session, said });
    }

    /// Both ends find out, each in its own time.
    pub(super) fn cut(&mut self, session: SessionId) {
        let wire = &mut self.network.sessions[session];
        if !std::mem::replace(&mut wire.is_open, false) {
            return;
        }
        let node = wire.node;
        self.tell(|storm| format!("the stream {session} of {} is cut", storm.machines[node].id));
        let coordinator = self.now + self.dice.between(0, 15_000);
        let agent = self.now + self.dice.delay(5_000);
        self.agenda.add(coordinator, Thing::CoordinatorMisses { session });
        self.agenda.add(agent, Thing::AgentMisses { session });
    }

    /// Whether what comes over a stream that is cut by now comes at all.
    pub(super) fn comes_through(&mut self, session: SessionId) -> bool {
        self.network.sessions[session].is_open || self.dice.percent(self.network.weather.late)
    }
}
