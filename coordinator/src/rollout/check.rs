//! An independent look at a state: which invariants does it break?
//!
//! It shares no code with `decide`: what is wrong there must not be wrong here in the
//! same way. Every state in every test passes through it.

mod indexes;

use std::collections::{BTreeMap, BTreeSet};

use fleet_proto::migration::MigrationStand;
use fleet_proto::quantity::Amount;
use fleet_proto::release::OnFailure;
use fleet_proto::session::{FailureClass, Order, Phase};

use super::event::{Outcome, RolloutKind};
use super::node::Node;
use super::state::{Course, Rollout, State};

/// Sentences, each about one broken invariant.
pub fn check(state: &State) -> Vec<String> {
    let mut broken = Vec::new();
    one_active_rollout_per_app_and_environment(state, &mut broken);
    for rollout in state.rollouts.values() {
        plan_names_each_node_once(rollout, &mut broken);
        waves_start_in_order(rollout, &mut broken);
        orders_fit_the_kind(rollout, &mut broken);
        no_more_in_flight_than_allowed(state, rollout, &mut broken);
        failures_stop_it(state, rollout, &mut broken);
        success_means_good_nodes(rollout, &mut broken);
        indexes::open_steps_are_known(rollout, &mut broken);
        what_it_left_goes_back(state, rollout, &mut broken);
    }
    no_node_in_two_rollouts(state, &mut broken);
    indexes::those_behind_are_known(state, &mut broken);
    indexes::those_that_expire_are_known(state, &mut broken);
    indexes::indexes_agree(state, &mut broken);
    deploys_belong_to_rollouts_that_run(state, &mut broken);
    broken
}

/// A node that comes back installs nothing that nobody counts.
fn deploys_belong_to_rollouts_that_run(state: &State, broken: &mut Vec<String>) {
    for (id, node) in &state.nodes {
        for app in node.apps.values() {
            let Some(issued) = &app.order else { continue };
            let rollout = state.rollouts.get(&issued.number);
            let runs = rollout.is_some_and(|rollout| !matches!(rollout.course, Course::Ended { .. }));
            let taken = rollout
                .and_then(|rollout| rollout.steps.get(id))
                .is_none_or(|step| step.phase.is_settled());
            if matches!(issued.order, Order::Deploy { .. }) && !runs && !taken {
                broken.push(format!(
                    "{id} is still to deploy for {}, which is over",
                    issued.number
                ));
            }
        }
    }
}

fn one_active_rollout_per_app_and_environment(state: &State, broken: &mut Vec<String>) {
    let mut seen = BTreeMap::new();
    for rollout in state.rollouts.values() {
        if matches!(rollout.course, Course::Ended { .. }) {
            continue;
        }
        // Nodes that are behind catch up beside it.
        let key = (&rollout.plan.app, &rollout.plan.environment, rollout.beside);
        if let Some(other) = seen.insert(key, rollout.number) {
            broken.push(format!("{other} and {} are active at once", rollout.number));
        }
    }
}

/// A catch-up beside a rollout takes none of its nodes.
fn no_node_in_two_rollouts(state: &State, broken: &mut Vec<String>) {
    let active: Vec<&Rollout> = state
        .active
        .iter()
        .filter_map(|number| state.rollouts.get(number))
        .collect();
    for (i, one) in active.iter().enumerate() {
        let place = |rollout: &Rollout| (rollout.plan.app.clone(), rollout.plan.environment.clone());
        for other in active[..i].iter().filter(|other| place(other) == place(one)) {
            if let Some(node) = one.steps.keys().find(|node| other.steps.contains_key(*node)) {
                broken.push(format!("{node} is in {} and in {}", other.number, one.number));
            }
        }
    }
}

fn plan_names_each_node_once(rollout: &Rollout, broken: &mut Vec<String>) {
    let mut named = BTreeSet::new();
    for wave in &rollout.plan.waves {
        if wave.nodes.is_empty() {
            broken.push(format!("{} has an empty wave", rollout.number));
        }
        for node in &wave.nodes {
            if !named.insert(node) {
                broken.push(format!("{} names {node} twice", rollout.number));
            }
        }
    }
    if named.len() != rollout.steps.len() || rollout.steps.keys().any(|node| !named.contains(node)) {
        broken.push(format!("{}: steps and plan disagree", rollout.number));
    }
    for node in &rollout.plan.held_back {
        if named.contains(node) {
            broken.push(format!("{} both moves and holds back {node}", rollout.number));
        }
    }
}

/// A wave starts only when the one before has passed, and no node moves before its wave.
fn waves_start_in_order(rollout: &Rollout, broken: &mut Vec<String>) {
    let number = rollout.number;
    for (i, wave) in rollout.waves.iter().enumerate() {
        if i > 0 && wave.started_at.is_some() && rollout.waves[i - 1].passed_at.is_none() {
            broken.push(format!("{number}: wave {} started before wave {i} passed", i + 1));
        }
        if wave.passed_at.is_some() && (wave.started_at.is_none() || i >= rollout.wave) {
            broken.push(format!("{number}: wave {} passed out of turn", i + 1));
        }
    }
    for (node, step) in &rollout.steps {
        // A migration comes before the first wave, and moves nobody.
        let is_told = step.generation > 0 && !matches!(step.order, Some(Order::Migrate { .. }));
        if is_told
            && rollout
                .waves
                .get(step.wave)
                .is_none_or(|wave| wave.started_at.is_none())
        {
            broken.push(format!("{number}: {node} was told to move before its wave"));
        }
    }
}

fn orders_fit_the_kind(rollout: &Rollout, broken: &mut Vec<String>) {
    for (node, step) in &rollout.steps {
        let fits = match (&rollout.kind, &step.order) {
            (_, None) => step.generation == 0,
            (
                RolloutKind::Forward { release } | RolloutKind::CatchUp { release },
                Some(Order::Deploy { release: ordered }),
            ) => release == ordered,
            (RolloutKind::Forward { .. } | RolloutKind::CatchUp { .. }, Some(Order::Commit))
            | (RolloutKind::Rollback { .. }, Some(Order::Revert { .. }))
            | (_, Some(Order::Migrate { .. })) => true,
            _ => false,
        };
        if !fits {
            broken.push(format!(
                "{}: {node} has an order that does not fit",
                rollout.number
            ));
        }
        if step.phase == Phase::Done && step.order != Some(Order::Commit) {
            broken.push(format!(
                "{}: {node} is done and was never told to keep it",
                rollout.number
            ));
        }
    }
}

fn no_more_in_flight_than_allowed(state: &State, rollout: &Rollout, broken: &mut Vec<String>) {
    if !matches!(rollout.kind, RolloutKind::Forward { .. }) {
        return;
    }
    let total = rollout.steps.len() + rollout.plan.held_back.len();
    let limit = match rollout.plan.strategy.max_in_flight {
        Amount::Count(count) => count as usize,
        Amount::Percent(percent) => total * usize::from(percent) / 100,
    }
    .max(1);
    // A node that goes back by itself, out of its bake, does not ask for a place first.
    let in_flight = rollout
        .steps
        .iter()
        // A newer rollout has told it otherwise.
        .filter(|(id, _)| {
            let stands = state
                .nodes
                .get(*id)
                .and_then(|node| node.apps.get(&rollout.plan.app));
            let is_revoked = state.nodes.get(*id).is_some_and(Node::is_revoked);
            !is_revoked && stands.is_none_or(|stands| stands.told.0 <= rollout.number)
        })
        .map(|(_, step)| step)
        // One that was given up gave its place away, whatever it may still come to.
        .filter(|step| step.generation > 0 && !step.forgiven && step.overdue.is_none())
        .filter(|step| {
            matches!(
                step.phase,
                Phase::Fetching | Phase::Staged | Phase::Migrating | Phase::Activating | Phase::Verifying
            )
        })
        .count();
    if in_flight > limit {
        broken.push(format!(
            "{}: {in_flight} steps are in flight, the limit is {limit}",
            rollout.number
        ));
    }
}

/// Over its budget a rollout does not run on.
fn failures_stop_it(state: &State, rollout: &Rollout, broken: &mut Vec<String>) {
    // Halted, it does not run; what failed meanwhile is judged when it goes on.
    let stands_still = state.halts(rollout).is_some();
    if !matches!(rollout.kind, RolloutKind::Forward { .. }) || stands_still {
        return;
    }
    let total = rollout.steps.len() + rollout.plan.held_back.len();
    let budget = |amount: Amount| match amount {
        Amount::Count(count) => count as usize,
        Amount::Percent(percent) => total * usize::from(percent) / 100,
    };
    let succeeded_at = rollout.ended_at().filter(|_| rollout.succeeded());
    let counted = |release: bool| {
        rollout
            .steps
            .values()
            .filter(|step| !step.forgiven)
            // What is to be tried again by itself has not failed yet.
            .filter(|step| step.retry_at.is_none())
            // What a node tells of after a success, having been away, ended nothing.
            .filter(|step| succeeded_at.is_none_or(|end| step.since <= end))
            .filter_map(|step| step.failure.as_ref())
            .filter(|failure| (failure.class == FailureClass::Release) == release)
            .count()
    };
    let failed = counted(true);
    if failed > budget(rollout.plan.strategy.max_failures) {
        let stopped = match rollout.plan.strategy.on_failure {
            OnFailure::Rollback => matches!(
                rollout.course,
                // Behind a migration without a way back it waits for a person.
                Course::Paused { .. }
                    | Course::Ended {
                        outcome: Outcome::Failed | Outcome::Aborted,
                        ..
                    }
            ),
            OnFailure::Pause => !matches!(
                rollout.course,
                Course::Running
                    | Course::Ended {
                        outcome: Outcome::Succeeded,
                        ..
                    }
            ),
        };
        if !stopped {
            broken.push(format!("{} runs on with {failed} failures", rollout.number));
        }
    }
    let lost = counted(false);
    if lost > budget(rollout.plan.strategy.max_unreachable) && rollout.course == Course::Running {
        broken.push(format!("{} runs on with {lost} nodes lost", rollout.number));
    }
    // An outage of infrastructure never rolls a fleet back.
    let failed_by_fleet = matches!(
        rollout.course,
        Course::Ended {
            outcome: Outcome::Failed,
            ..
        }
    );
    let migration = rollout.migration.as_ref();
    let by_migration = migration.is_some_and(|run| run.stand == MigrationStand::Failed);
    if failed_by_fleet && counted(true) == 0 && !by_migration {
        broken.push(format!(
            "{} failed without a failure of the release",
            rollout.number
        ));
    }
}

fn success_means_good_nodes(rollout: &Rollout, broken: &mut Vec<String>) {
    success_means_told_nodes(rollout, broken);
    let (RolloutKind::Forward { .. }, Course::Ended { outcome, .. }) = (&rollout.kind, &rollout.course)
    else {
        return;
    };
    if *outcome != Outcome::Succeeded {
        return;
    }
    if !rollout.steps.is_empty()
        && !rollout
            .steps
            .values()
            .any(|step| step.order == Some(Order::Commit))
    {
        broken.push(format!("{} succeeded with no good node", rollout.number));
    }
    for (i, wave) in rollout.plan.waves.iter().enumerate() {
        let good = wave
            .nodes
            .iter()
            .filter_map(|node| rollout.steps.get(node))
            // What a person accepted when resuming is accepted.
            .any(|step| step.order == Some(Order::Commit) || step.forgiven || step.came_after)
            // And nobody waits for those that nothing new is to be brought to.
            || wave.nodes.iter().filter_map(|node| rollout.steps.get(node)).all(|step| step.skipped);
        if !good {
            broken.push(format!(
                "{} succeeded with no good node in wave {}",
                rollout.number,
                i + 1
            ));
        }
    }
}

/// A rollback that is over has told everybody, wherever they are.
fn success_means_told_nodes(rollout: &Rollout, broken: &mut Vec<String>) {
    let is_over = matches!(
        rollout.course,
        Course::Ended {
            outcome: Outcome::Succeeded | Outcome::Failed,
            ..
        }
    );
    if !is_over || !matches!(rollout.kind, RolloutKind::Rollback { .. }) {
        return;
    }
    for (node, step) in &rollout.steps {
        if step.generation == 0 && !step.skipped {
            broken.push(format!("{} is over and never told {node}", rollout.number));
        }
    }
}

/// A rollout that failed has no node left that may run its release and is not being put back.
fn what_it_left_goes_back(state: &State, rollout: &Rollout, broken: &mut Vec<String>) {
    let (RolloutKind::Forward { .. }, Course::Ended { outcome, .. }) = (&rollout.kind, &rollout.course)
    else {
        return;
    };
    if *outcome != Outcome::Failed {
        return;
    }
    let back = rollout.rollback.and_then(|number| state.rollouts.get(&number));
    for (node, step) in &rollout.steps {
        let may_run =
            step.generation > 0 && !matches!(step.phase, Phase::Pending | Phase::Failed | Phase::RolledBack);
        if may_run && !step.taken_over && back.is_none_or(|back| !back.steps.contains_key(node)) {
            broken.push(format!("{} failed and leaves {node} as it is", rollout.number));
        }
    }
}
