//! What operators ask for, as events or as a refusal that reads as a sentence.

mod back;
pub mod drain;
mod halts;
mod nodes;
pub mod operators;
mod pods;
mod retry;
mod rollouts;
mod tokens;

pub use nodes::find_node;
pub use rollouts::would_start;

use fleet_proto::labels::Labels;
use fleet_proto::time::Timestamp;

use super::access;
use super::event::{Event, PushRelease};
use super::input::{Author, Refusal, RefusalKind, Reply, Request};
use super::outdated;
use super::state::{Release, State};

pub(super) type Answer = Result<(Vec<Event>, Reply), Refusal>;

const LABELS_MAX: usize = 64;

/// Read aloud in every view of a rollout.
const REASON_CHARS_MAX: usize = 1000;
const REQUEST_ID_CHARS_MAX: usize = 128;

pub(super) fn answer(state: &State, author: &Author, request: &Request, now: Timestamp) -> Answer {
    access::must_be_allowed(state, author, request)?;
    outdated::must_not_be(state, request)?;
    must_be_short(request)?;
    let by = &author.to_string();
    match request {
        Request::StartRollout(intent) => rollouts::start(state, by, intent),
        Request::Pause { number, reason } => rollouts::pause(state, by, *number, reason.as_deref()),
        Request::Resume { number, waves } => rollouts::resume(state, by, *number, waves.as_ref()),
        Request::Abort { number, reason } => rollouts::abort(state, by, *number, reason.as_deref()),
        Request::Retry(request) => retry::retry(state, by, request),
        Request::ResolveMigration { number, stand } => {
            rollouts::resolve_migration(state, by, *number, *stand)
        }
        Request::Halt { environment, reason } => {
            halts::halt(state, by, environment.as_ref(), reason.as_deref())
        }
        Request::Unhalt { environment } => halts::unhalt(state, by, environment.as_ref()),
        Request::RollBack(request) => back::roll_back(state, by, request),
        Request::PushRelease(push) => push_release(state, by, push),
        Request::CreateToken { token, valid_for } => tokens::create(state, by, token, *valid_for, now),
        Request::RevokeToken { token } => tokens::revoke(state, by, token),
        Request::AddOperator {
            operator,
            roles,
            certificates_from,
        } => operators::add(state, by, operator, roles, *certificates_from),
        Request::RemoveOperator {
            operator,
            environment,
        } => operators::remove(state, by, operator, environment.as_ref()),
        Request::CreateAccessToken {
            operator,
            token,
            secret_hash,
            valid_for,
        } => operators::create_token(state, by, operator, (token, secret_hash), *valid_for, now),
        Request::RevokeAccessToken { token } => operators::revoke_token(state, by, token),
        Request::Enrol {
            token,
            secret_hash,
            node,
            key,
            certificates_from,
            platform,
        } => {
            let newcomer = tokens::Newcomer {
                node,
                key,
                certificates_from: *certificates_from,
                platform,
            };
            tokens::enrol(state, token, secret_hash, &newcomer, now)
        }
        Request::EnrolPod {
            cluster,
            labels,
            naming,
            node,
            key,
            certificates_from,
            platform,
        } => {
            let newcomer = tokens::Newcomer {
                node,
                key,
                certificates_from: *certificates_from,
                platform,
            };
            pods::enrol(state, cluster, labels, *naming, &newcomer)
        }
        Request::LabelNode { node, set, remove } => nodes::label(state, by, node, set, remove),
        Request::RevokeNode { node, reason } => nodes::revoke(state, by, node, reason),
        Request::CordonNode { node, reason } => nodes::cordon(state, by, node, reason.as_deref()),
        Request::UncordonNode { node } => nodes::uncordon(state, by, node),
        Request::DrainNode { node, reason, limit } => {
            drain::drain(state, by, node, reason.as_deref(), *limit)
        }
        Request::UndrainNode { node } => drain::undrain(state, by, node),
    }
}

/// What people write is kept for ever, in the journal.
fn must_be_short(request: &Request) -> Result<(), Refusal> {
    let (reason, id) = match request {
        Request::StartRollout(intent) => (intent.reason.as_deref(), intent.request_id.as_deref()),
        Request::RollBack(request) => (request.reason.as_deref(), None),
        Request::Pause { reason, .. }
        | Request::Abort { reason, .. }
        | Request::Halt { reason, .. }
        | Request::CordonNode { reason, .. }
        | Request::DrainNode { reason, .. } => (reason.as_deref(), None),
        Request::Retry(request) => (request.reason.as_deref(), None),
        Request::RevokeNode { reason, .. } => (Some(reason.as_str()), None),
        Request::Resume { .. }
        | Request::Unhalt { .. }
        | Request::ResolveMigration { .. }
        | Request::UncordonNode { .. }
        | Request::UndrainNode { .. }
        | Request::PushRelease(_)
        | Request::CreateToken { .. }
        | Request::RevokeToken { .. }
        | Request::AddOperator { .. }
        | Request::RemoveOperator { .. }
        | Request::CreateAccessToken { .. }
        | Request::RevokeAccessToken { .. }
        | Request::Enrol { .. }
        | Request::EnrolPod { .. }
        | Request::LabelNode { .. } => (None, None),
    };
    let texts = [
        ("reason", reason, REASON_CHARS_MAX),
        ("request id", id, REQUEST_ID_CHARS_MAX),
    ];
    for (what, text, limit) in texts {
        let Some(text) = text else { continue };
        let length = text.chars().count();
        if length > limit {
            return Err(Refusal::new(
                RefusalKind::Usage,
                format!("a {what} of {length} characters is longer than the limit of {limit}"),
            ));
        }
        if text.chars().any(char::is_control) {
            return Err(Refusal::new(
                RefusalKind::Usage,
                format!("a {what} is one line of text, without control characters"),
            ));
        }
    }
    Ok(())
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
            return Ok((signed_too(known, push, by), Reply::Pushed { new: false }));
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
        push: Box::new(push.clone()),
        by: by.to_owned(),
    };
    Ok((vec![event], Reply::Pushed { new: true }))
}

/// Somebody else stands for a release that is here.
fn signed_too(known: &Release, push: &PushRelease, by: &str) -> Vec<Event> {
    let mut signed_by = known.signed_by.clone();
    for key in &push.signed_by {
        if !signed_by.contains(key) {
            signed_by.push(key.clone());
        }
    }
    if signed_by.len() == known.signed_by.len() {
        return vec![];
    }
    let push = PushRelease {
        signed_by,
        ..push.clone()
    };
    vec![Event::ReleasePushed {
        push: Box::new(push),
        by: by.to_owned(),
    }]
}
