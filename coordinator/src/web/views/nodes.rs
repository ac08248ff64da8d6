//! Nodes: a list, and one of them as it is now.

use axum::extract::State;
use axum::http::HeaderMap;
use fleet_proto::ids::{EnvironmentName, NodeId};
use fleet_proto::labels::Selector;
use fleet_proto::view::board::VitalsBoard;
use serde::Deserialize;

use super::{Answered, Nothing};
use crate::rollout::requests::find_node;
use crate::rollout::view::board::{self, NodeFilter, Part};
use crate::web::Web;
use crate::web::answers::Answer;
use crate::web::asked::{Asked, Named, limit};

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ConnectionWord {
    Connected,
    Silent,
    Unreachable,
    Revoked,
    Expired,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum HealthWord {
    Empty,
    Unknown,
    Healthy,
    Unhealthy,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::web) struct NodesQuery {
    #[serde(default)]
    select: Selector,
    environment: Option<EnvironmentName>,
    connection: Option<ConnectionWord>,
    health: Option<HealthWord>,
    q: Option<String>,
    limit: Option<usize>,
    after: Option<NodeId>,
}

pub(in crate::web) async fn nodes(
    State(web): State<Web>,
    Asked(query): Asked<NodesQuery>,
    headers: HeaderMap,
) -> Answered {
    let key = format!("nodes {query:?}");
    let part = Part {
        after: query.after,
        limit: limit(query.limit)?,
    };
    let word = |word: &dyn std::fmt::Debug| format!("{word:?}").to_lowercase();
    let filter = NodeFilter {
        select: query.select,
        environment: query.environment,
        connection: query.connection.as_ref().map(|found| word(found)),
        health: query.health.as_ref().map(|found| word(found)),
        text: query.q.filter(|text| !text.is_empty()),
    };
    web.show(key, &headers, move |state, _| {
        Ok(board::nodes(state, &filter, &part))
    })
    .await
}

/// Its heartbeats are in no journal, so it is made for whoever asks.
pub(in crate::web) async fn node(
    State(web): State<Web>,
    Named(id): Named<NodeId>,
    _: Asked<Nothing>,
    headers: HeaderMap,
) -> Answered {
    let board = web.handle.read(|state| {
        let found = find_node(state, &id)?;
        Ok::<_, crate::rollout::input::Refusal>(board::node(state, &id, found))
    });
    let mut board = board?;
    let vitals = web.handle.sessions().vitals(&id);
    board.vitals = vitals.map(VitalsBoard::from);
    Ok(Answer::of(&board)?.to(&headers))
}
