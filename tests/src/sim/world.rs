//! Coordinator, nodes, wire and time.

use std::collections::{BTreeMap, VecDeque};

use anyhow::Context;
use fleet_coordinator::rollout::check::check;
use fleet_coordinator::rollout::event::{NewToken, PushRelease, Stamped, Tenure};
use fleet_coordinator::rollout::input::{Author, Definition, Input, Refusal, Reply, Request, Settings};
use fleet_coordinator::rollout::state::State;
use fleet_coordinator::rollout::turn::turn;
use fleet_proto::digest::Digest;
use fleet_proto::ids::{AppName, EnvironmentName, NodeId};
use fleet_proto::labels::{Labels, Selector};
use fleet_proto::migration::MigrationPlan;
use fleet_proto::quantity::{Bytes, Span};
use fleet_proto::release::{HealthRules, Platform, ReleaseRef, Strategy};
use fleet_proto::session::{Facts, Hello, ToAgent};
use fleet_proto::time::Timestamp;
use fleet_proto::version::Version;

use super::node::SimNode;

pub const APP: &str = "shop";
pub const ENVIRONMENT: &str = "production";
/// 2026-02-12T12:00:00Z: a script's clock begins at noon.
const NOON: Timestamp = Timestamp(1_770_897_600_000);
/// Between two looks while time passes: what a tick is to a coordinator.
const STEP: Span = Span::from_secs(1);
/// A world that never comes to rest is a mistake, and says so.
const ROUNDS_MAX: usize = 10_000;

pub struct World {
    pub state: State,
    pub nodes: BTreeMap<NodeId, SimNode>,
    pub now: Timestamp,
    journal: Vec<Stamped>,
    /// On its way to a node; lost with its connection.
    wire: BTreeMap<NodeId, VecDeque<ToAgent>>,
    pub is_up: bool,
    settings: Settings,
    releases: BTreeMap<Version, u64>,
    environments: BTreeMap<EnvironmentName, Definition>,
}

impl World {
    pub fn new() -> anyhow::Result<Self> {
        let mut world = Self {
            state: State::default(),
            nodes: BTreeMap::new(),
            now: NOON,
            journal: Vec::new(),
            wire: BTreeMap::new(),
            is_up: true,
            settings: Settings::default(),
            releases: BTreeMap::new(),
            environments: [(ENVIRONMENT.parse()?, Selector::default().into())].into(),
        };
        world.take_charge()?;
        Ok(world)
    }

    fn take_charge(&mut self) -> anyhow::Result<()> {
        let environments = self.environments.clone();
        let admins = ["operator".parse()?].into();
        self.input(Input::TakeCharge { environments, admins }).map(drop)
    }

    /// As a coordinator that is started with another configuration has it.
    pub fn define(&mut self, name: EnvironmentName, definition: Definition) -> anyhow::Result<()> {
        self.environments.insert(name, definition);
        self.kill_coordinator()?;
        self.start_coordinator()
    }

    /// Another machine takes the name: nothing of what was on the first one is there.
    pub fn set_up_anew(&mut self, id: &NodeId) -> anyhow::Result<()> {
        self.disconnect(id)?;
        let token = NewToken {
            id: format!("again-{id}").parse()?,
            secret_hash: Digest::of(b"again"),
            node: Some(id.clone()),
            labels: Labels::new(),
            uses: 1,
            tenure: Tenure::default(),
        };
        self.let_in(id, token)
    }

    /// The events since the one at this position.
    pub fn told_since(&self, position: u64) -> impl Iterator<Item = &Stamped> {
        self.journal
            .iter()
            .filter(move |stamped| stamped.position > position)
    }

    pub fn push(
        &mut self,
        version: &Version,
        strategy: Strategy,
        migration: Option<MigrationPlan>,
    ) -> anyhow::Result<()> {
        let counter = self.releases.len() as u64 + 1;
        self.releases.insert(version.clone(), counter);
        for node in self.nodes.values_mut() {
            node.learn(version.clone(), counter);
        }
        let push = PushRelease {
            app: APP.parse()?,
            release: release(version),
            counter,
            components: vec!["web".parse()?],
            platforms: vec![Platform::any()],
            strategy,
            healthy_deadline: HealthRules::default().healthy_deadline,
            migration,
            signed_by: vec![],
        };
        self.request(Request::PushRelease(push))?
            .map_err(|refusal| anyhow::anyhow!("{refusal}"))
            .map(drop)
    }

    pub fn enrol(&mut self, id: &NodeId, zone: &str, tenure: Tenure) -> anyhow::Result<()> {
        let token = NewToken {
            id: format!("for-{id}").parse()?,
            secret_hash: Digest::of(id.as_str().as_bytes()),
            node: None,
            labels: Labels::from([("zone".to_owned(), zone.to_owned())]),
            uses: 1,
            tenure,
        };
        self.let_in(id, token)
    }

    fn let_in(&mut self, id: &NodeId, token: NewToken) -> anyhow::Result<()> {
        let enrol = Request::Enrol {
            token: token.id.clone(),
            secret_hash: token.secret_hash,
            node: id.clone(),
            key: token.secret_hash,
            certificates_from: Timestamp(0),
            platform: "linux/amd64".parse()?,
        };
        let valid_for = Span::from_secs(60);
        for request in [Request::CreateToken { token, valid_for }, enrol] {
            self.request(request)?
                .map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
        }
        self.nodes.insert(id.clone(), SimNode::new(self.releases.clone()));
        self.connect(id)
    }

    /// An operator's wish, and what came of it.
    pub fn request(&mut self, request: Request) -> anyhow::Result<Result<Reply, Refusal>> {
        anyhow::ensure!(self.is_up, "the coordinator is not running");
        let by = Author::Operator("operator".parse()?);
        self.input(Input::Request { by, request })?
            .context("a request got no answer")
    }

    fn input(&mut self, input: Input) -> anyhow::Result<Option<Result<Reply, Refusal>>> {
        let turn = turn(&mut self.state, &[input], &self.settings, self.now)?;
        for (node, message) in turn.messages {
            if matches!(message, ToAgent::Command(_) | ToAgent::Service(_)) {
                self.wire.entry(node).or_default().push_back(message);
            }
        }
        self.journal.extend(turn.events);
        let broken = check(&self.state);
        anyhow::ensure!(broken.is_empty(), "invariants are broken: {broken:#?}");
        Ok(turn.answers.into_iter().next())
    }

    pub fn node(&mut self, id: &NodeId) -> anyhow::Result<&mut SimNode> {
        self.nodes
            .get_mut(id)
            .with_context(|| format!("there is no node {id}"))
    }

    pub fn connect(&mut self, id: &NodeId) -> anyhow::Result<()> {
        self.wire.remove(id);
        let node = self.node(id)?;
        node.connected = true;
        let hello = Hello {
            protocol: fleet_proto::PROTOCOL,
            agent_version: "0.1.0".to_owned(),
            facts: Facts {
                platform: "linux/amd64".parse()?,
                hostname: id.to_string(),
                kernel: "6.1".to_owned(),
                cpus: 2,
                memory: Bytes(4 << 30),
                disk: Bytes(20 << 30),
                disk_free: Bytes(10 << 30),
                booted_at: NOON,
            },
            apps: node.status(),
            service: Some(node.service()),
        };
        let history = node.ledger.history.clone();
        if !self.is_up {
            return Ok(());
        }
        let node = id.clone();
        self.input(Input::NodeConnected { node, hello })?;
        for entry in history {
            let (node, taken) = (id.clone(), entry.sequence);
            self.input(Input::NodeHistory { node, entry })?;
            self.node(id)?.ledger.forget_history_through(taken);
        }
        Ok(())
    }

    pub fn disconnect(&mut self, id: &NodeId) -> anyhow::Result<()> {
        self.wire.remove(id);
        self.node(id)?.connected = false;
        if self.is_up {
            self.input(Input::NodeGone { node: id.clone() })?;
        }
        Ok(())
    }

    /// kill -9: everything but the journal is gone.
    pub fn kill_coordinator(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.is_up, "the coordinator is dead already");
        self.is_up = false;
        self.wire.clear();
        Ok(())
    }

    pub fn start_coordinator(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.is_up, "the coordinator is running");
        let mut state = State::default();
        for stamped in &self.journal {
            // As the journal has it: written down and read back.
            state.apply(&serde_json::from_slice(&serde_json::to_vec(stamped)?)?)?;
        }
        anyhow::ensure!(state == self.state, "a replay of the journal gives another state");
        self.state = state;
        self.is_up = true;
        self.take_charge()?;
        let connected = self.nodes.iter().filter(|(_, node)| node.connected);
        let connected: Vec<NodeId> = connected.map(|(id, _)| id.clone()).collect();
        for id in connected {
            self.connect(&id)?;
        }
        Ok(())
    }

    /// Everything that happens at this moment, until nothing more does.
    pub fn settle(&mut self) -> anyhow::Result<()> {
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for id in self.nodes.keys().cloned().collect::<Vec<_>>() {
                moved |= self.settle_node(&id)?;
            }
            if self.is_up {
                let before = self.state.position;
                self.input(Input::Tick)?;
                moved |= self.state.position != before;
            }
            if !moved {
                return Ok(());
            }
        }
        anyhow::bail!("it does not come to rest within {ROUNDS_MAX} rounds")
    }

    fn settle_node(&mut self, id: &NodeId) -> anyhow::Result<bool> {
        let now = self.now;
        let next = self.wire.get_mut(id).and_then(VecDeque::pop_front);
        let node = self.node(id)?;
        let before = (node.status(), node.service());
        let refusal = match &next {
            Some(ToAgent::Command(command)) => node.take(command),
            Some(ToAgent::Service(told)) => {
                node.serve_or_not(*told);
                None
            }
            _ => None,
        };
        let worked = node.work(now);
        let after = (node.status(), node.service());
        let speaks = node.connected && self.is_up;
        if let Some(refusal) = refusal.filter(|_| speaks) {
            let node = id.clone();
            self.input(Input::NodeRefused { node, refusal })?;
        }
        if speaks && after != before {
            self.report(id)?;
        }
        Ok(next.is_some() || worked)
    }

    pub fn report(&mut self, id: &NodeId) -> anyhow::Result<()> {
        let (node, status) = (id.clone(), self.node(id)?.service());
        self.input(Input::NodeService { node, status })?;
        for status in self.node(id)?.status() {
            let node = id.clone();
            self.input(Input::NodeStatus { node, status })?;
        }
        Ok(())
    }

    /// Time passes, second by second, and everything happens as it comes.
    pub fn advance(&mut self, span: Span) -> anyhow::Result<()> {
        let end = self.now.plus(span);
        self.settle()?;
        while self.now < end {
            self.now = self.now.plus(STEP).min(end);
            self.settle()?;
        }
        Ok(())
    }
}

pub fn app() -> anyhow::Result<AppName> {
    Ok(APP.parse()?)
}

pub fn release(version: &Version) -> ReleaseRef {
    ReleaseRef {
        version: version.clone(),
        digest: Digest::of(version.as_str().as_bytes()),
    }
}
