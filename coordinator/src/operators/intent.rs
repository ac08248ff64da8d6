//! An operator's wish, from the wire.

use fleet_proto::quantity::Span;
use fleet_proto::release::OnFailure;
use fleet_proto::wire;
use tonic::Status;

use super::documents::{if_said, text_if_said};
use crate::refusal;
use crate::rollout::event::Urgency;
use crate::rollout::gate::{Insistence, WithActive, WithKnownBad};
use crate::rollout::input::Intent;

/// More bakes than waves would say nothing; a bound on what is read.
const BAKES_MAX: usize = 100;

pub(super) fn read(wish: wire::RolloutIntent) -> Result<Intent, Status> {
    if wish.bake.len() > BAKES_MAX {
        return Err(Status::invalid_argument(format!(
            "{} bakes are more than the limit of {BAKES_MAX}",
            wish.bake.len()
        )));
    }
    Ok(Intent {
        app: if_said(&wish.app)?,
        environment: if_said(&wish.environment)?,
        version: if_said(&wish.version)?,
        waves: if_said(&wish.waves)?,
        bake: wish
            .bake
            .iter()
            .map(|span| span.parse::<Span>().map_err(refusal::usage))
            .collect::<Result<_, _>>()?,
        max_in_flight: if_said(&wish.max_in_flight)?,
        max_unavailable: if_said(&wish.max_unavailable)?,
        min_available: if_said(&wish.min_available)?,
        max_failures: if_said(&wish.max_failures)?,
        max_unreachable: if_said(&wish.max_unreachable)?,
        on_failure: on_failure(&wish.on_failure)?,
        select: wish.select.parse().map_err(refusal::usage)?,
        canary: if_said(&wish.canary)?,
        reason: text_if_said(wish.reason),
        request_id: text_if_said(wish.request_id),
        insistence: Insistence {
            urgency: urgency(wish.emergency),
            active: if wish.supersede {
                WithActive::Supersede
            } else {
                WithActive::Refuse
            },
            known_bad: known_bad(wish.again),
        },
    })
}

pub(super) fn urgency(is_emergency: bool) -> Urgency {
    if is_emergency {
        Urgency::Emergency
    } else {
        Urgency::Ordinary
    }
}

pub(super) fn known_bad(again: bool) -> WithKnownBad {
    if again {
        WithKnownBad::TryAgain
    } else {
        WithKnownBad::Refuse
    }
}

fn on_failure(text: &str) -> Result<Option<OnFailure>, Status> {
    match text {
        "" => Ok(None),
        "rollback" => Ok(Some(OnFailure::Rollback)),
        "pause" => Ok(Some(OnFailure::Pause)),
        other => Err(Status::invalid_argument(format!(
            "`{}` is not what to do on a failure; write rollback or pause",
            other.escape_debug()
        ))),
    }
}
