//! The views as JSON: the same documents that operators get.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use fleet_proto::ids::NodeId;
use fleet_proto::time::Timestamp;
use fleet_proto::view::{NodeView, ReleaseView, RolloutView, StatusView};

use super::Web;
use crate::rollout::view;

/// Newest first; history beyond this is for `fleetctl`.
const ROLLOUTS_SHOWN: usize = 100;

pub(super) async fn status(State(web): State<Web>) -> Json<StatusView> {
    let now = Timestamp::now();
    Json(web.handle.read(|state| view::status(state, None, None, now)))
}

pub(super) async fn nodes(State(web): State<Web>) -> Json<Vec<NodeView>> {
    Json(web.handle.read(|state| {
        let nodes = state.nodes.iter();
        nodes.map(|(id, node)| view::node(state, id, node)).collect()
    }))
}

pub(super) async fn node(
    State(web): State<Web>,
    Path(node): Path<String>,
) -> Result<Json<NodeView>, StatusCode> {
    let id: NodeId = node.parse().map_err(|_| StatusCode::NOT_FOUND)?;
    let view = web.handle.read(|state| {
        let node = state.nodes.get(&id)?;
        Some(view::node(state, &id, node))
    });
    let mut view = view.ok_or(StatusCode::NOT_FOUND)?;
    view.vitals = web.handle.sessions().vitals(&id);
    Ok(Json(view))
}

pub(super) async fn rollouts(State(web): State<Web>) -> Json<Vec<RolloutView>> {
    let now = Timestamp::now();
    Json(web.handle.read(|state| {
        let newest = state.rollouts.values().rev().take(ROLLOUTS_SHOWN);
        newest.map(|rollout| view::rollout(state, rollout, now)).collect()
    }))
}

pub(super) async fn releases(State(web): State<Web>) -> Json<Vec<ReleaseView>> {
    Json(web.handle.read(|state| view::releases(state, None)))
}
