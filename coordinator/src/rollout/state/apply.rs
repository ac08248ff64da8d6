//! One match over all events. An event that cannot follow from the state is an error
//! with a name: the journal would be somebody else's, or this code wrong.

use std::collections::BTreeMap;

use fleet_proto::ids::{NodeId, RolloutNumber, TokenId};
use fleet_proto::quantity::Span;
use fleet_proto::session::{FailureClass, Order, Phase};
use fleet_proto::time::Timestamp;

use super::{Course, Environment, Release, Rollout, State, Step, Token, WaveProgress};
use crate::rollout::event::{Event, Outcome, RolloutKind, RolloutStart, Stamped};
use crate::rollout::node::{Connection, IssuedOrder, Node};
use crate::rollout::plan::Wave;

/// What `status`, `history` and a rollback by number look back on; a state that held all
/// of them would make every start slower than the one before.
const ENDED_ROLLOUTS_KEPT: usize = 200;
/// How long an expired token is still told apart from one that never was.
const TOKENS_KEPT: Span = Span::from_secs(30 * 86_400);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalEvent {
    #[error("event {found} follows event {last}; expected {}", last + 1)]
    Position { last: u64, found: u64 },
    #[error("event {position} is from before the event that precedes it")]
    Time { position: u64 },
    #[error("term {found} follows term {last}")]
    Term { last: u64, found: u64 },
    #[error("there is no node {0}")]
    NoNode(NodeId),
    #[error("there is no token {0}")]
    NoToken(TokenId),
    #[error("there is no rollout {0}")]
    NoRollout(RolloutNumber),
    #[error("rollout {number} has no step on {node}")]
    NoStep { number: RolloutNumber, node: NodeId },
    #[error("rollout {0} exists already")]
    RolloutExists(RolloutNumber),
    #[error("rollout {0} has ended")]
    Ended(RolloutNumber),
    #[error("rollout {number} is at wave {at}, not at wave {wave}")]
    Wave {
        number: RolloutNumber,
        at: usize,
        wave: usize,
    },
    #[error("order {generation} to {node} in rollout {number} follows order {last}")]
    Generation {
        number: RolloutNumber,
        node: NodeId,
        last: u32,
        generation: u32,
    },
}

impl State {
    pub fn apply(&mut self, stamped: &Stamped) -> Result<(), IllegalEvent> {
        if stamped.position != self.position + 1 {
            return Err(IllegalEvent::Position {
                last: self.position,
                found: stamped.position,
            });
        }
        if stamped.at < self.at {
            return Err(IllegalEvent::Time {
                position: stamped.position,
            });
        }
        self.apply_event(&stamped.event, stamped.at)?;
        self.position = stamped.position;
        self.at = stamped.at;
        Ok(())
    }

    fn apply_event(&mut self, event: &Event, at: Timestamp) -> Result<(), IllegalEvent> {
        match event {
            Event::TookCharge { term } => {
                if *term <= self.term {
                    return Err(IllegalEvent::Term {
                        last: self.term,
                        found: *term,
                    });
                }
                self.term = *term;
            }
            Event::EnvironmentDefined { environment, select } => {
                self.environments
                    .entry(environment.clone())
                    .or_insert_with(|| Environment {
                        select: select.clone(),
                        desired: BTreeMap::new(),
                    })
                    .select = select.clone();
            }
            Event::ReleasePushed {
                app,
                release,
                counter,
                components,
                platforms,
                strategy,
                signed_by,
                by,
            } => {
                self.releases.entry(app.clone()).or_default().insert(
                    release.version.clone(),
                    Release {
                        release: release.clone(),
                        counter: *counter,
                        components: components.clone(),
                        platforms: platforms.clone(),
                        strategy: strategy.clone(),
                        signed_by: signed_by.clone(),
                        pushed_at: at,
                        by: by.clone(),
                    },
                );
            }
            Event::TokenCreated {
                token,
                secret_hash,
                labels,
                uses,
                expires_at,
                by,
            } => {
                self.tokens
                    .retain(|_, known| known.expires_at.plus(TOKENS_KEPT) > at);
                self.tokens.insert(
                    token.clone(),
                    Token {
                        secret_hash: *secret_hash,
                        labels: labels.clone(),
                        uses_left: *uses,
                        expires_at: *expires_at,
                        revoked: false,
                        by: by.clone(),
                    },
                );
            }
            Event::TokenRevoked { token, .. } => self.token(token)?.revoked = true,
            Event::NodeEnrolled {
                node,
                token,
                labels,
                platform,
            } => {
                let token = self.token(token)?;
                token.uses_left = token.uses_left.saturating_sub(1);
                self.nodes.insert(
                    node.clone(),
                    Node {
                        labels: labels.clone(),
                        platform: platform.clone(),
                        enrolled_at: at,
                        connection: Connection::Unreachable { since: at },
                        facts: None,
                        agent_version: None,
                        apps: BTreeMap::new(),
                        history_taken: 0,
                    },
                );
            }
            Event::NodeLabelled { node, labels, .. } => self.node(node)?.labels = labels.clone(),
            Event::NodeRevoked { node, .. } => self.connect(node, Connection::Revoked { at })?,
            Event::NodeConnected {
                node,
                agent_version,
                facts,
            } => {
                self.connect(node, Connection::Connected)?;
                let node = self.node(node)?;
                node.agent_version = Some(agent_version.clone());
                node.facts = Some(facts.clone());
            }
            Event::NodeSilent { node, until } => {
                self.connect(
                    node,
                    Connection::Silent {
                        since: at,
                        until: *until,
                    },
                )?;
            }
            Event::NodeUnreachable { node } => self.connect(node, Connection::Unreachable { since: at })?,
            Event::NodeReported {
                node,
                app,
                current,
                last_good,
                health,
            } => {
                let app = self.node(node)?.apps.entry(app.clone()).or_default();
                app.current = current.clone();
                app.last_good = last_good.clone();
                app.health = health.clone();
            }
            Event::NodeActed { node, entry } => {
                let node = self.node(node)?;
                node.history_taken = node.history_taken.max(entry.sequence);
            }
            Event::RolloutStarted { number, rollout } => self.start_rollout(*number, rollout, at)?,
            Event::RolloutPaused { number, cause, why } => {
                self.open_rollout(*number)?.course = Course::Paused {
                    cause: *cause,
                    why: why.clone(),
                    since: at,
                };
            }
            Event::RolloutResumed { number, forgiven, .. } => {
                self.open_rollout(*number)?.resume(forgiven, at);
            }
            Event::RolloutWidened {
                number,
                waves,
                held_back,
                ..
            } => self.widen(*number, waves, held_back, at)?,
            Event::RolloutHeld { number } => {
                self.open_rollout(*number)?.course = Course::Held { since: at };
            }
            Event::RolloutEnded {
                number,
                outcome,
                why,
                rollback,
            } => self.end_rollout(*number, *outcome, why.as_ref(), *rollback, at)?,
            Event::WaveStarted { number, wave } => {
                let rollout = self.rollout_at_wave(*number, *wave)?;
                rollout.waves[*wave].started_at = Some(at);
                rollout.progress_at = at;
            }
            Event::WaveBaking { number, wave, until } => {
                self.rollout_at_wave(*number, *wave)?.waves[*wave].bake_until = Some(*until);
            }
            Event::WavePassed { number, wave } => {
                let rollout = self.rollout_at_wave(*number, *wave)?;
                rollout.waves[*wave].passed_at = Some(at);
                rollout.wave += 1;
                rollout.progress_at = at;
            }
            Event::CommandIssued {
                number,
                node,
                generation,
                order,
            } => {
                let app = self.rollout(*number)?.plan.app.clone();
                let from = self.node(node)?.current(&app).cloned();
                let step = self.step(*number, node)?;
                if *generation != step.generation + 1 {
                    return Err(IllegalEvent::Generation {
                        number: *number,
                        node: node.clone(),
                        last: step.generation,
                        generation: *generation,
                    });
                }
                if step.generation == 0 {
                    step.from = from;
                }
                if let Some(phase) = phase_when_told(order) {
                    step.phase = phase;
                    step.since = at;
                }
                step.generation = *generation;
                step.order = Some(order.clone());
                self.node(node)?.apps.entry(app).or_default().order = Some(IssuedOrder {
                    number: *number,
                    generation: *generation,
                    order: order.clone(),
                });
            }
            Event::CommandRefused { number, node, .. } => {
                self.step(*number, node)?;
            }
            Event::StepMoved {
                number,
                node,
                phase,
                failure,
            } => {
                let step = self.step(*number, node)?;
                let got_good = !step.is_good() && matches!(phase, Phase::Baking | Phase::Done);
                step.phase = *phase;
                step.since = at;
                step.failure.clone_from(failure);
                if got_good {
                    self.rollout(*number)?.progress_at = at;
                }
            }
        }
        Ok(())
    }

    fn token(&mut self, token: &TokenId) -> Result<&mut Token, IllegalEvent> {
        self.tokens
            .get_mut(token)
            .ok_or_else(|| IllegalEvent::NoToken(token.clone()))
    }

    fn node(&mut self, node: &NodeId) -> Result<&mut Node, IllegalEvent> {
        self.nodes
            .get_mut(node)
            .ok_or_else(|| IllegalEvent::NoNode(node.clone()))
    }

    fn connect(&mut self, node: &NodeId, connection: Connection) -> Result<(), IllegalEvent> {
        self.node(node)?.connection = connection;
        if matches!(connection, Connection::Silent { .. }) {
            self.silent.insert(node.clone());
        } else {
            self.silent.remove(node);
        }
        Ok(())
    }

    fn rollout(&mut self, number: RolloutNumber) -> Result<&mut Rollout, IllegalEvent> {
        self.rollouts
            .get_mut(&number)
            .ok_or(IllegalEvent::NoRollout(number))
    }

    fn open_rollout(&mut self, number: RolloutNumber) -> Result<&mut Rollout, IllegalEvent> {
        let rollout = self.rollout(number)?;
        if rollout.is_ended() {
            return Err(IllegalEvent::Ended(number));
        }
        Ok(rollout)
    }

    fn rollout_at_wave(&mut self, number: RolloutNumber, wave: usize) -> Result<&mut Rollout, IllegalEvent> {
        let rollout = self.open_rollout(number)?;
        if rollout.wave != wave || wave >= rollout.waves.len() {
            return Err(IllegalEvent::Wave {
                number,
                at: rollout.wave,
                wave,
            });
        }
        Ok(rollout)
    }

    fn step(&mut self, number: RolloutNumber, node: &NodeId) -> Result<&mut Step, IllegalEvent> {
        self.rollout(number)?
            .steps
            .get_mut(node)
            .ok_or_else(|| IllegalEvent::NoStep {
                number,
                node: node.clone(),
            })
    }

    fn start_rollout(
        &mut self,
        number: RolloutNumber,
        start: &RolloutStart,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        if self.rollouts.contains_key(&number) {
            return Err(IllegalEvent::RolloutExists(number));
        }
        let rollout = Rollout {
            number,
            kind: start.kind.clone(),
            plan: start.plan.clone(),
            by: start.by.clone(),
            reason: start.reason.clone(),
            request_id: start.request_id.clone(),
            started_at: at,
            course: Course::Running,
            wave: 0,
            waves: vec![WaveProgress::default(); start.plan.waves.len()],
            steps: steps_of(&start.plan.waves, 0, at),
            progress_at: at,
            rollback: None,
        };
        self.rollouts.insert(number, rollout);
        self.active.insert(number);
        Ok(())
    }

    fn widen(
        &mut self,
        number: RolloutNumber,
        waves: &[Wave],
        held_back: &[NodeId],
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let rollout = self.open_rollout(number)?;
        let first = rollout.waves.len();
        rollout.steps.append(&mut steps_of(waves, first, at));
        rollout.waves.resize(first + waves.len(), WaveProgress::default());
        rollout.plan.waves.extend_from_slice(waves);
        rollout.plan.held_back = held_back.to_vec();
        rollout.course = Course::Running;
        rollout.progress_at = at;
        Ok(())
    }

    fn end_rollout(
        &mut self,
        number: RolloutNumber,
        outcome: Outcome,
        why: Option<&String>,
        rollback: Option<RolloutNumber>,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let rollout = self.open_rollout(number)?;
        rollout.course = Course::Ended {
            outcome,
            why: why.cloned(),
            at,
        };
        rollout.rollback = rollback;
        let rollout = rollout.clone();
        self.active.remove(&number);
        self.forget_old_rollouts();
        if outcome == Outcome::Succeeded {
            self.record_desired(&rollout);
        }
        Ok(())
    }

    /// The journal keeps what the state forgets.
    fn forget_old_rollouts(&mut self) {
        let ended = self.rollouts.len() - self.active.len();
        let forgotten: Vec<RolloutNumber> = self
            .rollouts
            .keys()
            .filter(|number| !self.active.contains(number))
            .take(ended.saturating_sub(ENDED_ROLLOUTS_KEPT))
            .copied()
            .collect();
        for number in forgotten {
            self.rollouts.remove(&number);
        }
    }

    /// A rollout that succeeded says what the environment wants from now on; a
    /// rollback says so only where all nodes agree.
    fn record_desired(&mut self, rollout: &Rollout) {
        let app = &rollout.plan.app;
        let mut reached: Vec<_> = match &rollout.kind {
            RolloutKind::Forward { release } => vec![Some(release.clone())],
            RolloutKind::Rollback { .. } => rollout
                .steps
                .keys()
                .filter_map(|node| self.nodes.get(node))
                .map(|node| node.current(app).cloned())
                .collect(),
        };
        reached.sort();
        reached.dedup();
        let Some(environment) = self.environments.get_mut(&rollout.plan.environment) else {
            return;
        };
        if let [Some(release)] = reached.as_slice() {
            environment.desired.insert(app.clone(), release.clone());
        } else if !reached.is_empty() {
            environment.desired.remove(app);
        }
    }
}

/// From the command on the step counts as on its way, whatever the node has got round to.
fn phase_when_told(order: &Order) -> Option<Phase> {
    match order {
        Order::Deploy { .. } => Some(Phase::Fetching),
        Order::Revert { .. } => Some(Phase::RollingBack),
        Order::Commit => None,
    }
}

fn steps_of(waves: &[Wave], first: usize, at: Timestamp) -> BTreeMap<NodeId, Step> {
    let mut steps = BTreeMap::new();
    for (i, wave) in waves.iter().enumerate() {
        for node in &wave.nodes {
            steps.insert(
                node.clone(),
                Step {
                    wave: first + i,
                    phase: Phase::Pending,
                    since: at,
                    generation: 0,
                    order: None,
                    from: None,
                    failure: None,
                    forgiven: false,
                },
            );
        }
    }
    steps
}

impl Rollout {
    /// What failed for want of infrastructure is tried again from the beginning.
    fn resume(&mut self, forgiven: &[NodeId], at: Timestamp) {
        self.course = Course::Running;
        self.progress_at = at;
        // On the way back, rolled back is what was asked for, whatever had failed before.
        let is_forward = self.is_forward();
        for step in self.steps.values_mut() {
            let came_to_nothing =
                step.phase == Phase::Failed || (is_forward && step.phase == Phase::RolledBack);
            if came_to_nothing && step.failed_as(FailureClass::Infrastructure) {
                step.phase = Phase::Pending;
                step.failure = None;
                step.since = at;
            }
        }
        for node in forgiven {
            if let Some(step) = self.steps.get_mut(node) {
                step.forgiven = true;
            }
        }
    }
}
