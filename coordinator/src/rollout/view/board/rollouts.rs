//! Rollouts in counts, and their steps in pages.

use std::collections::BTreeMap;

use fleet_proto::ids::{AppName, EnvironmentName, NodeId, RolloutNumber};
use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;
use fleet_proto::view::board::{
    Page, ReleaseWord, RolloutBoard, RolloutDetail, RolloutKindWord, StepBoard, WaveBoard,
};

use super::Part;
use crate::rollout::event::RolloutKind;
use crate::rollout::node::Node;
use crate::rollout::state::{Rollout, State, Step};
use crate::rollout::view::{course, step_view, waiting, waits_for, wave_view};

/// Whoever needs more asks for the steps page by page.
const LISTED_MAX: usize = 100;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RolloutFilter {
    pub app: Option<AppName>,
    pub environment: Option<EnvironmentName>,
    /// `running`, `paused`, …
    pub state: Option<String>,
}

impl RolloutFilter {
    fn takes(&self, rollout: &Rollout) -> bool {
        let plan = &rollout.plan;
        self.app.as_ref().is_none_or(|app| *app == plan.app)
            && self
                .environment
                .as_ref()
                .is_none_or(|environment| *environment == plan.environment)
            && self
                .state
                .as_ref()
                .is_none_or(|state| state == rollout.course.word())
    }
}

/// Newest first.
pub fn rollouts(
    state: &State,
    filter: &RolloutFilter,
    part: &Part<RolloutNumber>,
    now: Timestamp,
) -> Page<RolloutBoard> {
    let below = part.after.unwrap_or(RolloutNumber(u64::MAX));
    let mut found = state
        .rollouts
        .range(..below)
        .rev()
        .map(|(_, rollout)| rollout)
        .filter(|rollout| filter.takes(rollout));
    let items: Vec<RolloutBoard> = found
        .by_ref()
        .take(part.limit)
        .map(|rollout| summary(state, rollout, now))
        .collect();
    let more = found.next().is_some();
    let last = items.last().map(|rollout| rollout.number.0.to_string());
    Page {
        next: last.filter(|_| more),
        items,
    }
}

pub(super) fn summary(state: &State, rollout: &Rollout, now: Timestamp) -> RolloutBoard {
    let (shown, why, needs_person) = course(rollout);
    let plan = &rollout.plan;
    let counted = Counted::of(state, rollout);
    let (kind, parent) = match &rollout.kind {
        RolloutKind::Forward { .. } => (RolloutKindWord::Forward, None),
        RolloutKind::CatchUp { .. } => (RolloutKindWord::CatchUp, None),
        RolloutKind::Rollback { parent, .. } => (RolloutKindWord::Rollback, *parent),
    };
    RolloutBoard {
        number: rollout.number,
        app: plan.app.clone(),
        environment: plan.environment.clone(),
        release: rollout.release().map(ReleaseWord::from),
        kind,
        parent,
        state: shown,
        why,
        needs_person,
        by: rollout.by.clone(),
        reason: rollout.reason.clone(),
        started_at: rollout.started_at,
        ended_at: rollout.ended_at(),
        rollback: rollout.rollback,
        superseded_by: rollout.superseded_by,
        nodes: plan.nodes(),
        phases: counted.phases,
        unreachable: counted.unreachable,
        waves: (0..plan.waves.len())
            .map(|wave| wave_board(rollout, wave, &counted.waves))
            .collect(),
        waiting: waits_for(state, rollout, now).into_iter().map(waiting).collect(),
    }
}

#[derive(Default)]
struct Counted {
    phases: BTreeMap<Phase, usize>,
    waves: BTreeMap<usize, BTreeMap<Phase, usize>>,
    unreachable: usize,
}

impl Counted {
    fn of(state: &State, rollout: &Rollout) -> Self {
        let mut counted = Self::default();
        for (id, step) in &rollout.steps {
            *counted.phases.entry(step.phase).or_default() += 1;
            let of_wave = counted.waves.entry(step.wave).or_default();
            *of_wave.entry(step.phase).or_default() += 1;
            let is_gone = !rollout.is_ended() && state.nodes.get(id).is_none_or(Node::is_unreachable);
            counted.unreachable += usize::from(is_gone);
        }
        counted
    }
}

fn wave_board(
    rollout: &Rollout,
    wave: usize,
    counted: &BTreeMap<usize, BTreeMap<Phase, usize>>,
) -> WaveBoard {
    let progress = &rollout.waves[wave];
    let planned = &rollout.plan.waves[wave];
    WaveBoard {
        wave: wave + 1,
        reach: planned.reach.clone(),
        state: wave_view(rollout, wave).state,
        nodes: planned.nodes.len(),
        phases: counted.get(&wave).cloned().unwrap_or_default(),
        started_at: progress.started_at,
        bake_until: progress.bake_until,
        passed_at: progress.passed_at,
    }
}

pub fn rollout(state: &State, rollout: &Rollout, now: Timestamp) -> RolloutDetail {
    let failed = |step: &&Step| step.failure.is_some();
    let mut failures: Vec<(&NodeId, &Step)> = rollout.steps.iter().filter(|(_, step)| failed(step)).collect();
    let failures_total = failures.len();
    failures.sort_by_key(|(id, step)| (std::cmp::Reverse(step.since), *id));
    let plan = &rollout.plan;
    RolloutDetail {
        rollout: summary(state, rollout, now),
        strategy: plan.strategy.clone(),
        left_out: plan.left_out.iter().take(LISTED_MAX).cloned().collect(),
        left_out_total: plan.left_out.len(),
        failures: failures
            .into_iter()
            .take(LISTED_MAX)
            .map(|(id, step)| step_board(state, rollout, id, step))
            .collect(),
        failures_total,
        migration_log: rollout
            .migration
            .as_ref()
            .map_or_else(Vec::new, |run| run.log_tail.clone()),
    }
}

/// A node that has not been told yet comes from what it runs now.
fn step_board(state: &State, rollout: &Rollout, id: &NodeId, step: &Step) -> StepBoard {
    let mut view = step_view(state, id, step);
    if step.phase == Phase::Pending && !rollout.is_ended() {
        let node = state.nodes.get(id);
        view.from = node.and_then(|node| node.current(&rollout.plan.app)).cloned();
    }
    StepBoard::from(view)
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepFilter {
    /// Counted from 1.
    pub wave: Option<usize>,
    pub phase: Option<Phase>,
}

/// By node.
pub fn steps(state: &State, rollout: &Rollout, filter: &StepFilter, part: &Part<NodeId>) -> Page<StepBoard> {
    use std::ops::Bound::{Excluded, Unbounded};
    let after = part.after.as_ref().map_or(Unbounded, Excluded);
    let mut found = rollout
        .steps
        .range::<NodeId, _>((after, Unbounded))
        .filter(|(_, step)| filter.wave.is_none_or(|wave| wave == step.wave + 1))
        .filter(|(_, step)| filter.phase.is_none_or(|phase| phase == step.phase));
    let items: Vec<StepBoard> = found
        .by_ref()
        .take(part.limit)
        .map(|(id, step)| step_board(state, rollout, id, step))
        .collect();
    let more = found.next().is_some();
    let last = items.last().map(|step| step.node.to_string());
    Page {
        next: last.filter(|_| more),
        items,
    }
}
