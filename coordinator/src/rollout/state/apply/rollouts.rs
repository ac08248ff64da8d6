//! Rollouts: their course, their waves and their steps.

use std::collections::{BTreeMap, BTreeSet};

use fleet_proto::ids::{AppName, NodeId, RolloutNumber};
use fleet_proto::migration::MigrationStand;
use fleet_proto::quantity::Span;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Failure, FailureClass, Order, Phase};
use fleet_proto::time::Timestamp;

use super::IllegalEvent;
use crate::rollout::backoff;
use crate::rollout::event::{Outcome, RolloutKind, RolloutStart};
use crate::rollout::node::{IssuedOrder, Node};
use crate::rollout::plan::Wave;
use crate::rollout::state::{Course, KnownBad, Rollout, State, Step, Unwanted, WaveProgress};
use crate::rollout::way_back::is_shut_for;

/// What `status`, `history` and a rollback by number look back on; a state that held all
/// of them would make every start slower than the one before.
const ENDED_ROLLOUTS_KEPT: usize = 200;

impl State {
    pub(super) fn issue(
        &mut self,
        number: RolloutNumber,
        node: &NodeId,
        generation: u32,
        order: &Order,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let app = self.rollout(number)?.plan.app.clone();
        let from = self.node(node)?.current(&app).cloned();
        let last = self
            .rollouts
            .get(&number)
            .map_or(0, |rollout| self.last_generation(rollout, node));
        if generation != last + 1 {
            return Err(IllegalEvent::Generation {
                number,
                node: node.clone(),
                last,
                generation,
            });
        }
        // A migration may be done by a node outside the plan.
        let is_planned = self.rollout(number)?.steps.contains_key(node);
        if is_planned || !matches!(order, Order::Migrate { .. }) {
            self.step(number, node)?.note_order(from, generation, order, at);
        }
        let told_app = app.clone();
        let stands = self.node(node)?.apps.entry(app).or_default();
        if moves(order) {
            stands.told = (number, generation);
            stands.busy = true;
        }
        if let Order::Deploy { release } = order {
            // Whoever asks for it again means it.
            stands.left.retain(|left| left != release);
        }
        stands.order = Some(IssuedOrder {
            number,
            generation,
            order: order.clone(),
        });
        self.rollout(number)?.note_step(node);
        if matches!(order, Order::Commit) {
            // The bake is over: from here on it is waited for the node to say so.
            self.rollout(number)?.progress_at = at;
        }
        if moves(order) {
            self.overtake(number, node, &told_app);
        }
        self.note_wish(node, &told_app);
        if let Order::Migrate { release, act } = order {
            self.tell_to_migrate(number, node, generation, (release, *act), at);
        }
        Ok(())
    }

    /// From older rollouts that have not ended.
    fn overtake(&mut self, number: RolloutNumber, node: &NodeId, app: &AppName) {
        for older in self.active.range(..number) {
            let rollout = self
                .rollouts
                .get_mut(older)
                .filter(|older| older.plan.app == *app);
            if let Some(step) = rollout.and_then(|rollout| rollout.steps.get_mut(node)) {
                step.taken_over = true;
            }
        }
    }

    pub(super) fn move_step(
        &mut self,
        number: RolloutNumber,
        node: &NodeId,
        phase: Phase,
        failure: Option<&Failure>,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let rollout = self.rollout(number)?;
        let (is_forward, strategy) = (rollout.is_forward(), rollout.plan.strategy.clone());
        let step = self.step(number, node)?;
        let got_good = !step.is_good() && matches!(phase, Phase::Baking | Phase::Done);
        step.phase = phase;
        step.since = at;
        step.failure = failure.cloned();
        step.retry_at = None;
        if phase == Phase::Failed && step.failed_as(FailureClass::Infrastructure) {
            step.retry_at = backoff::retry_at(&strategy, number, node, step.retries, at);
        }
        let left = is_forward && step.failed_as(FailureClass::Release);
        self.rollout(number)?.note_step(node);
        if got_good {
            self.rollout(number)?.progress_at = at;
        }
        if left {
            self.note_left(number, node)?;
        }
        Ok(())
    }

    /// The release was tried on the node and did not do: it is not brought again unasked.
    fn note_left(&mut self, number: RolloutNumber, node: &NodeId) -> Result<(), IllegalEvent> {
        let rollout = self.rollout(number)?;
        let app = rollout.plan.app.clone();
        if let Some(release) = rollout.release().cloned() {
            self.node(node)?.apps.entry(app).or_default().note_left(&release);
        }
        Ok(())
    }

    /// The node may be at it still, and what it says counts when it says more.
    pub(super) fn give_up_waiting(
        &mut self,
        number: RolloutNumber,
        node: &NodeId,
        failure: &Failure,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let phase = self.step(number, node)?.phase;
        self.move_step(number, node, Phase::Failed, Some(failure), at)?;
        self.step(number, node)?.overdue = Some(phase);
        self.rollout(number)?.note_step(node);
        Ok(())
    }

    fn rollout(&mut self, number: RolloutNumber) -> Result<&mut Rollout, IllegalEvent> {
        self.rollouts
            .get_mut(&number)
            .ok_or(IllegalEvent::NoRollout(number))
    }

    pub(super) fn open_rollout(&mut self, number: RolloutNumber) -> Result<&mut Rollout, IllegalEvent> {
        let rollout = self.rollout(number)?;
        if rollout.is_ended() {
            return Err(IllegalEvent::Ended(number));
        }
        Ok(rollout)
    }

    pub(super) fn rollout_at_wave(
        &mut self,
        number: RolloutNumber,
        wave: usize,
    ) -> Result<&mut Rollout, IllegalEvent> {
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

    pub(super) fn step(&mut self, number: RolloutNumber, node: &NodeId) -> Result<&mut Step, IllegalEvent> {
        self.rollout(number)?
            .steps
            .get_mut(node)
            .ok_or_else(|| IllegalEvent::NoStep {
                number,
                node: node.clone(),
            })
    }

    pub(super) fn start_rollout(
        &mut self,
        number: RolloutNumber,
        start: &RolloutStart,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        if self.rollouts.contains_key(&number) {
            return Err(IllegalEvent::RolloutExists(number));
        }
        let mut rollout = Rollout {
            number,
            kind: start.kind.clone(),
            plan: start.plan.clone(),
            by: start.by.clone(),
            reason: start.reason.clone(),
            request_id: start.request_id.clone(),
            started_at: at,
            term: self.term,
            course: Course::Running,
            wave: 0,
            waves: vec![WaveProgress::default(); start.plan.waves.len()],
            steps: steps_of(&start.plan.waves, 0, at),
            open: open_at_first(&start.plan.waves),
            held_back: start.plan.held_back.iter().cloned().collect(),
            progress_at: at,
            clock_from: at,
            urgency: start.urgency,
            selected: start.selected,
            beside: match &start.kind {
                RolloutKind::CatchUp { .. } => true,
                RolloutKind::Forward { .. } => false,
                RolloutKind::Rollback { parent, .. } => parent
                    .and_then(|parent| self.rollouts.get(&parent))
                    .is_some_and(|parent| parent.beside),
            },
            migration: None,
            rollback: None,
            superseded_by: None,
            unwanted: Unwanted::default(),
        };
        if let RolloutKind::Rollback { leave, .. } = &start.kind {
            rollout.unwanted = self.want_no_more(&rollout, leave.as_ref());
        }
        self.rollouts.insert(number, rollout);
        self.active.insert(number);
        self.note_wishes_about(&start.plan.app);
        Ok(())
    }

    /// An operator's rollback does; one that puts back what a rollout failed with does not.
    pub fn undoes_what_was_wanted(&self, rollout: &Rollout) -> bool {
        match &rollout.kind {
            RolloutKind::Rollback { parent, .. } => {
                let parent = parent.and_then(|parent| self.rollouts.get(&parent));
                parent.is_none_or(|parent| match parent.is_forward() {
                    true => parent.succeeded(),
                    // The same once more.
                    false => self.undoes_what_was_wanted(parent),
                })
            }
            RolloutKind::Forward { .. } | RolloutKind::CatchUp { .. } => false,
        }
    }

    /// From when an operator takes a release back nobody is brought to it any more; and
    /// nodes that go back from it do not want it for themselves.
    fn want_no_more(&mut self, rollout: &Rollout, leave: Option<&ReleaseRef>) -> Unwanted {
        let app = &rollout.plan.app;
        let mut unwanted = Unwanted::default();
        let undoes = self.undoes_what_was_wanted(rollout);
        if let Some(within) = self.environments.get_mut(&rollout.plan.environment)
            && undoes
            && (leave.is_none() || leave == within.desired.get(app))
        {
            unwanted.of_the_environment = within.desired.remove(app);
        }
        for id in rollout.steps.keys() {
            let stands = self.nodes.get_mut(id).and_then(|node| node.apps.get_mut(app));
            let taken = stands.and_then(|stands| {
                let left = |wanted: &mut ReleaseRef| leave.is_none() || leave == Some(wanted);
                stands.wanted.take_if(left)
            });
            if let Some(taken) = taken {
                unwanted.of_nodes.insert(id.clone(), taken);
            }
        }
        unwanted
    }

    /// A rollback that failed or was aborted: nodes that went back stay there, the others want
    /// what they wanted. The environment wants that too, unless it failed, or all went back,
    /// and those that did agree on another release.
    fn want_again(&mut self, rollout: &Rollout, outcome: Outcome) {
        let app = &rollout.plan.app;
        let went = |id: &NodeId| {
            let step = rollout.steps.get(id);
            step.is_some_and(|step| step.phase == Phase::RolledBack)
        };
        for (id, wanted) in &rollout.unwanted.of_nodes {
            let stands = self.nodes.get_mut(id).and_then(|node| node.apps.get_mut(app));
            if let Some(stands) = stands.filter(|_| !went(id)) {
                stands.wanted.get_or_insert_with(|| wanted.clone());
            }
        }
        let reached = self.reached(rollout);
        for id in rollout.steps.keys().filter(|id| went(id)) {
            let stands = self.nodes.get_mut(id).and_then(|node| node.apps.get_mut(app));
            if let Some(stands) = stands {
                stands.wanted = stands.current.clone();
            }
        }
        let all_went = rollout.steps.keys().all(went);
        let Some(within) = self.environments.get_mut(&rollout.plan.environment) else {
            return;
        };
        let Some(before) = &rollout.unwanted.of_the_environment else {
            return;
        };
        let wanted = match reached.as_slice() {
            [agreed] if outcome == Outcome::Failed || all_went => agreed,
            _ => before,
        };
        within
            .desired
            .entry(app.clone())
            .or_insert_with(|| wanted.clone());
    }

    /// What the nodes run that a rollback has brought back.
    fn reached(&self, rollout: &Rollout) -> Vec<ReleaseRef> {
        let back = rollout.steps.iter();
        let back = back.filter(|(_, step)| step.phase == Phase::RolledBack);
        let mut reached: Vec<ReleaseRef> = back
            .filter_map(|(node, _)| self.nodes.get(node)?.current(&rollout.plan.app).cloned())
            .collect();
        reached.sort();
        reached.dedup();
        reached
    }

    pub(super) fn widen(
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
        rollout.note_steps();
        rollout.held_back = held_back.iter().cloned().collect();
        rollout.course = Course::Running;
        rollout.progress_at = at;
        rollout.clock_from = at;
        Ok(())
    }

    pub(super) fn end_rollout(
        &mut self,
        number: RolloutNumber,
        outcome: Outcome,
        why: Option<&String>,
        (rollback, superseded_by): (Option<RolloutNumber>, Option<RolloutNumber>),
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let rollout = self.open_rollout(number)?;
        rollout.course = Course::Ended {
            outcome,
            why: why.cloned(),
            at,
        };
        rollout.rollback = rollback;
        rollout.superseded_by = superseded_by;
        let rollout = rollout.clone();
        self.active.remove(&number);
        self.withdraw_deploys(&rollout);
        match outcome {
            Outcome::Succeeded => self.note_good_release(&rollout),
            Outcome::Failed => self.note_failed_release(number, why, at)?,
            Outcome::Aborted => {}
        }
        match (outcome, &rollout.kind) {
            (_, RolloutKind::CatchUp { .. }) => self.postpone_catch_up(&rollout, outcome, at),
            (Outcome::Succeeded, _) => self.record_desired(&rollout),
            (Outcome::Aborted, RolloutKind::Forward { .. }) => {
                self.keep_what_is_proven(&rollout);
                self.keep_what_cannot_go_back(&rollout);
            }
            (_, RolloutKind::Rollback { .. }) => self.want_again(&rollout, outcome),
            _ => {}
        }
        self.forget_old_rollouts();
        self.note_wishes_about(&rollout.plan.app);
        Ok(())
    }

    /// A release that failed here is remembered until it does well here: whatever people
    /// make of the rollout that it failed in.
    pub(super) fn note_failed_release(
        &mut self,
        number: RolloutNumber,
        why: Option<&String>,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let rollout = self.rollout(number)?;
        let RolloutKind::Forward { release } = &rollout.kind else {
            return Ok(());
        };
        let (release, plan) = (release.clone(), &rollout.plan);
        let (app, environment) = (plan.app.clone(), plan.environment.clone());
        if let Some(within) = self.environments.get_mut(&environment) {
            let bad = KnownBad {
                release: release.clone(),
                rollout: number,
                why: why.cloned().unwrap_or_default(),
                at,
            };
            within
                .known_bad
                .entry(app)
                .or_default()
                .insert(release.version, bad);
        }
        Ok(())
    }

    fn note_good_release(&mut self, rollout: &Rollout) {
        let RolloutKind::Forward { release } = &rollout.kind else {
            return;
        };
        let within = self.environments.get_mut(&rollout.plan.environment);
        let known = within.and_then(|within| within.known_bad.get_mut(&rollout.plan.app));
        if let Some(known) = known {
            known.remove(&release.version);
        }
    }

    /// What could not be had is not asked for again at once.
    fn postpone_catch_up(&mut self, rollout: &Rollout, outcome: Outcome, at: Timestamp) {
        let aborted = outcome == Outcome::Aborted && rollout.superseded_by.is_none();
        let connected: BTreeSet<NodeId> = rollout
            .steps
            .keys()
            .filter(|id| self.nodes.get(*id).is_some_and(Node::is_connected))
            .cloned()
            .collect();
        for (id, step) in &rollout.steps {
            let app = &rollout.plan.app;
            let stands = self.nodes.get_mut(id).and_then(|node| node.apps.get_mut(app));
            let is_connected = connected.contains(id);
            let Some(stands) = stands else { continue };
            if step.has_given_up() || (is_connected && step.phase == Phase::Pending) {
                stands.catch_up_after = at.plus(CATCH_UP_AGAIN);
            }
            // Whoever stops it does not want it to begin again.
            if aborted && step.phase != Phase::Done {
                rollout
                    .release()
                    .into_iter()
                    .for_each(|release| stands.note_left(release));
            }
        }
    }

    /// Nodes of waves that passed stay where an aborted rollout brought them.
    fn keep_what_is_proven(&mut self, rollout: &Rollout) {
        for (id, step) in &rollout.steps {
            let stands = self
                .nodes
                .get_mut(id)
                .and_then(|node| node.apps.get_mut(&rollout.plan.app));
            if let Some(stands) = stands.filter(|_| step.phase == Phase::Done) {
                stands.wanted = rollout.release().cloned();
            }
        }
    }

    /// Where there is no way back, what was on its way stays too: it is not brought back by a
    /// catch-up, and no further either.
    fn keep_what_cannot_go_back(&mut self, rollout: &Rollout) {
        let on_its_way = rollout.steps.iter().filter(|(_, step)| step.is_in_flight());
        let nodes: BTreeSet<NodeId> = on_its_way.map(|(id, _)| id.clone()).collect();
        let Some(release) = rollout.release().filter(|_| rollout.superseded_by.is_none()) else {
            return;
        };
        if is_shut_for(self, rollout, &nodes).is_none() {
            return;
        }
        for id in &nodes {
            let node = self.nodes.get_mut(id);
            if let Some(stands) = node.and_then(|node| node.apps.get_mut(&rollout.plan.app)) {
                stands.wanted = Some(release.clone());
                stands.note_left(release);
            }
        }
    }

    /// A node that was away is not told to install something by a rollout that is over:
    /// nobody would count it, wait for it, or keep what it does within limits.
    fn withdraw_deploys(&mut self, rollout: &Rollout) {
        let to_come = rollout
            .steps
            .iter()
            .filter(|(_, step)| !step.phase.is_settled() && step.is_issued());
        // One that migrates may be outside the plan.
        let migrates = rollout.migration.iter().map(|run| &run.node);
        let migrates = migrates.filter(|id| !rollout.steps.contains_key(*id));
        for id in to_come.map(|(id, _)| id).chain(migrates) {
            let app = self
                .nodes
                .get_mut(id)
                .and_then(|node| node.apps.get_mut(&rollout.plan.app));
            if let Some(app) = app {
                app.order.take_if(|issued| {
                    issued.number == rollout.number
                        && !matches!(issued.order, Order::Commit | Order::Revert { .. })
                });
            }
        }
    }

    /// The journal keeps what the state forgets.
    fn forget_old_rollouts(&mut self) {
        // What a node or a person has yet to say of a migration is said of its rollout.
        let within = self.environments.values();
        let records = within
            .flat_map(|within| within.migrations.values())
            .flat_map(BTreeMap::values);
        let in_doubt = records.filter(|record| record.stand != MigrationStand::Done);
        let is_in_doubt: BTreeSet<RolloutNumber> = in_doubt.map(|record| record.rollout).collect();
        for (beside, kept) in [(false, ENDED_ROLLOUTS_KEPT), (true, ENDED_CATCH_UPS_KEPT)] {
            let ended: Vec<RolloutNumber> = self
                .rollouts
                .values()
                .filter(|rollout| rollout.is_ended() && rollout.beside == beside)
                .map(|rollout| rollout.number)
                .filter(|number| !is_in_doubt.contains(number))
                .collect();
            for number in &ended[..ended.len().saturating_sub(kept)] {
                self.rollouts.remove(number);
            }
        }
    }

    /// Each node's own wish is what its newest rollout made of it: all that it wants if that
    /// covered the whole environment, its release if it covered a part.
    fn want_of_each(&mut self, rollout: &Rollout) {
        let app = &rollout.plan.app;
        let release = rollout
            .release()
            .filter(|_| rollout.is_forward() && rollout.selected);
        let left_out = rollout.plan.left_out.iter().map(|left_out| &left_out.node);
        let nodes: Vec<NodeId> = if rollout.is_forward() && !rollout.selected {
            self.nodes.keys().cloned().collect()
        } else {
            rollout.steps.keys().chain(left_out).cloned().collect()
        };
        let within = self.environments.get(&rollout.plan.environment);
        let Some(select) = within.map(|within| within.select.clone()) else {
            return;
        };
        for id in nodes {
            let step = rollout.steps.get(&id);
            let Some(node) = self
                .nodes
                .get_mut(&id)
                .filter(|node| select.matches(&node.labels))
            else {
                continue;
            };
            let stands = match release {
                Some(_) => node.apps.entry(app.clone()).or_default(),
                None => match node.apps.get_mut(app) {
                    Some(stands) => stands,
                    None => continue,
                },
            };
            stands.wanted = match step {
                // Where an operator's rollback brought it.
                Some(step) if !rollout.is_forward() && step.phase == Phase::RolledBack => {
                    stands.current.clone()
                }
                _ => release.cloned(),
            };
        }
    }

    /// A rollout that succeeded says what the environment wants from now on; a rollback
    /// says so only where all nodes agree, and only if it undid what was wanted: after a
    /// rollout that failed, the environment wants what it wanted before.
    fn record_desired(&mut self, rollout: &Rollout) {
        if !rollout.is_forward() && !self.undoes_what_was_wanted(rollout) {
            return;
        }
        let app = &rollout.plan.app;
        self.want_of_each(rollout);
        if rollout.is_forward() && rollout.selected {
            return;
        }
        let reached = match &rollout.kind {
            RolloutKind::Forward { release } | RolloutKind::CatchUp { release } => vec![release.clone()],
            RolloutKind::Rollback { .. } => self.reached(rollout),
        };
        let nobody_went = rollout.steps.values().all(|step| step.phase != Phase::RolledBack);
        let Some(environment) = self.environments.get_mut(&rollout.plan.environment) else {
            return;
        };
        if let [release] = reached.as_slice() {
            environment.desired.insert(app.clone(), release.clone());
        } else if !reached.is_empty() || !nobody_went {
            environment.desired.remove(app);
        }
    }
}

/// Catch-ups come and go with every pod; they must not push out what people look back on.
const ENDED_CATCH_UPS_KEPT: usize = 50;

/// After a catch-up that came to nothing for want of infrastructure, its own retries
/// included. A node that comes back anew is not made to wait.
const CATCH_UP_AGAIN: Span = Span::from_secs(600);

/// The first wave's; the others follow when it is their turn.
fn open_at_first(waves: &[Wave]) -> BTreeSet<NodeId> {
    let first = waves.first().map(|wave| wave.nodes.iter().cloned());
    first.into_iter().flatten().collect()
}

/// From the command on the step counts as on its way, whatever the node has got round to.
fn phase_when_told(order: &Order) -> Option<Phase> {
    match order {
        Order::Deploy { .. } => Some(Phase::Fetching),
        Order::Revert { .. } => Some(Phase::RollingBack),
        Order::Commit | Order::Migrate { .. } => None,
    }
}

/// May take the app down on the node.
pub fn moves(order: &Order) -> bool {
    matches!(order, Order::Deploy { .. } | Order::Revert { .. })
}

fn steps_of(waves: &[Wave], first: usize, at: Timestamp) -> BTreeMap<NodeId, Step> {
    let mut steps = BTreeMap::new();
    for (i, wave) in waves.iter().enumerate() {
        for (place, node) in wave.nodes.iter().enumerate() {
            steps.insert(
                node.clone(),
                Step {
                    wave: first + i,
                    place,
                    phase: Phase::Pending,
                    since: at,
                    generation: 0,
                    order: None,
                    from: None,
                    failure: None,
                    retries: 0,
                    retry_at: None,
                    overdue: None,
                    skipped: false,
                    taken_over: false,
                    forgiven: false,
                    came_after: false,
                },
            );
        }
    }
    steps
}

impl Rollout {
    /// What failed for want of infrastructure is tried again from the beginning.
    pub(super) fn resume(&mut self, forgiven: &[NodeId], at: Timestamp) {
        self.course = Course::Running;
        self.progress_at = at;
        self.clock_from = at;
        // What was tried is tried anew; what is under way goes on.
        self.migration.take_if(|run| run.stand.is_settled());
        // On the way back, rolled back is what was asked for, whatever had failed before.
        let is_forward = self.is_forward();
        for step in self.steps.values_mut() {
            let came_to_nothing =
                step.phase == Phase::Failed || (is_forward && step.phase == Phase::RolledBack);
            if came_to_nothing && step.failed_as(FailureClass::Infrastructure) {
                step.retries = 0;
                step.wait_for_its_turn(at);
            }
        }
        for node in forgiven {
            if let Some(step) = self.steps.get_mut(node) {
                step.forgiven = true;
            }
        }
        self.note_steps();
    }

    /// Every step anew, as when the wave changes.
    pub(super) fn note_steps(&mut self) {
        let wave = self.wave;
        let open = self.steps.iter().filter(|(_, step)| !step.is_quiet(wave));
        self.open = open.map(|(id, _)| id.clone()).collect();
    }

    pub(super) fn note_step(&mut self, id: &NodeId) {
        let is_quiet = self.steps.get(id).is_none_or(|step| step.is_quiet(self.wave));
        if is_quiet {
            self.open.remove(id);
        } else if !self.open.contains(id) {
            self.open.insert(id.clone());
        }
    }

    pub(super) fn skip(&mut self, nodes: &[NodeId]) {
        for node in nodes {
            if let Some(step) = self.steps.get_mut(node) {
                step.skipped = true;
            }
        }
    }

    /// Whatever they failed of, and whoever had accepted that.
    pub(super) fn try_again(&mut self, nodes: &[NodeId], at: Timestamp) {
        self.course = Course::Running;
        self.progress_at = at;
        self.clock_from = at;
        for node in nodes {
            if let Some(step) = self.steps.get_mut(node) {
                step.retries = 0;
                step.forgiven = false;
                step.came_after |= step.wave < self.wave;
                step.wait_for_its_turn(at);
            }
        }
    }
}

impl Step {
    fn note_order(&mut self, from: Option<ReleaseRef>, generation: u32, order: &Order, at: Timestamp) {
        if self.generation == 0 {
            self.from = from;
        }
        if let Some(phase) = phase_when_told(order) {
            self.phase = phase;
            self.since = at;
        }
        self.generation = generation;
        // A migration is beside the step's own course.
        if self.order.is_none() || !matches!(order, Order::Migrate { .. }) {
            self.order = Some(order.clone());
        }
        self.retry_at = None;
        self.overdue = None;
        if moves(order) {
            // It is there again: what it comes to now was not accepted by anybody.
            self.came_after |= self.forgiven;
            self.forgiven = false;
        }
    }

    /// By itself, once more.
    pub(super) fn begin_anew(&mut self, at: Timestamp) {
        self.retries += 1;
        self.wait_for_its_turn(at);
    }

    fn wait_for_its_turn(&mut self, at: Timestamp) {
        self.phase = Phase::Pending;
        self.failure = None;
        self.retry_at = None;
        self.overdue = None;
        self.since = at;
    }
}
