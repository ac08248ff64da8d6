//! Rollouts: a list, one of them, its steps, and what may be done with it.

use std::num::NonZeroUsize;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use fleet_proto::ids::{AppName, EnvironmentName, NodeId, RolloutNumber};
use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;
use fleet_proto::view::RolloutStateView;
use fleet_proto::view::board::RolloutDetail;
use serde::Deserialize;

use super::{Answered, Nothing};
use crate::rollout::input::{Refusal, RefusalKind};
use crate::rollout::state::{Rollout, State as Fleet};
use crate::rollout::view::board::{self, Part, RolloutFilter, StepFilter};
use crate::web::Web;
use crate::web::answers::Answer;
use crate::web::asked::{Asked, Named, limit};
use crate::web::problem::Problem;
use crate::web::visitor::Visitor;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::web) struct RolloutsQuery {
    app: Option<AppName>,
    environment: Option<EnvironmentName>,
    state: Option<RolloutStateView>,
    limit: Option<usize>,
    after: Option<RolloutNumber>,
}

pub(in crate::web) async fn rollouts(
    State(web): State<Web>,
    Asked(query): Asked<RolloutsQuery>,
    headers: HeaderMap,
) -> Answered {
    let key = format!("rollouts {query:?}");
    let part = Part {
        after: query.after,
        limit: limit(query.limit)?,
    };
    let filter = RolloutFilter {
        app: query.app,
        environment: query.environment,
        state: query.state.map(|state| state.word().to_owned()),
    };
    web.show(key, &headers, move |state, now| {
        Ok(board::rollouts(state, &filter, &part, now))
    })
    .await
}

fn find(state: &Fleet, number: RolloutNumber) -> Result<&Rollout, Refusal> {
    state.rollouts.get(&number).ok_or_else(|| {
        let refusal = Refusal::new(RefusalKind::NotFound, format!("there is no rollout {number}"));
        match state.rollouts.keys().next_back() {
            Some(newest) => refusal.hint(format!("the newest is {newest}")),
            None => refusal,
        }
    })
}

pub(in crate::web) async fn rollout(
    State(web): State<Web>,
    Named(number): Named<RolloutNumber>,
    _: Asked<Nothing>,
    headers: HeaderMap,
) -> Answered {
    web.show(format!("rollout {number}"), &headers, move |state, now| {
        Ok(board::rollout(state, find(state, number)?, now))
    })
    .await
}

pub(in crate::web) fn must_be_there(web: &Web, number: RolloutNumber) -> Result<(), Refusal> {
    web.handle.read(|state| find(state, number).map(drop))
}

/// As it stands at this moment, for whoever has just acted on it.
pub(in crate::web) fn detail(web: &Web, number: RolloutNumber) -> Result<RolloutDetail, Refusal> {
    let now = Timestamp::now();
    web.handle
        .read(|state| Ok(board::rollout(state, find(state, number)?, now)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::web) struct StepsQuery {
    wave: Option<NonZeroUsize>,
    phase: Option<Phase>,
    limit: Option<usize>,
    after: Option<NodeId>,
}

pub(in crate::web) async fn steps(
    State(web): State<Web>,
    Named(number): Named<RolloutNumber>,
    Asked(query): Asked<StepsQuery>,
    headers: HeaderMap,
) -> Answered {
    let key = format!("steps {number} {query:?}");
    let part = Part {
        after: query.after,
        limit: limit(query.limit)?,
    };
    let filter = StepFilter {
        wave: query.wave.map(NonZeroUsize::get),
        phase: query.phase,
    };
    web.show(key, &headers, move |state, _| {
        Ok(board::steps(state, find(state, number)?, &filter, &part))
    })
    .await
}

/// Of whoever asks, so it is made for them alone.
pub(in crate::web) async fn acts(
    State(web): State<Web>,
    visitor: Visitor,
    Named(number): Named<RolloutNumber>,
    _: Asked<Nothing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let now = Timestamp::now();
    let acts = web.handle.read(|state| {
        let rollout = find(state, number)?;
        Ok::<_, Refusal>(board::acts(state, rollout, visitor.operator.as_ref(), now))
    })?;
    Ok(Answer::of(&acts)?.to(&headers))
}
