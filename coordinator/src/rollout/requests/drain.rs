//! Nodes taken out of service for maintenance, and put back into it.

use fleet_proto::ids::{AppName, EnvironmentName, NodeId};
use fleet_proto::migration::MigrationStand;

use super::Answer;
use super::nodes::find_node;
use crate::rollout::availability::Availability;
use crate::rollout::event::Event;
use crate::rollout::input::{Refusal, RefusalKind, Reply};
use crate::rollout::node::Node;
use crate::rollout::state::{MigrationRecord, State, Step};

/// Whether more of an environment may be out of service than its limit says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Limit {
    #[default]
    Keep,
    Override,
}

pub(super) fn drain(state: &State, by: &str, id: &NodeId, reason: Option<&str>, limit: Limit) -> Answer {
    let node = find_node(state, id)?;
    if node.is_revoked() {
        return Err(Refusal::new(RefusalKind::Refused, format!("{id} was revoked")));
    }
    if node.service.drained {
        return Ok((vec![], Reply::Done));
    }
    must_be_able(id, node)?;
    must_not_be_moving(state, id, node)?;
    let over_limit = over_limit(state, id, node);
    if let (Some(over), Limit::Keep) = (&over_limit, limit) {
        return Err(
            Refusal::new(RefusalKind::Refused, format!("draining {id} would leave {over}")).hint(format!(
                "bring one of those back first, or take it out of service all the same: `fleetctl node drain {id} --force`"
            )),
        );
    }
    let event = Event::NodeDraining {
        node: id.clone(),
        by: by.to_owned(),
        reason: reason.filter(|reason| !reason.is_empty()).map(str::to_owned),
        sequence: node.service.next(),
        over_limit,
    };
    Ok((vec![event], Reply::Done))
}

pub(super) fn undrain(state: &State, by: &str, id: &NodeId) -> Answer {
    let node = find_node(state, id)?;
    if node.is_revoked() {
        return Err(Refusal::new(RefusalKind::Refused, format!("{id} was revoked")));
    }
    if !node.service.drained {
        return match &node.cordon {
            None => Ok((vec![], Reply::Done)),
            Some(_) => Err(Refusal::new(
                RefusalKind::Refused,
                format!("{id} is cordoned, and was not drained"),
            )
            .hint(format!("fleetctl node uncordon {id}"))),
        };
    }
    let event = Event::NodeUndrained {
        node: id.clone(),
        by: by.to_owned(),
        sequence: node.service.next(),
    };
    Ok((vec![event], Reply::Done))
}

/// One that is away is told when it is back, if it understands it then.
fn must_be_able(id: &NodeId, node: &Node) -> Result<(), Refusal> {
    if !node.is_connected() || node.can_be_drained {
        return Ok(());
    }
    let agent = node.agent_version.as_deref().unwrap_or("unknown");
    Err(Refusal::new(
        RefusalKind::Refused,
        format!("{id} cannot be drained: its agent (version {agent}) is from before that was possible"),
    )
    .hint(format!(
        "bring the agent up to date; until then, `fleetctl node cordon {id}` keeps new releases away"
    )))
}

/// In the middle of a step nobody could say what a stopped app proves.
fn must_not_be_moving(state: &State, id: &NodeId, node: &Node) -> Result<(), Refusal> {
    let refused = |app: &AppName, hint: String| {
        Refusal::new(
            RefusalKind::Refused,
            format!("{id} is in the middle of a step of {app}"),
        )
        .hint(hint)
    };
    let mut active = state
        .active
        .iter()
        .filter_map(|number| state.rollouts.get(number));
    if let Some(rollout) = active.find(|rollout| rollout.steps.get(id).is_some_and(Step::is_in_flight)) {
        let number = rollout.number.0;
        let hint = format!("wait for it (`fleetctl status {number} --watch`), or `fleetctl abort {number}`");
        return Err(refused(&rollout.plan.app, hint));
    }
    if let Some((app, record)) = migration_on(state, id) {
        let MigrationRecord { release, rollout, .. } = record;
        let why = format!("{id} runs the migration of {app} {release} for rollout {rollout}");
        let hint = format!("wait for its end: fleetctl explain {}", rollout.0);
        return Err(Refusal::new(RefusalKind::Refused, why).hint(hint));
    }
    match node.apps.iter().find(|(_, stands)| stands.busy) {
        None => Ok(()),
        Some((app, _)) => Err(refused(
            app,
            format!("wait until it is over: `fleetctl node show {id}`"),
        )),
    }
}

fn migration_on<'a>(state: &'a State, id: &NodeId) -> Option<(&'a AppName, &'a MigrationRecord)> {
    let everywhere = state.environments.values().flat_map(|within| &within.migrations);
    let mut all = everywhere.flat_map(|(app, records)| records.values().map(move |record| (app, record)));
    all.find(|(_, record)| record.node == *id && record.stand == MigrationStand::Started)
}

/// What would be out of service then, where that is more than may be.
fn over_limit(state: &State, id: &NodeId, node: &Node) -> Option<String> {
    let within = state
        .environments
        .iter()
        .filter(|(_, environment)| environment.select.matches(&node.labels));
    within
        .flat_map(|(name, _)| node.apps.keys().map(move |app| (name, app)))
        .filter(|(_, app)| node.serves(app))
        .find_map(|(name, app)| {
            let availability = Availability::beside_rollouts(state, name, app);
            (!availability.admits(id, true)).then(|| sentence(name, app, &availability))
        })
}

fn sentence(environment: &EnvironmentName, app: &AppName, availability: &Availability) -> String {
    let Availability {
        unavailable,
        limit,
        total,
        ..
    } = availability;
    let already: Vec<&str> = unavailable.iter().map(NodeId::as_str).take(5).collect();
    let already = match (unavailable.len(), already.as_slice()) {
        (0, _) => "none may be".to_owned(),
        (1, [only]) => format!("at most {limit} may be; {only} is out of service already"),
        (5.., _) => format!(
            "at most {limit} may be; {} and others are out of service already",
            already.join(", ")
        ),
        _ => format!(
            "at most {limit} may be; {} are out of service already",
            already.join(", ")
        ),
    };
    format!(
        "{} of {total} nodes of {environment} without {app}, and {already}",
        unavailable.len() + 1
    )
}
