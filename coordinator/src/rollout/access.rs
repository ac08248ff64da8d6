//! Who may do what: the one table, for every way in. What is asked of the driver is looked
//! up in the same turn that answers it, so that nobody acts by a role that is gone.

use std::collections::BTreeSet;

use fleet_proto::ids::{EnvironmentName, NodeId, OperatorName, RolloutNumber, TokenId};
use fleet_proto::role::{Role, Roles};

use super::event::Urgency;
use super::input::{Author, Refusal, RefusalKind, Request};
use super::plan::find_environment;
use super::requests::drain::Limit;
use super::state::State;

/// What is asked without ordering anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question<'a> {
    /// Any view, plan or event.
    View,
    /// What apps write there may be about people.
    Logs(&'a NodeId),
    /// Bytes of a release that is to be pushed.
    Upload,
    /// A copy of everything that the app keeps.
    Backup(RolloutNumber),
}

/// Where a role has to be held.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Somewhere,
    Everywhere,
    /// In each of them.
    Within(BTreeSet<EnvironmentName>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Needed {
    role: Role,
    place: Place,
    /// `to roll back` in "to roll back takes …".
    what: &'static str,
}

/// Whether the request may be answered at all.
pub(super) fn must_be_allowed(state: &State, author: &Author, request: &Request) -> Result<(), Refusal> {
    match author {
        // What lets a newcomer in is what it shows, and the request is nothing else.
        Author::Newcomer(_) => match request {
            Request::Enrol { .. } | Request::EnrolPod { .. } => Ok(()),
            _ => Err(Refusal::new(RefusalKind::NotAllowed, "this is for operators")),
        },
        Author::Operator(operator) => must_hold(state, operator, &to_order(state, operator, request)),
    }
}

pub fn may_ask(state: &State, operator: &OperatorName, question: Question<'_>) -> Result<(), Refusal> {
    must_hold(state, operator, &to_ask(state, question))
}

fn to_ask(state: &State, question: Question<'_>) -> Needed {
    match question {
        Question::View => needed(Role::Viewer, Place::Somewhere, "to look"),
        Question::Logs(node) => needed(Role::Deployer, of_node(state, node), "to read logs"),
        Question::Upload => needed(Role::Deployer, Place::Somewhere, "to push a release"),
        Question::Backup(number) => needed(Role::Admin, of_rollout(state, number), "to fetch a backup"),
    }
}

fn to_order(state: &State, operator: &OperatorName, request: &Request) -> Needed {
    use Role::{Admin, Deployer, Viewer};
    let of = |number: &RolloutNumber| of_rollout(state, *number);
    match request {
        Request::StartRollout(intent) => {
            let place = of_environment(state, intent.environment.as_ref());
            match intent.insistence.urgency {
                Urgency::Ordinary => needed(Deployer, place, "to start a rollout"),
                Urgency::Emergency => needed(Admin, place, "to start an emergency rollout"),
            }
        }
        Request::RollBack(back) => {
            let place = match back.number {
                Some(number) => of_rollout(state, number),
                None => of_environment(state, back.environment.as_ref()),
            };
            match back.urgency {
                Urgency::Ordinary => needed(Deployer, place, "to roll back"),
                Urgency::Emergency => needed(Admin, place, "to roll back in an emergency"),
            }
        }
        Request::Pause { number, .. } => needed(Deployer, of(number), "to pause a rollout"),
        Request::Resume { number, .. } => needed(Deployer, of(number), "to resume a rollout"),
        Request::Abort { number, .. } => needed(Deployer, of(number), "to abort a rollout"),
        Request::Retry(retry) => needed(Deployer, of(&retry.number), "to retry a rollout"),
        Request::ResolveMigration { number, .. } => {
            needed(Deployer, of(number), "to say how a migration stands")
        }
        Request::Halt { environment, .. } => needed(Deployer, or_all(environment.as_ref()), "to halt"),
        Request::Unhalt { environment } => needed(Deployer, or_all(environment.as_ref()), "to unhalt"),
        Request::PushRelease(_) => needed(Deployer, Place::Somewhere, "to push a release"),
        Request::CordonNode { node, .. } | Request::UncordonNode { node } => {
            needed(Deployer, of_node(state, node), "to cordon a node")
        }
        Request::DrainNode {
            node,
            limit: Limit::Override,
            ..
        } => needed(Admin, of_node(state, node), "to drain a node over the limit"),
        Request::DrainNode { node, .. } | Request::UndrainNode { node } => {
            needed(Deployer, of_node(state, node), "to drain a node")
        }
        // Labels decide in which environment a node is.
        Request::LabelNode { .. } => needed(Admin, Place::Everywhere, "to label a node"),
        Request::RevokeNode { .. } => needed(Admin, Place::Everywhere, "to revoke a node"),
        Request::CreateToken { .. } => needed(Admin, Place::Everywhere, "to create a join token"),
        Request::RevokeToken { .. } => needed(Admin, Place::Everywhere, "to revoke a join token"),
        // It can do no more than who made it.
        Request::CreateAccessToken { operator: whose, .. } if whose == operator => {
            needed(Viewer, Place::Somewhere, "to create an access token")
        }
        Request::RevokeAccessToken { token } if holds(state, operator, token) => {
            needed(Viewer, Place::Somewhere, "to revoke an access token")
        }
        Request::AddOperator { .. }
        | Request::RemoveOperator { .. }
        | Request::CreateAccessToken { .. }
        | Request::RevokeAccessToken { .. } => {
            needed(Admin, Place::Everywhere, "to say what other operators may")
        }
        Request::Enrol { .. } | Request::EnrolPod { .. } => {
            needed(Admin, Place::Everywhere, "to let a node in")
        }
    }
}

fn needed(role: Role, place: Place, what: &'static str) -> Needed {
    Needed { role, place, what }
}

fn holds(state: &State, operator: &OperatorName, token: &TokenId) -> bool {
    let known = state.operators.get(operator);
    known.is_some_and(|known| known.tokens.contains_key(token))
}

/// Of a rollout that is not there nothing is told but that; so any place will do.
fn of_rollout(state: &State, number: RolloutNumber) -> Place {
    match state.rollouts.get(&number) {
        Some(rollout) => Place::Within([rollout.plan.environment.clone()].into()),
        None => Place::Somewhere,
    }
}

/// As the request itself will find it; where it does not, it is refused for that.
fn of_environment(state: &State, named: Option<&EnvironmentName>) -> Place {
    match find_environment(state, named) {
        Ok((environment, _)) => Place::Within([environment].into()),
        Err(_) => Place::Somewhere,
    }
}

fn or_all(environment: Option<&EnvironmentName>) -> Place {
    match environment {
        Some(environment) => Place::Within([environment.clone()].into()),
        None => Place::Everywhere,
    }
}

/// In each that the node is in. One in none may be in any tomorrow.
fn of_node(state: &State, node: &NodeId) -> Place {
    let Some(node) = state.nodes.get(node) else {
        return Place::Somewhere;
    };
    let selecting = state.environments.iter();
    let within: BTreeSet<EnvironmentName> = selecting
        .filter(|(_, environment)| environment.select.matches(&node.labels))
        .map(|(name, _)| name.clone())
        .collect();
    match within.is_empty() {
        true => Place::Everywhere,
        false => Place::Within(within),
    }
}

fn must_hold(state: &State, operator: &OperatorName, needed: &Needed) -> Result<(), Refusal> {
    let roles = state.roles_of(operator);
    if roles.is_empty() {
        return Err(Refusal::new(
            RefusalKind::NotAllowed,
            format!("operator {operator} has no role here"),
        )
        .hint(format!(
            "an admin gives one with `fleetctl operator add {operator} --role viewer`"
        )));
    }
    let Some(place) = missing(&roles, needed) else {
        return Ok(());
    };
    let role = needed.role;
    let within = match place {
        Some(environment) => format!(" --env {environment}"),
        None => String::new(),
    };
    let there = match place {
        Some(environment) => format!(" in {environment}"),
        None => String::new(),
    };
    Err(Refusal::new(
        RefusalKind::NotAllowed,
        format!(
            "{} takes the role {role}{there}; {operator} is {roles}",
            needed.what
        ),
    )
    .hint(format!(
        "an admin gives it with `fleetctl operator add {operator} --role {role}{within}`"
    )))
}

/// The first place where the role is not held; None in it for the fleet as a whole.
fn missing<'a>(roles: &Roles, needed: &'a Needed) -> Option<Option<&'a EnvironmentName>> {
    let is_enough = |held: Option<Role>| held >= Some(needed.role);
    match &needed.place {
        Place::Somewhere => (!is_enough(roles.somewhere())).then_some(None),
        Place::Everywhere => (!is_enough(roles.everywhere)).then_some(None),
        Place::Within(environments) => environments
            .iter()
            .find(|environment| !is_enough(roles.in_environment(environment)))
            .map(Some),
    }
}
