//! Join tokens, and the nodes that come with them.

use fleet_proto::digest::Digest;
use fleet_proto::ids::{NodeId, TokenId};
use fleet_proto::labels::Labels;
use fleet_proto::quantity::Span;
use fleet_proto::release::Platform;
use fleet_proto::time::Timestamp;

use super::{Answer, must_be_few};
use crate::rollout::event::{Event, NewToken};
use crate::rollout::input::{Refusal, RefusalKind, Reply};
use crate::rollout::node::Node;
use crate::rollout::state::{State, Token};

/// Thirty-two thousand tokens are a leak, not a fleet.
const TOKENS_MAX: usize = 32_768;

pub(super) fn create(state: &State, by: &str, token: &NewToken, valid_for: Span, now: Timestamp) -> Answer {
    let expires_at = now.plus(valid_for);
    must_be_few(&token.labels)?;
    if token.uses == 0 {
        return Err(Refusal::new(RefusalKind::Usage, "a token needs at least one use"));
    }
    let is_full = || state.tokens.values().filter(|known| known.is_kept(now)).count() >= TOKENS_MAX;
    if state.tokens.len() >= TOKENS_MAX && is_full() {
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!("there are {TOKENS_MAX} join tokens, which is the limit"),
        )
        .hint("give one token several uses with --uses; expired ones are forgotten after 30 days"));
    }
    if let Some(node) = &token.node {
        may_be_for_one(state, node, token)?;
    }
    let event = Event::TokenCreated {
        token: token.clone(),
        expires_at,
        by: by.to_owned(),
    };
    Ok((vec![event], Reply::TokenCreated { expires_at }))
}

fn may_be_for_one(state: &State, node: &NodeId, token: &NewToken) -> Result<(), Refusal> {
    if token.uses != 1 {
        return Err(Refusal::new(
            RefusalKind::Usage,
            format!("a token for {node} alone has one use, not {}", token.uses),
        ));
    }
    match state.nodes.get(node) {
        Some(known) if known.has_expired() => Ok(()),
        Some(known) if known.is_revoked() => Err(revoked_for_good(node)),
        Some(_) if !token.labels.is_empty() => Err(Refusal::new(
            RefusalKind::Usage,
            format!("{node} is known and keeps its labels when it comes back"),
        )
        .hint(format!("fleetctl node label {node} zone=a changes them"))),
        _ => Ok(()),
    }
}

pub(super) fn revoke(state: &State, by: &str, token: &TokenId) -> Answer {
    if !state.tokens.contains_key(token) {
        return Err(
            Refusal::new(RefusalKind::NotFound, format!("there is no token {token}"))
                .hint("fleetctl token list"),
        );
    }
    let event = Event::TokenRevoked {
        token: token.clone(),
        by: by.to_owned(),
    };
    Ok((vec![event], Reply::Done))
}

/// Who wants to come in.
pub(super) struct Newcomer<'a> {
    pub node: &'a NodeId,
    pub key: &'a Digest,
    pub certificates_from: Timestamp,
    pub platform: &'a Platform,
}

pub(super) fn enrol(
    state: &State,
    id: &TokenId,
    secret_hash: &Digest,
    newcomer: &Newcomer<'_>,
    now: Timestamp,
) -> Answer {
    let node = newcomer.node;
    // A wrong secret and a token that never was look the same from outside.
    let token = state
        .tokens
        .get(id)
        .filter(|token| token.secret_hash == *secret_hash)
        .ok_or_else(|| useless(id, "is not known here"))?;
    if token.revoked {
        return Err(useless(id, "was revoked"));
    }
    if token.expires_at <= now {
        return Err(useless(id, &format!("expired at {}", token.expires_at)));
    }
    if let Some(named) = token.node.as_ref().filter(|named| *named != node) {
        return Err(useless(id, &format!("is for {named} alone")));
    }
    let known = state.nodes.get(node);
    if let Some(known) = known.filter(|known| lost_its_answer(known, newcomer.key)) {
        let labels = known.labels.clone();
        return Ok((vec![], Reply::Enrolled { labels }));
    }
    if token.uses_left == 0 {
        return Err(useless(id, "is used up"));
    }
    let labels = labels_at_the_door(node, known, token)?;
    let event = Event::NodeEnrolled {
        node: node.clone(),
        token: id.clone(),
        key: *newcomer.key,
        certificates_from: newcomer.certificates_from,
        labels: labels.clone(),
        platform: newcomer.platform.clone(),
        tenure: token.tenure,
    };
    Ok((vec![event], Reply::Enrolled { labels }))
}

/// The very key that was let in, and never heard of: what it should have got went astray
/// on the way, and it asks again.
pub(super) fn lost_its_answer(known: &Node, key: &Digest) -> bool {
    known.enrolled_key == *key && known.agent_version.is_none() && !known.is_revoked()
}

fn labels_at_the_door(node: &NodeId, known: Option<&Node>, token: &Token) -> Result<Labels, Refusal> {
    match known {
        None => Ok(token.labels.clone()),
        // Nobody took its name from it; whoever comes with it now is let in as a new one.
        Some(known) if known.has_expired() => Ok(token.labels.clone()),
        Some(known) if known.is_revoked() => Err(revoked_for_good(node)),
        Some(known) if token.node.is_some() => Ok(known.labels.clone()),
        Some(_) => Err(Refusal::new(
            RefusalKind::Refused,
            format!("node {node} is enrolled already"),
        )
        .hint(format!(
            "enrol under another name; or, where this is {node} without its identity: fleetctl token create --node {node}"
        ))),
    }
}

fn useless(token: &TokenId, why: &str) -> Refusal {
    Refusal::new(RefusalKind::NotAllowed, format!("join token {token} {why}"))
        .hint("fleetctl token create makes a new one")
}

pub(super) fn revoked_for_good(node: &NodeId) -> Refusal {
    Refusal::new(
        RefusalKind::Refused,
        format!("node {node} was revoked, and a revocation is for good"),
    )
    .hint("enrol under another name")
}
