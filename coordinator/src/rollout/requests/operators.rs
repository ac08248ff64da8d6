//! Operators: who they are, what they may, and the tokens that let them in.

use fleet_proto::digest::Digest;
use fleet_proto::ids::{EnvironmentName, OperatorName, TokenId};
use fleet_proto::quantity::Span;
use fleet_proto::role::Roles;
use fleet_proto::time::Timestamp;

use super::Answer;
use crate::rollout::event::Event;
use crate::rollout::input::{Refusal, RefusalKind, Reply};
use crate::rollout::plan::find_environment;
use crate::rollout::state::State;

/// More people than this who may order are nobody's team; it bounds what is kept for ever.
const OPERATORS_MAX: usize = 4_096;
/// A script that makes a new one each time would fill the journal's state.
const TOKENS_EACH_MAX: usize = 64;
/// A year: whatever is on a wall for longer was forgotten there.
pub const ACCESS_LIFE_MAX: Span = Span::from_secs(366 * 86_400);

/// Once more says what it may there from now on; with no place at all it keeps what it has,
/// and gets a certificate.
pub(super) fn add(
    state: &State,
    by: &str,
    operator: &OperatorName,
    given: &Roles,
    certificates_from: Option<Timestamp>,
) -> Answer {
    let known = state.operators.get(operator);
    if state.admins.contains(operator) {
        return match given.is_empty() {
            true => Ok((vec![], Reply::Access(operator.clone()))),
            false => Err(named_in_file(operator)),
        };
    }
    for environment in given.within.keys() {
        find_environment(state, Some(environment))?;
    }
    let held = known.map(|known| known.roles.clone()).unwrap_or_default();
    let mut roles = held.clone();
    roles.everywhere = given.everywhere.or(held.everywhere);
    roles.within.extend(given.within.clone());
    if roles.is_empty() {
        return Err(Refusal::new(
            RefusalKind::Usage,
            format!("{operator} has no role here yet, and is given none"),
        )
        .hint(format!("fleetctl operator add {operator} --role viewer")));
    }
    if known.is_none() && state.operators.len() >= OPERATORS_MAX {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!("there are {OPERATORS_MAX} operators, which is the limit"),
        ));
    }
    if held == roles && certificates_from.is_none() {
        return Ok((vec![], Reply::Access(operator.clone())));
    }
    let event = added(operator, roles, certificates_from, by);
    Ok((vec![event], Reply::Access(operator.clone())))
}

fn added(operator: &OperatorName, roles: Roles, certificates_from: Option<Timestamp>, by: &str) -> Event {
    Event::OperatorAdded {
        operator: operator.clone(),
        roles,
        certificates_from,
        by: by.to_owned(),
    }
}

pub(super) fn remove(
    state: &State,
    by: &str,
    operator: &OperatorName,
    environment: Option<&EnvironmentName>,
) -> Answer {
    if state.admins.contains(operator) {
        return Err(named_in_file(operator));
    }
    let Some(known) = state.operators.get(operator) else {
        return Err(nobody(state, operator));
    };
    let mut left = known.roles.clone();
    match environment {
        None => left = Roles::default(),
        Some(environment) if left.within.remove(environment).is_none() => {
            return Err(Refusal::new(
                RefusalKind::Refused,
                format!(
                    "{operator} has no role in {environment} of its own: it is {}",
                    known.roles
                ),
            )
            .hint("fleetctl operator list"));
        }
        Some(_) => {}
    }
    let event = match left.is_empty() {
        _ if known.roles.is_empty() => return Ok((vec![], Reply::Access(operator.clone()))),
        true => Event::OperatorRemoved {
            operator: operator.clone(),
            by: by.to_owned(),
        },
        false => added(operator, left, None, by),
    };
    Ok((vec![event], Reply::Access(operator.clone())))
}

pub(super) fn create_token(
    state: &State,
    by: &str,
    operator: &OperatorName,
    (token, secret_hash): (&TokenId, &Digest),
    valid_for: Span,
    now: Timestamp,
) -> Answer {
    if valid_for == Span::ZERO || valid_for > ACCESS_LIFE_MAX {
        return Err(Refusal::new(
            RefusalKind::Usage,
            format!(
                "an access token is valid for more than 0s and at most {ACCESS_LIFE_MAX}, not {valid_for}"
            ),
        ));
    }
    if state.roles_of(operator).is_empty() {
        return Err(nobody(state, operator));
    }
    let known = state.operators.get(operator);
    let open = known.map_or(0, |known| {
        let tokens = known.tokens.values();
        tokens.filter(|token| token.is_open(now)).count()
    });
    if open >= TOKENS_EACH_MAX {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!("{operator} has {TOKENS_EACH_MAX} access tokens, which is the limit"),
        )
        .hint("fleetctl operator list shows them; fleetctl operator revoke-token ID ends one"));
    }
    let expires_at = now.plus(valid_for);
    let event = Event::AccessTokenCreated {
        operator: operator.clone(),
        token: token.clone(),
        secret_hash: *secret_hash,
        expires_at,
        by: by.to_owned(),
    };
    Ok((vec![event], Reply::TokenCreated { expires_at }))
}

pub(super) fn revoke_token(state: &State, by: &str, token: &TokenId) -> Answer {
    let mut operators = state.operators.iter();
    let holder = operators.find(|(_, operator)| operator.tokens.contains_key(token));
    let Some((operator, _)) = holder else {
        return Err(
            Refusal::new(RefusalKind::NotFound, format!("there is no access token {token}"))
                .hint("fleetctl operator list"),
        );
    };
    let event = Event::AccessTokenRevoked {
        operator: operator.clone(),
        token: token.clone(),
        by: by.to_owned(),
    };
    Ok((vec![event], Reply::Access(operator.clone())))
}

fn named_in_file(operator: &OperatorName) -> Refusal {
    Refusal::new(
        RefusalKind::Refused,
        format!("{operator} is an admin by the word of coordinator.toml"),
    )
    .hint(format!(
        "take {operator} out of `admins` there and restart the coordinator"
    ))
}

fn nobody(state: &State, operator: &OperatorName) -> Refusal {
    let known = state.operators.keys().chain(&state.admins);
    let known: Vec<String> = known.map(ToString::to_string).collect();
    let refusal = Refusal::new(RefusalKind::NotFound, format!("there is no operator {operator}"));
    match fleet_proto::config::nearest(operator.as_str(), &known) {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None => refusal.hint("fleetctl operator list"),
    }
}
