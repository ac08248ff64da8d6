//! Operators, for people.

use std::collections::BTreeSet;

use fleet_proto::ids::OperatorName;
use fleet_proto::time::Timestamp;
use fleet_proto::view::{AccessTokenView, OperatorView};

use crate::rollout::state::State;

pub fn operators(state: &State, now: Timestamp) -> Vec<OperatorView> {
    let names: BTreeSet<&OperatorName> = state.admins.iter().chain(state.operators.keys()).collect();
    names.into_iter().map(|name| operator(state, name, now)).collect()
}

pub fn operator(state: &State, name: &OperatorName, now: Timestamp) -> OperatorView {
    let known = state.operators.get(name);
    let in_configuration = state.admins.contains(name);
    let tokens = known.iter().flat_map(|known| &known.tokens);
    OperatorView {
        operator: name.clone(),
        roles: state.roles_of(name),
        in_configuration,
        by: known.filter(|_| !in_configuration).map(|known| known.by.clone()),
        since: known.filter(|_| !in_configuration).map(|known| known.since),
        tokens: tokens
            .map(|(id, token)| AccessTokenView {
                id: id.clone(),
                created_at: token.created_at,
                expires_at: token.expires_at,
                by: token.by.clone(),
                state: match token.is_open(now) {
                    true => "open",
                    false => "expired",
                }
                .to_owned(),
            })
            .collect(),
    }
}
