//! A coordinator's core and virtual nodes that do what agents do, step by step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fleet_coordinator::rollout::availability::limit;
use fleet_coordinator::rollout::check::check;
use fleet_coordinator::rollout::decide::decide_rollout;
use fleet_coordinator::rollout::event::{CatchUp, Event, NewToken, PushRelease, Stamped, Tenure, Urgency};
use fleet_coordinator::rollout::input::{Author, Definition, Input, Refusal, Reply, Request, Settings};
use fleet_coordinator::rollout::state::{Rollout, State};
use fleet_coordinator::rollout::turn::turn;
use fleet_proto::digest::Digest;
use fleet_proto::ids::{AppName, NodeId, RolloutNumber};
use fleet_proto::labels::Labels;
use fleet_proto::quantity::{Bytes, Span};
use fleet_proto::release::{Platform, ReleaseRef, Strategy};
use fleet_proto::session::{
    AppStatus, Command, Facts, Failure, FailureClass, Health, Hello, Order, Phase, Service, StepStatus,
    ToAgent,
};
use fleet_proto::time::Timestamp;

use super::node::{VirtualApp, VirtualNode};

/// How the release that a node tries turns out there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fortune {
    Good,
    Bad,
    /// It cannot even be fetched.
    NoBytes,
}

pub struct Fleet {
    pub state: State,
    pub(super) events: Vec<Stamped>,
    pub(super) nodes: BTreeMap<NodeId, VirtualNode>,
    /// On the wire to a node; lost with its connection.
    pub(super) inbox: BTreeMap<NodeId, VecDeque<Command>>,
    /// The newest word on whether to serve that is on the wire to a node.
    pub(super) words: BTreeMap<NodeId, Service>,
    pub(super) now: Timestamp,
    settings: Settings,
    catch_up: CatchUp,
    pub(super) broken: Vec<String>,
}

pub fn app() -> AppName {
    "shop".parse().unwrap()
}

/// Beside the first, on the same nodes.
pub fn other_app() -> AppName {
    "till".parse().unwrap()
}

pub fn release(version: &str) -> ReleaseRef {
    ReleaseRef {
        version: version.parse().unwrap(),
        digest: Digest::of(version.as_bytes()),
    }
}

impl Fleet {
    pub fn new(nodes: usize, zones: usize) -> Self {
        Self::with(nodes, zones, CatchUp::Auto)
    }

    pub fn with(nodes: usize, zones: usize, catch_up: CatchUp) -> Self {
        let mut fleet = Self {
            catch_up,
            state: State::default(),
            events: vec![],
            nodes: BTreeMap::new(),
            inbox: BTreeMap::new(),
            words: BTreeMap::new(),
            now: Timestamp(1_000_000),
            settings: Settings::default(),
            broken: vec![],
        };
        fleet.take_charge();
        for version in ["v1", "v2", "v3", "v9"] {
            fleet.push(app(), version);
        }
        for version in ["v1", "v2"] {
            fleet.push(other_app(), version);
        }
        for i in 0..nodes {
            fleet.enrol(i, zones);
        }
        fleet
    }

    pub(super) fn take_charge(&mut self) {
        let definition = Definition {
            select: "elsewhere!=yes".parse().unwrap(),
            catch_up: self.catch_up,
        };
        let environments = [("dev".parse().unwrap(), definition)].into();
        let admins = ["tester".parse().unwrap()].into();
        self.input(Input::TakeCharge { environments, admins });
    }

    fn push(&mut self, app: AppName, version: &str) {
        let push = PushRelease {
            app,
            release: release(version),
            counter: u64::from(version.as_bytes()[1]),
            components: vec!["web".parse().unwrap()],
            platforms: vec![Platform::any()],
            // One of them is tried again by itself.
            strategy: Strategy {
                retries: if version == "v3" { 2 } else { 0 },
                ..Strategy::default()
            },
            healthy_deadline: Span::from_secs(300),
            migration: None,
            signed_by: vec![],
        };
        self.request(Request::PushRelease(push)).unwrap();
    }

    fn enrol(&mut self, i: usize, zones: usize) {
        let node: NodeId = format!("n{i:03}").parse().unwrap();
        let zone = ["a", "b", "c"][i % zones];
        let labels: Labels = [("zone".to_owned(), zone.to_owned())].into();
        let token = format!("t{i}").parse().unwrap();
        let token = NewToken {
            id: token,
            secret_hash: Digest::of(b"s"),
            node: None,
            labels,
            uses: 1,
            tenure: Tenure::default(),
        };
        let valid_for = Span::from_secs(60);
        self.request(Request::CreateToken { token, valid_for }).unwrap();
        self.request(Request::Enrol {
            token: format!("t{i}").parse().unwrap(),
            secret_hash: Digest::of(b"s"),
            node: node.clone(),
            key: Digest::of(node.as_str().as_bytes()),
            certificates_from: Timestamp(0),
            platform: "linux/amd64".parse().unwrap(),
        })
        .unwrap();
        let virtual_node = VirtualNode::new([app(), other_app()]);
        self.nodes.insert(node.clone(), virtual_node);
        self.connect(&node);
    }

    pub fn input(&mut self, input: Input) -> Option<Result<Reply, Refusal>> {
        let before = [app(), other_app()].map(|app| (app.clone(), self.down(&app)));
        let before = BTreeMap::from(before);
        // No two things happen at once, so that `check` can tell before from after.
        self.now = Timestamp(self.now.0 + 1);
        let turn = turn(&mut self.state, &[input], &self.settings, self.now).unwrap();
        for stamped in &turn.events {
            if let Event::CommandIssued {
                number,
                node,
                order: Order::Deploy { .. },
                ..
            } = &stamped.event
            {
                self.must_be_bounded(*number, node, &before);
            }
        }
        for (node, message) in turn.messages {
            match message {
                ToAgent::Command(command) => {
                    self.must_be_in_order(&node, &command);
                    self.inbox.entry(node).or_default().push_back(command);
                }
                ToAgent::Service(service) => {
                    self.words.insert(node, service);
                }
                _ => {}
            }
        }
        self.events.extend(turn.events);
        self.broken.extend(check(&self.state));
        if let Some(why) = fleet_coordinator::rollout::outdated::why(&self.state) {
            self.broken.push(why);
        }
        turn.answers.into_iter().next()
    }

    /// Invariant 5: where everything is halted only an emergency moves, and nobody is told
    /// to deploy for a rollout that is over.
    fn must_be_in_order(&mut self, node: &NodeId, command: &Command) {
        let Some(rollout) = self.state.rollouts.get(&command.fence.rollout) else {
            return;
        };
        let number = rollout.number;
        if self.state.halt.is_some() && rollout.urgency == Urgency::Ordinary {
            self.broken
                .push(format!("{node} was told to move for {number} while halted"));
        }
        let deploys = matches!(command.order, Order::Deploy { .. });
        if deploys && rollout.is_ended() {
            self.broken
                .push(format!("{node} was told to deploy for {number}, which is over"));
        }
        if deploys && self.state.nodes[node].cordon.is_some() {
            let known = rollout
                .steps
                .get(node)
                .is_some_and(|step| step.generation >= command.fence.generation);
            if !known {
                self.broken
                    .push(format!("{node} is cordoned and was told to deploy for {number}"));
            }
        }
    }

    /// Invariant 3, computed anew: a command to a node that served well is given only
    /// while fewer nodes are down than may be.
    fn must_be_bounded(
        &mut self,
        number: RolloutNumber,
        node: &NodeId,
        before: &BTreeMap<AppName, BTreeSet<NodeId>>,
    ) {
        let rollout = &self.state.rollouts[&number];
        let app = &rollout.plan.app;
        let ill = self.state.nodes[node].apps[app].health != Health::Healthy;
        if ill || before[app].contains(node) || rollout.steps[node].from.is_none() {
            return;
        }
        let there = self.nodes.keys().filter(|id| self.is_there(id)).count();
        let (limit, _) = limit(&rollout.plan.strategy, there);
        let down = self.down(app);
        if down.len() > limit {
            self.broken.push(format!(
                "{node} was told to move while {} are down: {down:?}, limit {limit}",
                down.len()
            ));
        }
    }

    /// Nodes that served and do not serve well now, or are being moved, whoever told them.
    fn down(&self, app: &AppName) -> BTreeSet<NodeId> {
        let is_told = |id: &NodeId| {
            let mut commands = self.inbox.get(id).into_iter().flatten();
            commands.any(|command| command.app == *app && command.order != Order::Commit)
        };
        let moving = self
            .nodes
            .iter()
            .filter(|(id, node)| {
                let app = &node.apps[app];
                app.current.is_some() && node.connected && (is_told(id) || app.moves())
            })
            .map(|(id, _)| id.clone());
        let ill = self
            .state
            .nodes
            .iter()
            .filter(|(_, node)| {
                let app = node.apps.get(app);
                app.is_some_and(|app| app.current.is_some() && app.health != Health::Healthy)
                    || (app.is_some_and(|app| app.current.is_some()) && !node.is_connected())
            })
            .map(|(id, _)| id.clone());
        moving.chain(ill).filter(|id| self.is_there(id)).collect()
    }

    /// In the environment.
    fn is_there(&self, id: &NodeId) -> bool {
        !self.state.nodes[id].labels.contains_key("elsewhere")
    }

    pub fn request(&mut self, request: Request) -> Result<Reply, Refusal> {
        self.input(Input::Request {
            by: Author::Operator("tester".parse().unwrap()),
            request,
        })
        .unwrap()
    }

    pub fn connect(&mut self, id: &NodeId) {
        self.inbox.remove(id);
        self.words.remove(id);
        let Some(node) = self.nodes.get_mut(id) else {
            return;
        };
        node.connected = true;
        let hello = Hello {
            service: Some(node.service),
            ..hello(id, node.status())
        };
        self.input(Input::NodeConnected {
            node: id.clone(),
            hello,
        });
    }

    pub(super) fn disconnect(&mut self, id: &NodeId) {
        self.inbox.remove(id);
        self.words.remove(id);
        if let Some(node) = self.nodes.get_mut(id)
            && std::mem::replace(&mut node.connected, false)
        {
            self.input(Input::NodeGone { node: id.clone() });
        }
    }

    pub(super) fn replay(&self) -> State {
        let mut state = State::default();
        for stamped in &self.events {
            // As the journal has it: written down and read back.
            let bytes = serde_json::to_vec(stamped).unwrap();
            state.apply(&serde_json::from_slice(&bytes).unwrap()).unwrap();
        }
        state
    }

    pub fn replayed(&self) -> Vec<u8> {
        serde_json::to_vec(&self.replay()).unwrap()
    }

    pub fn state_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.state).unwrap()
    }

    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    pub fn place(&self, id: &NodeId) -> usize {
        self.nodes.keys().position(|known| known == id).unwrap()
    }

    pub fn nth(&self, n: usize) -> NodeId {
        self.nodes.keys().nth(n % self.nodes.len()).unwrap().clone()
    }

    fn rollout(&self, number: RolloutNumber) -> &Rollout {
        &self.state.rollouts[&number]
    }

    /// The first app on the node.
    pub fn node(&mut self, n: usize) -> &mut VirtualApp {
        let id = self.nth(n);
        let node = self.nodes.get_mut(&id).unwrap();
        node.apps.get_mut(&app()).unwrap()
    }

    /// What it waits for, in the words that people read.
    pub fn waiting(&self, number: RolloutNumber) -> Vec<String> {
        decide_rollout(&self.state, self.rollout(number), self.now)
            .waiting
            .into_iter()
            .map(|waiting| waiting.what)
            .collect()
    }

    pub fn outcome(&self, number: RolloutNumber) -> &'static str {
        self.rollout(number).course.word()
    }

    /// What the environment wants.
    pub fn desired(&self) -> Option<ReleaseRef> {
        let environment = &self.state.environments[&"dev".parse().unwrap()];
        environment.desired.get(&app()).cloned()
    }

    pub fn touched(&self, number: RolloutNumber) -> usize {
        self.touched_nodes(number).len()
    }

    pub fn touched_nodes(&self, number: RolloutNumber) -> Vec<NodeId> {
        let steps = self.rollout(number).steps.iter();
        steps
            .filter(|(_, step)| step.is_issued())
            .map(|(id, _)| id.clone())
            .collect()
    }

    pub fn all_run(&self, version: &str) -> bool {
        self.nodes
            .values()
            .map(|node| node.apps[&app()].status())
            .all(|app| app.current == Some(release(version)) && app.health == Health::Healthy)
    }

    pub fn story(&self, number: RolloutNumber) -> String {
        let events = self.events.iter().map(fleet_coordinator::rollout::view::event);
        let told = events.filter(|event| event.rollout == Some(number) || event.rollout.is_none());
        told.map(|event| event.message).collect::<Vec<_>>().join("\n")
    }
}

pub fn hello(id: &NodeId, apps: Vec<AppStatus>) -> Hello {
    Hello {
        protocol: fleet_proto::PROTOCOL,
        agent_version: "test".into(),
        facts: Facts {
            platform: "linux/amd64".parse().unwrap(),
            hostname: id.to_string(),
            kernel: "6".into(),
            cpus: 2,
            memory: Bytes(1),
            disk: Bytes(1),
            disk_free: Bytes(1),
            booted_at: Timestamp(0),
        },
        apps,
        service: None,
    }
}

pub fn failure(class: FailureClass) -> Failure {
    Failure {
        class,
        check: Some("web/health".into()),
        message: "it answered 503".into(),
        figure: Some("503".into()),
        limit: Some("200".into()),
        log_tail: vec![],
    }
}

pub fn step_status(command: &Command, release: Option<ReleaseRef>, phase: Phase) -> StepStatus {
    StepStatus {
        rollout: command.fence.rollout,
        generation: command.fence.generation,
        release,
        phase,
        failure: None,
        failed: None,
        migration: None,
    }
}
