//! The plan: who, when, under which conditions. A pure function of state and intent.

mod others;
mod spread;
mod target;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use fleet_proto::ids::{AppName, EnvironmentName, NodeId};
use fleet_proto::labels::Selector;
use fleet_proto::migration::MigrationPlan;
use fleet_proto::quantity::{Amount, Span};
use fleet_proto::release::{Platform, ReleaseRef, Strategy};
use fleet_proto::view::LeftOut;
use fleet_proto::waves::WaveSpec;

use super::input::{Intent, Refusal, RefusalKind};
use super::node::Node;
use super::state::{Release, State};

pub use others::{plan_back, plan_catch_up};
use target::{Target, find_target};
pub use target::{find_app, find_environment, find_release};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub app: AppName,
    pub environment: EnvironmentName,
    pub waves: Vec<Wave>,
    /// Entries of the wave list that would have added no node.
    pub dropped: Vec<String>,
    /// In the order in which they would have moved: a wider rollout goes on with them.
    pub held_back: Vec<NodeId>,
    pub left_out: Vec<LeftOut>,
    pub strategy: Strategy,
    /// Who goes first.
    #[serde(default)]
    pub canary: Option<Selector>,
    /// The release's own: by then a node has given up by itself.
    #[serde(default)]
    pub healthy_deadline: Span,
    /// Of the database, once, before the first wave.
    #[serde(default)]
    pub migration: Option<MigrationPlan>,
}

/// Nodes that may move together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    pub reach: String,
    pub nodes: Vec<NodeId>,
    pub bake: Span,
}

impl Plan {
    pub fn nodes(&self) -> usize {
        self.waves.iter().map(|wave| wave.nodes.len()).sum::<usize>() + self.held_back.len()
    }
}

/// Plans a release's way to an environment. The same state and intent give the same plan.
pub fn plan(state: &State, intent: &Intent) -> Result<(Plan, ReleaseRef), Refusal> {
    plan_of(state, intent, |_| true)
}

/// As [`plan`], with no other nodes than these.
pub fn plan_among(
    state: &State,
    intent: &Intent,
    among: &BTreeSet<NodeId>,
) -> Result<(Plan, ReleaseRef), Refusal> {
    plan_of(state, intent, |id| among.contains(id))
}

fn plan_of(
    state: &State,
    intent: &Intent,
    takes: impl Fn(&NodeId) -> bool,
) -> Result<(Plan, ReleaseRef), Refusal> {
    let target = find_target(state, intent)?;
    let release = target.release.release.clone();
    let strategy = strategy_of(&target.release.strategy, intent);
    must_move_at_all(&strategy)?;
    let (movable, left_out) = movable_nodes(state, &target, &intent.select, takes);
    if movable.is_empty() && left_out.is_empty() {
        return Err(no_nodes(state, &target, &intent.select));
    }
    must_be_in_one_environment(state, &target, &movable)?;
    must_match_somebody(intent.canary.as_ref(), &movable)?;
    let order = spread::order(
        &movable,
        &strategy.spread,
        intent.canary.as_ref(),
        &format!("{}/{}/{}", target.app, target.environment, release.digest),
    );
    let (waves, dropped, held_back) = cut_into_waves(order, &strategy.waves, &strategy);
    let plan = Plan {
        app: target.app,
        environment: target.environment,
        waves,
        dropped,
        held_back,
        left_out,
        strategy,
        canary: intent.canary.clone(),
        healthy_deadline: target.release.healthy_deadline,
        migration: target.release.migration.clone(),
    };
    Ok((plan, release))
}

fn must_move_at_all(strategy: &Strategy) -> Result<(), Refusal> {
    if !matches!(strategy.max_in_flight, Amount::Count(0) | Amount::Percent(0)) {
        return Ok(());
    }
    let why = format!("max_in_flight {} lets nobody move", strategy.max_in_flight);
    Err(Refusal::new(RefusalKind::Usage, why).hint("the least is 1"))
}

/// A node that two environments claim belongs to neither: whose release is it to run?
fn must_be_in_one_environment(
    state: &State,
    target: &Target<'_>,
    movable: &[(&NodeId, &Node)],
) -> Result<(), Refusal> {
    for (id, node) in movable {
        if let Some(other) = state.other_environment(&target.environment, node) {
            return Err(Refusal::new(
                RefusalKind::Refused,
                format!("{id} is in {} and in {other}; a node is in one environment", target.environment),
            )
            .hint(format!("change its labels with fleetctl node label {id} KEY=VALUE, or the selectors in coordinator.toml")));
        }
    }
    Ok(())
}

/// A canary that is mistyped must not become none at all.
fn must_match_somebody(canary: Option<&Selector>, movable: &[(&NodeId, &Node)]) -> Result<(), Refusal> {
    let Some(canary) = canary else { return Ok(()) };
    if movable.is_empty() || movable.iter().any(|(_, node)| canary.matches(&node.labels)) {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalKind::Refused,
        format!(
            "canary {canary} matches none of the {} nodes that would move",
            movable.len()
        ),
    )
    .hint("fleetctl nodes shows the labels of each"))
}

/// The nodes that a held rollout has not reached, cut by a longer list of waves. The
/// list is cumulative over all planned nodes, as the first one was.
pub fn widen(plan: &Plan, spec: &WaveSpec) -> Result<(Vec<Wave>, Vec<NodeId>), Refusal> {
    let total = plan.nodes();
    let covered = total - plan.held_back.len();
    let mut rest = plan.held_back.iter().cloned();
    let mut waves = Vec::new();
    let mut reached = covered;
    // The list of bakes goes on after the entries of the first list.
    let entries = plan.waves.len() + plan.dropped.len();
    for reach in spec.reaches() {
        let target = reach.target(total);
        if target > reached {
            waves.push(Wave {
                reach: reach.to_string(),
                nodes: rest.by_ref().take(target - reached).collect(),
                bake: plan.strategy.bake_of_wave(entries + waves.len()),
            });
            reached = target;
        }
    }
    if waves.is_empty() {
        let are = if covered == 1 { "is" } else { "are" };
        return Err(Refusal::new(
            RefusalKind::Usage,
            format!("waves {spec} add no node: {covered} of {total} nodes {are} covered already"),
        )
        .hint("--waves 100 takes in everybody"));
    }
    Ok((waves, rest.collect()))
}

fn strategy_of(release: &Strategy, intent: &Intent) -> Strategy {
    let mut strategy = release.clone();
    if let Some(waves) = &intent.waves {
        strategy.waves = waves.clone();
    }
    if !intent.bake.is_empty() {
        strategy.bake.clone_from(&intent.bake);
    }
    let override_with = |own: &mut _, given: Option<_>| {
        if let Some(given) = given {
            *own = given;
        }
    };
    override_with(&mut strategy.max_in_flight, intent.max_in_flight);
    override_with(&mut strategy.max_unavailable, intent.max_unavailable);
    strategy.min_available = intent.min_available.or(strategy.min_available);
    override_with(&mut strategy.max_failures, intent.max_failures);
    override_with(&mut strategy.max_unreachable, intent.max_unreachable);
    if let Some(on_failure) = intent.on_failure {
        strategy.on_failure = on_failure;
    }
    strategy
}

fn movable_nodes<'a>(
    state: &'a State,
    target: &Target<'a>,
    select: &Selector,
    takes: impl Fn(&NodeId) -> bool,
) -> (Vec<(&'a NodeId, &'a Node)>, Vec<LeftOut>) {
    let mut movable = Vec::new();
    let mut left_out = Vec::new();
    for (id, node) in state.nodes_of(&target.within.select) {
        if !select.matches(&node.labels) || !takes(id) {
            continue;
        }
        match why_left_out(node, &target.app, target.release) {
            Some(why) => left_out.push(LeftOut {
                node: id.clone(),
                why,
            }),
            None => movable.push((id, node)),
        }
    }
    (movable, left_out)
}

pub fn why_left_out(node: &Node, app: &AppName, target: &Release) -> Option<String> {
    let release = &target.release;
    if node.is_unreachable() {
        return Some("unreachable".into());
    }
    if let Some(why) = node.why_let_alone() {
        return Some(why);
    }
    let platforms = &target.platforms;
    if !platforms.contains(&Platform::any()) && !platforms.contains(&node.platform) {
        return Some(format!("{release} has no artifact for {}", node.platform));
    }
    let stands = node.app(app)?;
    let settled = stands.current.as_ref() == Some(release) && stands.last_good.as_ref() == Some(release);
    (settled && node.is_healthy(app)).then(|| format!("runs {release} already"))
}

fn no_nodes(state: &State, target: &Target<'_>, select: &Selector) -> Refusal {
    let within = state.nodes_of(&target.within.select).count();
    let environment = &target.environment;
    if within == 0 {
        let hint = if target.within.select.is_empty() {
            "fleetctl token create, then fleet-agent enrol on a node".to_owned()
        } else {
            format!(
                "environment {environment} takes nodes with {}; fleetctl nodes shows all",
                target.within.select
            )
        };
        Refusal::new(
            RefusalKind::Refused,
            format!("environment {environment} has no node"),
        )
        .hint(hint)
    } else {
        Refusal::new(
            RefusalKind::Refused,
            format!("none of the {within} nodes of {environment} has {select}"),
        )
        .hint("fleetctl nodes")
    }
}

fn cut_into_waves(
    order: Vec<NodeId>,
    spec: &WaveSpec,
    strategy: &Strategy,
) -> (Vec<Wave>, Vec<String>, Vec<NodeId>) {
    let sizes = spec.sizes(order.len());
    let dropped = sizes.dropped.iter().map(ToString::to_string).collect();
    let mut nodes = order.into_iter();
    let waves = sizes
        .waves
        .iter()
        .map(|wave| Wave {
            reach: wave.reach.to_string(),
            nodes: nodes.by_ref().take(wave.nodes).collect(),
            // Of its own entry, also where another one adds no node and is dropped.
            bake: strategy.bake_of_wave(wave.entry),
        })
        .collect();
    (waves, dropped, nodes.collect())
}
