//! One match over all events. An event that cannot follow from the state is an error
//! with a name: the journal would be somebody else's, or this code wrong.

mod course;
mod desired;
mod drain;
mod ends;
mod expiry;
mod fleet;
mod operators;
mod rollouts;
mod steps;

pub use steps::moves;

use fleet_proto::ids::{EnvironmentName, NodeId, OperatorName, RolloutNumber, TokenId};
use fleet_proto::time::Timestamp;

use super::{Course, Halt, State};
use crate::rollout::event::{Event, PauseCause, Stamped, Tenure};
use crate::rollout::node::{Connection, Cordon, Node};
use crate::rollout::operator::AccessGrant;

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
    #[error("there is no environment {0}")]
    NoEnvironment(EnvironmentName),
    #[error("there is no token {0}")]
    NoToken(TokenId),
    #[error("there is no operator {0}")]
    NoOperator(OperatorName),
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
            Event::FoundOutdated { node, seen } => {
                self.node(node)?;
                self.outdated.insert(node.clone(), *seen);
            }
            Event::TookOver { term, rollout } => self.take_over(*term, *rollout)?,
            Event::TookCharge { term } => {
                self.take_charge(*term)?;
                self.in_charge_since = at;
                self.start_clocks(at);
            }
            Event::EnvironmentDefined {
                environment,
                select,
                catch_up,
            } => self.define_environment(environment, select, *catch_up),
            Event::Halted {
                environment,
                by,
                reason,
            } => {
                let halt = Halt {
                    before: self.next_rollout(),
                    by: by.clone(),
                    reason: reason.clone(),
                    since: at,
                };
                *self.halt_at(environment.as_ref())? = Some(halt);
            }
            Event::Unhalted { environment, .. } => {
                *self.halt_at(environment.as_ref())? = None;
                self.start_clocks(at);
            }
            Event::ReleasePushed { push, by } => self.push_release(push, by, at),
            Event::TokenCreated {
                token,
                expires_at,
                by,
            } => self.create_token(token, *expires_at, by, at),
            Event::TokenRevoked { token, .. } => self.token(token)?.revoked = true,
            Event::AdminsDefined { admins } => self.admins.clone_from(admins),
            Event::OperatorAdded {
                operator,
                roles,
                certificates_from,
                by,
            } => self.add_operator(operator, roles, *certificates_from, by, at),
            Event::OperatorRemoved { operator, by } => self.remove_operator(operator, by, at)?,
            Event::AccessTokenCreated {
                operator,
                token,
                secret_hash,
                expires_at,
                by,
            } => {
                let grant = AccessGrant {
                    secret_hash: *secret_hash,
                    created_at: at,
                    expires_at: *expires_at,
                    by: by.clone(),
                };
                self.create_access_token(operator, token, grant, at);
            }
            Event::AccessTokenRevoked { operator, token, .. } => {
                self.revoke_access_token(operator, token)?;
            }
            Event::NodeEnrolled {
                node,
                token,
                key,
                certificates_from,
                labels,
                platform,
                tenure,
            } => {
                self.use_up(token)?;
                let new = Node {
                    labels: labels.clone(),
                    tenure: *tenure,
                    ..Node::enrolled(platform, *key, *certificates_from, at)
                };
                self.enrol(node, new, at);
            }
            Event::PodEnrolled {
                node,
                cluster,
                key,
                certificates_from,
                labels,
                platform,
            } => {
                let new = Node {
                    labels: labels.clone(),
                    tenure: Tenure::Ephemeral,
                    cluster: Some(cluster.clone()),
                    ..Node::enrolled(platform, *key, *certificates_from, at)
                };
                self.enrol(node, new, at);
            }
            Event::NodeLabelled { node, labels, .. } => {
                self.node(node)?.labels = labels.clone();
                self.note_wishes(node);
            }
            Event::NodeRevoked { node, .. } => {
                self.connect(node, Connection::Revoked { at })?;
                // Nothing is believed of it any more.
                self.outdated.remove(node);
                self.note_wishes(node);
            }
            Event::NodeExpired { node, .. } => self.expire(node, at)?,
            Event::NodeCordoned { node, by, reason } => {
                self.node(node)?.cordon = Some(Cordon {
                    by: by.clone(),
                    reason: reason.clone(),
                    since: at,
                });
            }
            Event::NodeUncordoned { node, .. } => self.node(node)?.cordon = None,
            Event::NodeDraining {
                node,
                by,
                reason,
                sequence,
                ..
            } => self.drain(node, *sequence, by, reason.as_ref(), at)?,
            Event::NodeUndrained { node, sequence, .. } => self.undrain(node, *sequence)?,
            Event::NodeDrained { node, sequence } => self.note_drained(node, *sequence, at)?,
            Event::NodeServes { node, sequence } => self.note_serves(node, *sequence)?,
            Event::NodeConnected {
                node,
                agent_version,
                facts,
                can_be_drained,
            } => {
                self.connect(node, Connection::Connected)?;
                let node = self.node(node)?;
                node.agent_version = Some(agent_version.clone());
                node.facts = Some(facts.clone());
                node.can_be_drained = *can_be_drained;
            }
            Event::NodeSilent { node, until } => {
                let until = *until;
                self.connect(node, Connection::Silent { since: at, until })?;
            }
            Event::NodeUnreachable { node } => self.connect(node, Connection::Unreachable { since: at })?,
            Event::NodeReported {
                node,
                app,
                current,
                last_good,
                health,
                busy,
                left,
            } => {
                let known = self.node(node)?.apps.entry(app.clone()).or_default();
                let is_taken_away = known.current.is_some() && current.is_none();
                known.current.clone_from(current);
                known.last_good.clone_from(last_good);
                known.health = health.clone();
                known.busy = *busy;
                if let Some(left) = left {
                    known.note_left(left);
                }
                self.note_emptied(node, app, is_taken_away)?;
                self.note_wish(node, app);
            }
            Event::NodeActed { node, entry } => {
                let known = self.node(node)?;
                known.history_taken = known.history_taken.max(entry.sequence);
                if let Some(from) = &entry.from {
                    known.apps.entry(entry.app.clone()).or_default().note_left(from);
                }
            }
            Event::RolloutStarted { number, rollout } => self.start_rollout(*number, rollout, at)?,
            Event::RolloutPaused {
                number, cause, why, ..
            } => {
                if *cause == PauseCause::Failures {
                    self.note_failed_release(*number, Some(why), at)?;
                }
                self.open_rollout(*number)?.course = Course::Paused {
                    cause: *cause,
                    why: why.clone(),
                    since: at,
                };
            }
            Event::RolloutResumed { number, forgiven, .. } => {
                self.open_rollout(*number)?.resume(forgiven, at);
            }
            Event::RolloutRetried { number, nodes, .. } => {
                self.open_rollout(*number)?.try_again(nodes, at);
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
                superseded_by,
                ..
            } => self.end_rollout(*number, *outcome, why.as_ref(), (*rollback, *superseded_by), at)?,
            Event::WaveStarted { number, wave } => {
                let rollout = self.rollout_at_wave(*number, *wave)?;
                rollout.waves[*wave].started_at = Some(at);
                rollout.progress_at = at;
            }
            Event::WaveBaking { number, wave, until } => {
                self.rollout_at_wave(*number, *wave)?.waves[*wave].bake_until = Some(*until);
            }
            Event::WavePassed {
                number,
                wave,
                skipped,
            } => {
                let rollout = self.rollout_at_wave(*number, *wave)?;
                rollout.skip(skipped);
                rollout.waves[*wave].passed_at = Some(at);
                rollout.wave += 1;
                rollout.note_steps();
                rollout.progress_at = at;
            }
            Event::CommandIssued {
                number,
                node,
                generation,
                order,
            } => self.issue(*number, node, *generation, order, at)?,
            Event::CommandRefused { number, node, .. } => {
                self.step(*number, node)?;
            }
            Event::MigrationMoved {
                number,
                act,
                stand,
                why,
                log_tail,
                ..
            } => self.move_migration(*number, *act, *stand, (why.as_ref(), log_tail), at),
            Event::StepRetried { number, node } => {
                self.step(*number, node)?.begin_anew(at);
                self.open_rollout(*number)?.note_step(node);
            }
            Event::StepOverdue {
                number,
                node,
                failure,
            } => self.give_up_waiting(*number, node, failure, at)?,
            Event::StepMoved {
                number,
                node,
                phase,
                failure,
            } => self.move_step(*number, node, *phase, failure.as_ref(), at)?,
        }
        Ok(())
    }
}
