//! Plans and rollouts, for people.

use std::collections::BTreeMap;

use fleet_proto::ids::NodeId;
use fleet_proto::release::ReleaseRef;
use fleet_proto::time::Timestamp;
use fleet_proto::view::{
    GateView, PlanView, RolloutKindView, RolloutStateView, RolloutView, StepView, VerdictView, WaitingView,
    WavePlanView, WaveStateView, WaveView,
};

use crate::rollout::decide::{Waiting, decide_rollout};
use crate::rollout::event::{Outcome, PauseCause, RolloutKind};
use crate::rollout::gate::{self, Asked, Verdict};
use crate::rollout::input::Intent;
use crate::rollout::node::Node;
use crate::rollout::outdated;
use crate::rollout::plan::Plan;
use crate::rollout::requests::would_start;
use crate::rollout::state::{Course, Rollout, State, Step};

pub fn plan(state: &State, plan: &Plan, release: &ReleaseRef, intent: &Intent) -> PlanView {
    let asked = Asked {
        app: &plan.app,
        environment: &plan.environment,
        release: Some(release),
        back_to: &[],
        insistence: intent.insistence,
    };
    let mut gates: Vec<GateView> = gate::before_rollout(state, &asked)
        .into_iter()
        .map(|gate| GateView {
            gate: gate.name.to_owned(),
            verdict: match gate.verdict {
                Verdict::Open => VerdictView::Open,
                Verdict::Waiting { why, until } => VerdictView::Waiting { why, until },
                Verdict::Shut { why } => VerdictView::Shut { why },
            },
            hint: gate.hint,
        })
        .collect();
    let is_open = |gates: &[GateView]| gates.iter().all(|gate| gate.verdict == VerdictView::Open);
    // What no gate knows of, as that nobody can move.
    let refused = would_start(state, intent).err().filter(|_| is_open(&gates));
    gates.extend(refused.map(|refusal| GateView {
        gate: "start".to_owned(),
        verdict: VerdictView::Shut { why: refusal.message },
        hint: refusal.hint,
    }));
    let would_start = is_open(&gates);
    PlanView {
        app: plan.app.clone(),
        environment: plan.environment.clone(),
        release: release.clone(),
        nodes: plan.nodes(),
        waves: plan
            .waves
            .iter()
            .enumerate()
            .map(|(i, wave)| WavePlanView {
                wave: i + 1,
                reach: wave.reach.clone(),
                nodes: wave.nodes.clone(),
                domains: domains(state, &wave.nodes, &plan.strategy.spread),
                bake: wave.bake,
            })
            .collect(),
        dropped: plan.dropped.clone(),
        held_back: plan.held_back.clone(),
        left_out: plan.left_out.clone(),
        strategy: plan.strategy.clone(),
        gates,
        would_start,
    }
}

fn domains(state: &State, nodes: &[NodeId], label: &str) -> BTreeMap<String, usize> {
    let mut domains = BTreeMap::new();
    for id in nodes {
        let domain = state
            .nodes
            .get(id)
            .and_then(|node| node.labels.get(label))
            .cloned()
            .unwrap_or_default();
        *domains.entry(domain).or_default() += 1;
    }
    domains
}

pub fn rollout(state: &State, rollout: &Rollout, now: Timestamp) -> RolloutView {
    let (shown, why, needs_person) = course(rollout);
    let plan = &rollout.plan;
    RolloutView {
        number: rollout.number,
        app: plan.app.clone(),
        environment: plan.environment.clone(),
        release: rollout.release().cloned(),
        kind: match &rollout.kind {
            RolloutKind::Forward { .. } => RolloutKindView::Forward,
            RolloutKind::CatchUp { .. } => RolloutKindView::CatchUp,
            RolloutKind::Rollback { parent, .. } => RolloutKindView::Rollback { parent: *parent },
        },
        state: shown,
        why,
        needs_person,
        migration_log: rollout
            .migration
            .as_ref()
            .map_or_else(Vec::new, |run| run.log_tail.clone()),
        by: rollout.by.clone(),
        reason: rollout.reason.clone(),
        started_at: rollout.started_at,
        ended_at: rollout.ended_at(),
        rollback: rollout.rollback,
        superseded_by: rollout.superseded_by,
        waves: (0..plan.waves.len())
            .map(|wave| wave_view(rollout, wave))
            .collect(),
        steps: steps(state, rollout),
        waiting: waits_for(state, rollout, now).into_iter().map(waiting).collect(),
        left_out: plan.left_out.clone(),
        strategy: plan.strategy.clone(),
    }
}

pub(super) fn course(rollout: &Rollout) -> (RolloutStateView, Option<String>, bool) {
    match &rollout.course {
        Course::Running => (RolloutStateView::Running, None, false),
        Course::Paused { cause, why, .. } => (
            RolloutStateView::Paused,
            Some(why.clone()),
            *cause != PauseCause::Operator,
        ),
        Course::Held { .. } => (RolloutStateView::Held, None, false),
        Course::Ended { outcome, why, .. } => {
            let shown = match outcome {
                Outcome::Succeeded => RolloutStateView::Succeeded,
                Outcome::Failed => RolloutStateView::Failed,
                Outcome::Aborted => RolloutStateView::Aborted,
            };
            (shown, why.clone(), false)
        }
    }
}

pub(super) fn wave_view(rollout: &Rollout, wave: usize) -> WaveView {
    let planned = &rollout.plan.waves[wave];
    let progress = &rollout.waves[wave];
    let state = if progress.passed_at.is_some() {
        WaveStateView::Passed
    } else if progress.started_at.is_none() {
        WaveStateView::Pending
    } else if rollout.is_ended() {
        WaveStateView::Failed
    } else if progress.bake_until.is_some() {
        WaveStateView::Baking
    } else {
        WaveStateView::Running
    };
    WaveView {
        wave: wave + 1,
        reach: planned.reach.clone(),
        state,
        nodes: planned.nodes.clone(),
        started_at: progress.started_at,
        bake_until: progress.bake_until,
        passed_at: progress.passed_at,
    }
}

fn steps(state: &State, rollout: &Rollout) -> Vec<StepView> {
    let mut steps: Vec<StepView> = rollout
        .steps
        .iter()
        .map(|(id, step)| step_view(state, id, step))
        .collect();
    steps.sort_by(|a, b| (a.wave, &a.node).cmp(&(b.wave, &b.node)));
    steps
}

pub(super) fn step_view(state: &State, id: &NodeId, step: &Step) -> StepView {
    StepView {
        node: id.clone(),
        wave: step.wave + 1,
        phase: step.phase,
        unreachable: state.nodes.get(id).is_none_or(Node::is_unreachable),
        since: step.since,
        from: step.from.clone(),
        failure: step.failure.clone(),
    }
}

pub(super) fn waits_for(state: &State, rollout: &Rollout, now: Timestamp) -> Vec<Waiting> {
    match outdated::waiting(state).filter(|_| !rollout.is_ended()) {
        Some(waiting) => vec![waiting],
        None => decide_rollout(state, rollout, now).waiting,
    }
}

pub(super) fn waiting(waiting: Waiting) -> WaitingView {
    WaitingView {
        what: waiting.what,
        since: waiting.since,
        until: waiting.until,
        hint: waiting.hint,
    }
}
