//! How a rollout stands, counted once: what the rules in `decide` and `check` read.

use std::collections::BTreeMap;

use fleet_proto::ids::NodeId;
use fleet_proto::session::{FailureClass, Phase};
use fleet_proto::time::Timestamp;

use super::node::Node;
use super::state::{Rollout, State, Step};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Told and not over, over all waves.
    pub in_flight: usize,
    /// In flight, reachable and not yet verified: what a progress deadline waits for.
    pub unverified: Vec<NodeId>,
    /// When the one that is longest in each phase came into it, of those and connected.
    pub longest: BTreeMap<Phase, Timestamp>,
    /// Failed through the release.
    pub failed: Vec<NodeId>,
    /// Failed through infrastructure, or gone, and not forgiven.
    pub lost: Vec<NodeId>,
    /// Of the wave that runs.
    pub wave: WaveStand,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaveStand {
    /// Not told yet and connected, in the plan's order.
    pub ready: Vec<NodeId>,
    /// Not told yet, and silent or unreachable.
    pub absent: Vec<NodeId>,
    /// By where they are.
    pub moving: BTreeMap<Phase, Vec<NodeId>>,
    /// Put back, and yet to find out whether that helped. Only on the way back.
    pub unclear: Vec<NodeId>,
    /// Failed for want of infrastructure, and to be told again in a while.
    pub retrying: Vec<NodeId>,
    /// Of this very wave: cordoned, or gone to another environment, before they were told.
    pub skipped: Vec<NodeId>,
    /// Verified, and not told that the bake is over.
    pub baking: Vec<NodeId>,
    /// Told so, and not heard of since.
    pub committing: Vec<NodeId>,
    pub done: usize,
}

impl WaveStand {
    pub fn is_over_but_for_the_bake(&self) -> bool {
        self.ready.is_empty()
            && self.absent.is_empty()
            && self.moving.is_empty()
            && self.unclear.is_empty()
            && self.retrying.is_empty()
    }

    /// Nobody is on the way, in this wave or an earlier one.
    pub fn is_over(&self) -> bool {
        self.is_over_but_for_the_bake() && self.baking.is_empty() && self.committing.is_empty()
    }

    pub fn good(&self) -> usize {
        self.baking.len() + self.committing.len() + self.done
    }
}

impl Progress {
    pub fn of(state: &State, rollout: &Rollout) -> Self {
        let mut progress = Self::default();
        let within = state.environments.get(&rollout.plan.environment);
        let mut ready = Vec::new();
        let mut absent = Vec::new();
        let mut open_in_wave = 0;
        for (id, step) in rollout.open_steps() {
            open_in_wave += usize::from(step.wave == rollout.wave);
            if rollout.is_forward() && step.is_on_its_way() && !state.away.contains(id) {
                progress.on_its_way(id, step);
                continue;
            }
            let node = state.nodes.get(id);
            let is_taken_over = step.taken_over && !step.phase.is_settled();
            if !is_taken_over {
                progress.count(id, step, node, step.wave == rollout.wave);
            }
            let Some(node) = node.filter(|_| step.wave <= rollout.wave) else {
                continue;
            };
            let is_of_the_fleet = || within.is_some_and(|within| within.members.contains(id));
            let stand = match stand(rollout, step, node) {
                _ if is_taken_over => Stand::Skipped,
                Stand::Over
                    if rollout.is_forward() && node.service.drained && step.phase == Phase::Pending =>
                {
                    Stand::Skipped
                }
                // Nothing new is brought to it; what is on it already is put back all the same.
                Stand::Ready | Stand::Absent | Stand::Retrying
                    if rollout.is_forward() && (node.cordon.is_some() || !is_of_the_fleet()) =>
                {
                    Stand::Skipped
                }
                stand => stand,
            };
            match stand {
                Stand::Ready => ready.push((step.wave, step.place, id)),
                Stand::Absent => absent.push((step.wave, step.place, id)),
                // Nobody waits for one that goes back and is out of reach.
                Stand::Moving if !rollout.is_forward() && node.is_unreachable() => {}
                Stand::Moving => progress
                    .wave
                    .moving
                    .entry(step.phase)
                    .or_default()
                    .push(id.clone()),
                Stand::Unclear => progress.wave.unclear.push(id.clone()),
                Stand::Baking => progress.wave.baking.push(id.clone()),
                Stand::Committing => progress.wave.committing.push(id.clone()),
                Stand::Retrying => progress.wave.retrying.push(id.clone()),
                Stand::Done => progress.wave.done += usize::from(step.wave == rollout.wave),
                Stand::Skipped if step.wave == rollout.wave => progress.wave.skipped.push(id.clone()),
                Stand::Skipped => {}
                Stand::Over => {}
            }
        }
        let in_wave = rollout
            .plan
            .waves
            .get(rollout.wave)
            .map_or(0, |wave| wave.nodes.len());
        progress.wave.done += in_wave.saturating_sub(open_in_wave);
        progress.wave.ready = in_the_plans_order(ready);
        progress.wave.absent = in_the_plans_order(absent);
        progress
    }

    /// Most of those that are open in a large rollout: their nodes are there, and need not be
    /// looked up.
    fn on_its_way(&mut self, id: &NodeId, step: &Step) {
        if step.phase == Phase::Baking {
            let stand = if step.is_committed() {
                &mut self.wave.committing
            } else {
                &mut self.wave.baking
            };
            stand.push(id.clone());
            return;
        }
        self.in_flight += 1;
        self.unverified.push(id.clone());
        let longest = self.longest.entry(step.phase).or_insert(step.since);
        *longest = step.since.min(*longest);
        let moving = self.wave.moving.entry(step.phase).or_default();
        moving.push(id.clone());
    }

    fn count(&mut self, id: &NodeId, step: &Step, node: Option<&Node>, in_wave: bool) {
        let gone = node.is_none_or(Node::is_unreachable);
        let given_up = (step.forgiven && gone) || node.is_none_or(Node::is_revoked);
        if step.is_in_flight() && !step.is_good() && !given_up {
            self.in_flight += 1;
            // One that is gone keeps its place, for it may be down; nobody waits for it.
            if !gone {
                self.unverified.push(id.clone());
                if node.is_some_and(Node::is_connected) {
                    let longest = self.longest.entry(step.phase).or_insert(step.since);
                    *longest = step.since.min(*longest);
                }
            }
        }
        if step.forgiven {
            return;
        }
        if step.failed_as(FailureClass::Release) {
            self.failed.push(id.clone());
            return;
        }
        let in_service = node.is_none_or(|node| !node.service.drained);
        // Taken out of service on purpose: nobody waits for it, and it is not lost.
        let waited_for = in_service
            && (step.is_in_flight() || step.retry_at.is_some() || (in_wave && step.phase == Phase::Pending));
        if step.has_given_up() || (gone && waited_for) {
            self.lost.push(id.clone());
        }
    }
}

/// How one node stands in the waves that have begun.
enum Stand {
    Ready,
    Absent,
    Moving,
    Unclear,
    Baking,
    Committing,
    Retrying,
    Done,
    Skipped,
    /// Failed, put back, or given up.
    Over,
}

/// Of the wave that runs, and of earlier ones what came back too late for them: a node
/// that was forgiven, or is tried again, still gets its orders and its end.
fn stand(rollout: &Rollout, step: &Step, node: &Node) -> Stand {
    // What cannot be reached and is within the budget is not waited for; over the
    // budget the rollout has paused before anybody asks here.
    let given_up = node.is_unreachable() && (step.forgiven || rollout.is_forward());
    match step.phase {
        Phase::Done => Stand::Done,
        Phase::RolledBack if !rollout.is_forward() && node.is_yet_to_tell(&rollout.plan.app) => {
            Stand::Unclear
        }
        _ if given_up && step.phase != Phase::Done => Stand::Over,
        Phase::Failed if step.retry_at.is_some() => Stand::Retrying,
        Phase::Failed | Phase::RolledBack => Stand::Over,
        Phase::Pending if node.is_connected() => Stand::Ready,
        Phase::Pending => Stand::Absent,
        Phase::Baking if step.is_committed() => Stand::Committing,
        Phase::Baking => Stand::Baking,
        _ => Stand::Moving,
    }
}

fn in_the_plans_order(mut places: Vec<(usize, usize, &NodeId)>) -> Vec<NodeId> {
    places.sort_unstable();
    places.into_iter().map(|(_, _, id)| id.clone()).collect()
}
