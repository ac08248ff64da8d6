//! What may happen to a fleet, and how it is made to happen.

use std::collections::VecDeque;

use fleet_coordinator::rollout::event::Event;
use fleet_coordinator::rollout::gate::{Insistence, WithKnownBad};
use fleet_coordinator::rollout::input::{Input, Intent, Reply, Request, Retry};
use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::labels::Labels;
use fleet_proto::session::FailureClass;
use fleet_proto::time::Timestamp;

use super::fleet::{Fleet, Fortune, app};
use super::moves::Move;

impl Fleet {
    fn newest(&self) -> RolloutNumber {
        self.state
            .rollouts
            .keys()
            .next_back()
            .copied()
            .unwrap_or(RolloutNumber(1))
    }

    pub fn make(&mut self, act: &Move) {
        let number = self.newest();
        // An operator whose wish makes no sense now is refused, and nothing changes.
        let before = self.state.position;
        let refused = match act {
            Move::RollOut(intent) => self.request(Request::StartRollout(intent.clone())).is_err(),
            Move::Pause => self.request(Request::Pause { number, reason: None }).is_err(),
            Move::Resume(waves) => {
                let waves = waves.clone();
                self.request(Request::Resume { number, waves }).is_err()
            }
            Move::Abort => self.request(Request::Abort { number, reason: None }).is_err(),
            Move::RollBack(request) => self.request(Request::RollBack(request.clone())).is_err(),
            Move::Retry => {
                let retry = Retry {
                    number,
                    known_bad: WithKnownBad::TryAgain,
                    reason: None,
                };
                self.request(Request::Retry(retry)).is_err()
            }
            Move::Halt => {
                let (environment, reason) = (None, Some("stop".to_owned()));
                self.request(Request::Halt { environment, reason }).is_err()
            }
            Move::Unhalt => self.request(Request::Unhalt { environment: None }).is_err(),
            Move::Cordon(node) => {
                let (node, reason) = (self.nth(*node), None);
                self.request(Request::CordonNode { node, reason }).is_err()
            }
            Move::Uncordon(node) => {
                let node = self.nth(*node);
                self.request(Request::UncordonNode { node }).is_err()
            }
            Move::Relabel(node) => self.relabel(&self.nth(*node)),
            Move::Deliver { node, twice } => {
                self.deliver(&self.nth(*node), *twice);
                false
            }
            Move::Advance { node, fortune } => {
                self.advance(&self.nth(*node), *fortune);
                false
            }
            Move::AllAdvance(fortune) => {
                self.round(*fortune);
                false
            }
            Move::Sicken(node) => {
                let id = self.nth(*node);
                self.nodes.get_mut(&id).unwrap().apps.get_mut(&app()).unwrap().ill ^= true;
                self.report(&id);
                false
            }
            Move::Repeat(node) => {
                self.report(&self.nth(*node));
                false
            }
            Move::Disconnect(node) => {
                self.disconnect(&self.nth(*node));
                false
            }
            Move::Connect(node) => {
                self.connect(&self.nth(*node));
                false
            }
            Move::Pass(ms) => {
                self.pass(*ms);
                false
            }
            Move::RestartCoordinator => {
                self.restart();
                false
            }
        };
        if refused && self.state.position != before {
            // A request's own turn may decide other things by the time, never by itself.
            let acted = self
                .events
                .iter()
                .rev()
                .take((self.state.position - before) as usize);
            let started = acted
                .filter(|stamped| matches!(stamped.event, Event::RolloutStarted { .. }))
                .count();
            if started > 1 {
                self.broken.push(format!("{act:?} was refused and acted"));
            }
        }
    }

    fn relabel(&mut self, id: &NodeId) -> bool {
        let is_in = self.state.nodes[id].labels.contains_key("elsewhere");
        let (node, there) = (id.clone(), ("elsewhere".to_owned(), "yes".to_owned()));
        let (set, remove) = match is_in {
            true => (Labels::new(), vec![there.0]),
            false => (Labels::from([there]), vec![]),
        };
        self.request(Request::LabelNode { node, set, remove }).is_err()
    }

    fn round(&mut self, fortune: Fortune) {
        let ids: Vec<NodeId> = self.nodes.keys().cloned().collect();
        for id in ids {
            self.deliver(&id, false);
            self.advance(&id, fortune);
        }
    }

    /// Until nothing moves any more.
    pub fn settle(&mut self, fortune: Fortune) {
        for _ in 0..400 {
            let before = self.state.position;
            self.round(fortune);
            self.pass(1_000);
            if self.state.position == before && self.inbox.values().all(VecDeque::is_empty) {
                return;
            }
        }
    }

    pub fn everybody_comes_back(&mut self) {
        let ids: Vec<NodeId> = self.nodes.keys().cloned().collect();
        for id in ids {
            self.nodes.get_mut(&id).unwrap().apps.get_mut(&app()).unwrap().ill = false;
            self.connect(&id);
            self.make(&Move::Uncordon(self.place(&id)));
            if self.state.nodes[&id].labels.contains_key("elsewhere") {
                self.relabel(&id);
            }
        }
        self.make(&Move::Unhalt);
    }

    pub fn abort_what_is_active(&mut self) {
        // Aborting may start a rollback, which is left to end by itself.
        let active: Vec<RolloutNumber> = self.state.active.iter().copied().collect();
        for number in active {
            let _ = self.request(Request::Abort { number, reason: None });
        }
    }

    pub fn roll_out(&mut self, version: &str, waves: &str) -> Result<RolloutNumber, String> {
        let intent = Intent {
            app: Some(app()),
            version: Some(version.parse().unwrap()),
            waves: Some(waves.parse().unwrap()),
            insistence: Insistence {
                known_bad: WithKnownBad::TryAgain,
                ..Insistence::default()
            },
            ..Intent::default()
        };
        match self.request(Request::StartRollout(intent)) {
            Ok(Reply::Rollout(number)) => Ok(number),
            other => Err(format!("{other:?}")),
        }
    }

    /// The node takes its next command, if it is connected and there is one.
    fn deliver(&mut self, id: &NodeId, twice: bool) {
        let Some(command) = self.inbox.get_mut(id).and_then(VecDeque::pop_front) else {
            return;
        };
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.connected) else {
            return;
        };
        node.take(&command);
        if twice {
            node.take(&command);
        }
        self.report(id);
    }

    fn advance(&mut self, id: &NodeId, fortune: Fortune) {
        let failure = match fortune {
            Fortune::Good => None,
            Fortune::Bad => Some(FailureClass::Release),
            Fortune::NoBytes => Some(FailureClass::Infrastructure),
        };
        if let Some(node) = self.nodes.get_mut(id)
            && node.advance(failure)
        {
            self.report(id);
        }
    }

    fn report(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id).filter(|node| node.connected) else {
            return;
        };
        for status in node.status() {
            self.input(Input::NodeStatus {
                node: id.clone(),
                status,
            });
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = Timestamp(self.now.0 + ms);
        self.input(Input::Tick);
    }

    /// kill -9 and start: everything but the journal is gone.
    fn restart(&mut self) {
        let replayed = self.replay();
        if replayed != self.state {
            self.broken.push("a restart gives another state".into());
        }
        self.state = replayed;
        self.take_charge();
        let connected: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.connected)
            .map(|(id, _)| id.clone())
            .collect();
        for id in connected {
            self.connect(&id);
        }
    }
}
