//! The fleet as the events tell of it: a second, smaller understanding of the journal.

use std::collections::{BTreeMap, BTreeSet};

use fleet_coordinator::rollout::event::{Event, Outcome, RolloutKind, RolloutStart, Stamped, Urgency};
use fleet_coordinator::rollout::plan::Wave;
use fleet_proto::ids::{AppName, EnvironmentName, NodeId, RolloutNumber};
use fleet_proto::labels::{Labels, Selector};
use fleet_proto::release::Strategy;
use fleet_proto::session::{Failure, FailureClass, Health, Order, Phase};
use fleet_proto::time::Timestamp;

/// What may be down together: an app in an environment.
pub type Place = (AppName, EnvironmentName);

#[derive(Debug, Default)]
pub struct Seen {
    pub position: u64,
    pub at: Timestamp,
    pub term: u64,
    pub nodes: BTreeMap<NodeId, Node>,
    pub environments: BTreeMap<EnvironmentName, Selector>,
    pub rollouts: BTreeMap<RolloutNumber, Rollout>,
    /// One, and beside it nodes that catch up.
    pub active: BTreeMap<Place, BTreeSet<RolloutNumber>>,
    /// With the newest rollout at that time: an emergency after it goes on.
    halt: Option<RolloutNumber>,
    halted: BTreeMap<EnvironmentName, RolloutNumber>,
    /// Without those that were revoked.
    members: BTreeMap<EnvironmentName, BTreeSet<NodeId>>,
    /// Nodes that served and do not serve well now, or are being moved.
    pub down: BTreeMap<Place, BTreeSet<NodeId>>,
}

#[derive(Debug, Default)]
pub struct Node {
    pub labels: Labels,
    pub is_connected: bool,
    pub is_revoked: bool,
    pub is_cordoned: bool,
    /// Nothing runs there, or will not soon.
    pub is_drained: bool,
    pub apps: BTreeMap<AppName, Stands>,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Stands {
    pub serves: bool,
    pub well: bool,
    /// Told to move, or said to be moving, by whichever rollout.
    pub busy: bool,
    /// The newest rollout that told it to move.
    pub told_by: RolloutNumber,
}

#[derive(Debug)]
pub struct Rollout {
    pub place: Place,
    pub forward: bool,
    pub catch_up: bool,
    pub emergency: bool,
    pub strategy: Strategy,
    pub planned: usize,
    pub steps: BTreeMap<NodeId, Step>,
    pub waves: usize,
    pub waves_started: usize,
    pub waves_passed: usize,
    pub is_paused: bool,
    pub outcome: Option<Outcome>,
    /// Whose failure counts against the budget.
    pub failed: BTreeSet<NodeId>,
}

#[derive(Debug)]
pub struct Step {
    pub wave: usize,
    pub phase: Phase,
    pub told: u32,
    /// It served when it was told first.
    pub served: bool,
    pub failure: Option<FailureClass>,
    pub forgiven: bool,
}

impl Seen {
    /// Takes note of an event.
    pub fn take(&mut self, stamped: &Stamped) {
        self.position = stamped.position;
        self.at = stamped.at;
        match &stamped.event {
            Event::TookCharge { term } => self.term = *term,
            Event::EnvironmentDefined {
                environment, select, ..
            } => {
                self.environments.insert(environment.clone(), select.clone());
            }
            Event::NodeEnrolled { node, labels, .. } | Event::PodEnrolled { node, labels, .. } => {
                let known = self.nodes.entry(node.clone()).or_default();
                known.labels.clone_from(labels);
                known.is_connected = false;
                known.is_revoked = false;
                self.place(node);
                self.count(node);
            }
            Event::NodeLabelled { node, labels, .. } => {
                self.change(node, |known| known.labels.clone_from(labels));
                self.place(node);
            }
            Event::NodeRevoked { node, .. } | Event::NodeExpired { node, .. } => {
                self.change(node, |known| {
                    known.is_revoked = true;
                    known.is_connected = false;
                });
                self.place(node);
            }
            Event::NodeCordoned { node, .. } => self.change(node, |known| known.is_cordoned = true),
            Event::NodeUncordoned { node, .. } => self.change(node, |known| known.is_cordoned = false),
            Event::NodeDraining { node, .. } | Event::NodeDrained { node, .. } => {
                self.change(node, |known| known.set_apart(true));
            }
            Event::NodeUndrained { node, .. } => {
                self.change(node, |known| known.set_apart(false));
            }
            Event::Halted { environment, .. } => {
                let newest = self.rollouts.keys().next_back().copied().unwrap_or_default();
                match environment {
                    Some(environment) => drop(self.halted.insert(environment.clone(), newest)),
                    None => self.halt = Some(newest),
                }
            }
            Event::Unhalted { environment, .. } => match environment {
                Some(environment) => {
                    self.halted.remove(environment);
                }
                None => self.halt = None,
            },
            Event::NodeConnected { node, .. } => self.change(node, |known| known.is_connected = true),
            Event::NodeSilent { node, .. } | Event::NodeUnreachable { node } => {
                self.change(node, |known| known.is_connected = false);
            }
            Event::NodeReported {
                node,
                app,
                current,
                health,
                busy,
                ..
            } => self.change(node, |known| {
                let stands = known.apps.entry(app.clone()).or_default();
                stands.serves = current.is_some();
                stands.well = *health == Health::Healthy;
                stands.busy = *busy;
            }),
            _ => self.take_of_rollout(&stamped.event),
        }
    }

    fn take_of_rollout(&mut self, event: &Event) {
        match event {
            Event::RolloutStarted { number, rollout } => self.start(*number, rollout),
            Event::RolloutPaused { number, .. } => self.on(*number, |rollout| rollout.is_paused = true),
            Event::RolloutResumed { number, forgiven, .. } => {
                self.on(*number, |rollout| rollout.resume(forgiven));
                self.count_all(*number);
            }
            Event::RolloutRetried { number, nodes, .. } => {
                self.on(*number, |rollout| {
                    rollout.is_paused = false;
                    nodes.iter().for_each(|node| rollout.try_again(node));
                });
                self.count_all(*number);
            }
            Event::StepRetried { number, node } => {
                self.on(*number, |rollout| rollout.try_again(node));
                self.count(node);
            }
            Event::StepOverdue {
                number,
                node,
                failure,
            } => {
                self.on(*number, |rollout| {
                    rollout.move_step(node, Phase::Failed, Some(failure));
                });
                self.count(node);
            }
            Event::RolloutWidened { number, waves, .. } => self.on(*number, |rollout| rollout.add(waves)),
            Event::RolloutEnded { number, outcome, .. } => {
                self.on(*number, |rollout| rollout.outcome = Some(*outcome));
                self.active.values_mut().for_each(|active| {
                    active.remove(number);
                });
                self.count_all(*number);
            }
            Event::WaveStarted { number, .. } => self.on(*number, |rollout| rollout.waves_started += 1),
            Event::WavePassed { number, .. } => self.on(*number, |rollout| rollout.waves_passed += 1),
            Event::CommandIssued {
                number, node, order, ..
            } => self.tell(*number, node, order),
            Event::StepMoved {
                number,
                node,
                phase,
                failure,
            } => {
                self.on(*number, |rollout| {
                    rollout.move_step(node, *phase, failure.as_ref());
                });
                self.count(node);
            }
            _ => {}
        }
    }

    /// In which environments the node is. They are defined before any node is there.
    fn place(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id) else { return };
        for (environment, select) in &self.environments {
            let members = self.members.entry(environment.clone()).or_default();
            if !node.is_revoked && select.matches(&node.labels) {
                members.insert(id.clone());
            } else {
                members.remove(id);
            }
        }
    }

    fn change(&mut self, node: &NodeId, how: impl FnOnce(&mut Node)) {
        if let Some(known) = self.nodes.get_mut(node) {
            how(known);
        }
        self.count(node);
    }

    fn on(&mut self, number: RolloutNumber, how: impl FnOnce(&mut Rollout)) {
        if let Some(rollout) = self.rollouts.get_mut(&number) {
            how(rollout);
        }
    }

    fn start(&mut self, number: RolloutNumber, start: &RolloutStart) {
        let plan = &start.plan;
        let place = (plan.app.clone(), plan.environment.clone());
        let mut rollout = Rollout {
            place: place.clone(),
            forward: !matches!(start.kind, RolloutKind::Rollback { .. }),
            catch_up: matches!(start.kind, RolloutKind::CatchUp { .. }),
            emergency: start.urgency == Urgency::Emergency,
            strategy: plan.strategy.clone(),
            planned: plan.nodes(),
            steps: BTreeMap::new(),
            waves: 0,
            waves_started: 0,
            waves_passed: 0,
            is_paused: false,
            outcome: None,
            failed: BTreeSet::new(),
        };
        rollout.add(&plan.waves);
        self.rollouts.insert(number, rollout);
        self.active.entry(place).or_default().insert(number);
    }

    fn tell(&mut self, number: RolloutNumber, node: &NodeId, order: &Order) {
        let Some(rollout) = self.rollouts.get_mut(&number) else {
            return;
        };
        let stands = self
            .nodes
            .get(node)
            .and_then(|known| known.apps.get(&rollout.place.0));
        let serves = stands.is_some_and(|stands| stands.serves);
        let app = rollout.place.0.clone();
        if let Some(step) = rollout.steps.get_mut(node) {
            step.served = if step.told == 0 { serves } else { step.served };
            step.told += 1;
            match order {
                Order::Deploy { .. } => {
                    step.phase = Phase::Fetching;
                    step.forgiven = false;
                }
                Order::Revert { .. } => step.phase = Phase::RollingBack,
                Order::Commit | Order::Migrate { .. } => {}
            }
        }
        if matches!(order, Order::Deploy { .. } | Order::Revert { .. })
            && let Some(known) = self.nodes.get_mut(node)
        {
            let stands = known.apps.entry(app).or_default();
            stands.busy = true;
            stands.told_by = number;
        }
        self.count(node);
    }

    fn count_all(&mut self, number: RolloutNumber) {
        let Some(rollout) = self.rollouts.get(&number) else {
            return;
        };
        let nodes: Vec<NodeId> = rollout.steps.keys().cloned().collect();
        for node in nodes {
            self.count(&node);
        }
    }

    /// Whether this node is down, in each place.
    fn count(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get(id) else { return };
        for (environment, select) in &self.environments {
            let is_here = select.matches(&node.labels);
            for app in node.apps.keys().chain(self.active.keys().map(|(app, _)| app)) {
                let place = (app.clone(), environment.clone());
                let stands = node.apps.get(app).copied().unwrap_or_default();
                let is_well = node.is_connected && !node.is_drained && stands.well;
                let is_ill = is_here && stands.serves && !is_well;
                let active = self.active.get(&place).into_iter().flatten();
                let mut steps = active
                    // What a newer rollout has taken over is in its hands alone.
                    .filter(|number| **number >= stands.told_by)
                    .filter_map(|number| self.rollouts.get(number))
                    .filter_map(|rollout| Some((rollout.forward, rollout.steps.get(id)?)));
                // What a move forward has left with nothing is taken away from those that serve.
                let is_moved = is_here
                    && ((stands.serves && stands.busy)
                        || steps.any(|(forward, step)| {
                            let is_moved = if forward {
                                step.is_on_its_way() || !stands.serves
                            } else {
                                step.is_on_its_way() && stands.serves
                            };
                            step.told > 0 && step.served && is_moved
                        }));
                let is_down = !node.is_revoked && (is_ill || is_moved);
                let down = self.down.entry(place).or_default();
                if is_down {
                    down.insert(id.clone());
                } else {
                    down.remove(id);
                }
            }
        }
    }

    pub fn is_halted(&self, number: RolloutNumber) -> bool {
        let Some(rollout) = self.rollouts.get(&number) else {
            return false;
        };
        let own = self.halted.get(&rollout.place.1).copied();
        let mut halts = self.halt.into_iter().chain(own);
        halts.any(|newest| !rollout.emergency || number <= newest)
    }

    pub fn down(&self, place: &Place) -> usize {
        self.down.get(place).map_or(0, BTreeSet::len)
    }

    pub fn is_down(&self, place: &Place, node: &NodeId) -> bool {
        self.down.get(place).is_some_and(|down| down.contains(node))
    }

    pub fn is_member(&self, environment: &EnvironmentName, node: &NodeId) -> bool {
        self.members
            .get(environment)
            .is_some_and(|members| members.contains(node))
    }

    pub fn nodes_in(&self, environment: &EnvironmentName) -> usize {
        self.members.get(environment).map_or(0, BTreeSet::len)
    }
}

impl Node {
    fn set_apart(&mut self, apart: bool) {
        (self.is_cordoned, self.is_drained) = (apart, apart);
    }
}

impl Step {
    fn is_on_its_way(&self) -> bool {
        matches!(
            self.phase,
            Phase::Fetching
                | Phase::Staged
                | Phase::Migrating
                | Phase::Activating
                | Phase::Verifying
                | Phase::RollingBack
        )
    }
}

impl Rollout {
    fn add(&mut self, waves: &[Wave]) {
        for (i, wave) in waves.iter().enumerate() {
            for node in &wave.nodes {
                let step = Step {
                    wave: self.waves + i,
                    phase: Phase::Pending,
                    told: 0,
                    served: false,
                    failure: None,
                    forgiven: false,
                };
                self.steps.insert(node.clone(), step);
            }
        }
        self.waves += waves.len();
        self.is_paused = false;
    }

    fn resume(&mut self, forgiven: &[NodeId]) {
        self.is_paused = false;
        for step in self.steps.values_mut() {
            let over = step.phase == Phase::Failed || (self.forward && step.phase == Phase::RolledBack);
            if over && step.failure == Some(FailureClass::Infrastructure) {
                step.phase = Phase::Pending;
                step.failure = None;
            }
        }
        for node in forgiven {
            self.failed.remove(node);
            if let Some(step) = self.steps.get_mut(node) {
                step.forgiven = true;
            }
        }
    }

    fn try_again(&mut self, node: &NodeId) {
        self.failed.remove(node);
        if let Some(step) = self.steps.get_mut(node) {
            step.phase = Phase::Pending;
            step.failure = None;
            step.forgiven = false;
        }
    }

    fn move_step(&mut self, node: &NodeId, phase: Phase, failure: Option<&Failure>) {
        let Some(step) = self.steps.get_mut(node) else {
            return;
        };
        step.phase = phase;
        step.failure = failure.map(|failure| failure.class);
        if step.failure == Some(FailureClass::Release) && !step.forgiven {
            self.failed.insert(node.clone());
        } else {
            self.failed.remove(node);
        }
    }
}
