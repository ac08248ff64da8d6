//! Rollouts that begin and grow, and how they are found.

use std::collections::{BTreeMap, BTreeSet};

use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;

use super::IllegalEvent;
use crate::rollout::event::{RolloutKind, RolloutStart};
use crate::rollout::plan::Wave;
use crate::rollout::state::{Course, Rollout, State, Step, Unwanted, WaveProgress};

impl State {
    pub(super) fn rollout(&mut self, number: RolloutNumber) -> Result<&mut Rollout, IllegalEvent> {
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
}

/// The first wave's; the others follow when it is their turn.
fn open_at_first(waves: &[Wave]) -> BTreeSet<NodeId> {
    let first = waves.first().map(|wave| wave.nodes.iter().cloned());
    first.into_iter().flatten().collect()
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
