//! What operators ask for, as events or as a refusal that reads as a sentence.

mod rollouts;

use fleet_proto::digest::Digest;
use fleet_proto::ids::{NodeId, TokenId};
use fleet_proto::labels::Labels;
use fleet_proto::release::Platform;
use fleet_proto::time::Timestamp;

use super::event::Event;
use super::input::{PushRelease, Refusal, RefusalKind, Reply, Request};
use super::state::State;

pub(super) type Answer = Result<(Vec<Event>, Reply), Refusal>;

/// Thirty-two thousand tokens are a leak, not a fleet.
const TOKENS_MAX: usize = 32_768;
const LABELS_MAX: usize = 64;

pub(super) fn answer(state: &State, by: &str, request: &Request, now: Timestamp) -> Answer {
    match request {
        Request::StartRollout(intent) => rollouts::start(state, by, intent),
        Request::Pause { number, reason } => rollouts::pause(state, by, *number, reason.as_deref()),
        Request::Resume { number, waves } => rollouts::resume(state, by, *number, waves.as_ref()),
        Request::Abort { number, reason } => rollouts::abort(state, by, *number, reason.as_deref()),
        Request::RollBack(request) => rollouts::roll_back(state, by, request),
        Request::PushRelease(push) => push_release(state, by, push),
        Request::CreateToken {
            token,
            secret_hash,
            labels,
            uses,
            valid_for,
        } => {
            must_be_few(labels)?;
            if *uses == 0 {
                return Err(Refusal::new(RefusalKind::Usage, "a token needs at least one use"));
            }
            if state.tokens.len() >= TOKENS_MAX {
                return Err(Refusal::new(
                    RefusalKind::Refused,
                    format!("there are {TOKENS_MAX} join tokens, which is the limit"),
                )
                .hint("give one token several uses with --uses; expired ones are forgotten after 30 days"));
            }
            let expires_at = now.plus(*valid_for);
            let event = Event::TokenCreated {
                token: token.clone(),
                secret_hash: *secret_hash,
                labels: labels.clone(),
                uses: *uses,
                expires_at,
                by: by.to_owned(),
            };
            Ok((vec![event], Reply::TokenCreated { expires_at }))
        }
        Request::RevokeToken { token } => {
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
        Request::Enrol {
            token,
            secret_hash,
            node,
            platform,
        } => enrol(state, token, secret_hash, node, platform, now),
        Request::LabelNode { node, set, remove } => label(state, by, node, set, remove),
        Request::RevokeNode { node, reason } => revoke(state, by, node, reason),
    }
}

fn must_be_few(labels: &Labels) -> Result<(), Refusal> {
    if labels.len() > LABELS_MAX {
        return Err(Refusal::new(
            RefusalKind::Usage,
            format!("{} labels are more than the limit of {LABELS_MAX}", labels.len()),
        ));
    }
    Ok(())
}

/// The same version with another digest is refused; the very same release is no news.
fn push_release(state: &State, by: &str, push: &PushRelease) -> Answer {
    let PushRelease { app, release, .. } = push;
    if let Some(known) = state.release(app, &release.version) {
        if known.release.digest == release.digest {
            return Ok((vec![], Reply::Pushed { new: false }));
        }
        return Err(Refusal::new(
            RefusalKind::Refused,
            format!(
                "{app} {} was pushed before with other bytes ({} then, {} now)",
                release.version,
                known.release.digest.short(),
                release.digest.short()
            ),
        )
        .hint("a release never changes; push these bytes under a new version"));
    }
    let event = Event::ReleasePushed {
        app: app.clone(),
        release: release.clone(),
        counter: push.counter,
        components: push.components.clone(),
        platforms: push.platforms.clone(),
        strategy: push.strategy.clone(),
        signed_by: push.signed_by.clone(),
        by: by.to_owned(),
    };
    Ok((vec![event], Reply::Pushed { new: true }))
}

fn enrol(
    state: &State,
    id: &TokenId,
    secret_hash: &Digest,
    node: &NodeId,
    platform: &Platform,
    now: Timestamp,
) -> Answer {
    let refuse = |why: &str| {
        Err(
            Refusal::new(RefusalKind::NotAllowed, format!("join token {id} {why}"))
                .hint("fleetctl token create makes a new one"),
        )
    };
    // A wrong secret and a token that never was look the same from outside.
    let Some(token) = state
        .tokens
        .get(id)
        .filter(|token| token.secret_hash == *secret_hash)
    else {
        return refuse("is not known here");
    };
    if token.revoked {
        return refuse("was revoked");
    }
    if token.expires_at <= now {
        return refuse(&format!("expired at {}", token.expires_at));
    }
    if token.uses_left == 0 {
        return refuse("is used up");
    }
    if let Some(known) = state.nodes.get(node) {
        let (why, hint) = if known.is_revoked() {
            (
                "was revoked, and a revocation is for good",
                "enrol under another name",
            )
        } else {
            (
                "is enrolled already",
                "enrol under another name, or keep the identity that the node has",
            )
        };
        return Err(Refusal::new(RefusalKind::Refused, format!("node {node} {why}")).hint(hint));
    }
    let event = Event::NodeEnrolled {
        node: node.clone(),
        token: id.clone(),
        labels: token.labels.clone(),
        platform: platform.clone(),
    };
    let labels = token.labels.clone();
    Ok((vec![event], Reply::Enrolled { labels }))
}

fn find_node<'a>(state: &'a State, id: &NodeId) -> Result<&'a super::node::Node, Refusal> {
    state.nodes.get(id).ok_or_else(|| {
        let known: Vec<String> = state.nodes.keys().map(ToString::to_string).collect();
        let refusal = Refusal::new(RefusalKind::NotFound, format!("there is no node {id}"));
        match fleet_proto::config::nearest(id.as_str(), &known) {
            Some(near) => refusal.hint(format!("did you mean `{near}`?")),
            None => refusal.hint("fleetctl nodes"),
        }
    })
}

fn label(state: &State, by: &str, id: &NodeId, set: &Labels, remove: &[String]) -> Answer {
    let mut labels = find_node(state, id)?.labels.clone();
    for key in remove {
        labels.remove(key);
    }
    labels.extend(set.clone());
    must_be_few(&labels)?;
    let event = Event::NodeLabelled {
        node: id.clone(),
        labels,
        by: by.to_owned(),
    };
    Ok((vec![event], Reply::Done))
}

fn revoke(state: &State, by: &str, id: &NodeId, reason: &str) -> Answer {
    if find_node(state, id)?.is_revoked() {
        return Ok((vec![], Reply::Done));
    }
    let event = Event::NodeRevoked {
        node: id.clone(),
        by: by.to_owned(),
        reason: reason.to_owned(),
    };
    Ok((vec![event], Reply::Done))
}
