//! The views as JSON, at the addresses of `openapi.json`. No decision is made here.

mod events;
mod nodes;
mod rollouts;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use fleet_proto::ids::{AppName, EnvironmentName};
use fleet_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Web;
use super::answers::Moment;
use super::asked::{Asked, Named, limit};
use super::problem::Problem;
use crate::rollout::input::Refusal;
use crate::rollout::plan::find_environment;
use crate::rollout::state::State as Fleet;
use crate::rollout::view::board::{self, Part};

pub(super) use events::events;
pub(super) use nodes::{node, nodes};
pub(super) use rollouts::{acts, detail, must_be_there, rollout, rollouts, steps};

pub(super) type Answered = Result<Response, Problem>;

impl Web {
    /// The view of this moment, made once for all who ask for it.
    pub(super) async fn show<T, F>(&self, key: String, headers: &HeaderMap, look: F) -> Answered
    where
        T: Serialize,
        F: FnOnce(&Fleet, Timestamp) -> Result<T, Refusal> + Send + 'static,
    {
        let now = Timestamp::now();
        let position = *self.handle.changes().borrow();
        let handle = self.handle.clone();
        let make = move || handle.read(|state| look(state, now)).map_err(Problem::from);
        let answer = self.answers.get(Moment::new(position, now), &key, make).await?;
        Ok(answer.to(headers))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

pub(super) async fn status(State(web): State<Web>, _: Asked<Nothing>, headers: HeaderMap) -> Answered {
    web.show("status".to_owned(), &headers, |state, now| {
        Ok(board::status(state, now))
    })
    .await
}

pub(super) async fn environments(State(web): State<Web>, _: Asked<Nothing>, headers: HeaderMap) -> Answered {
    web.show("environments".to_owned(), &headers, |state, _| {
        Ok(board::environments(state))
    })
    .await
}

pub(super) async fn environment(
    State(web): State<Web>,
    Named(name): Named<EnvironmentName>,
    _: Asked<Nothing>,
    headers: HeaderMap,
) -> Answered {
    web.show(format!("environment {name}"), &headers, move |state, _| {
        find_environment(state, Some(&name))?;
        let mut all = board::environments(state).into_iter();
        Ok(all.find(|environment| environment.environment == name))
    })
    .await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FleetQuery {
    environment: Option<EnvironmentName>,
    app: Option<AppName>,
}

pub(super) async fn fleet(
    State(web): State<Web>,
    Asked(query): Asked<FleetQuery>,
    headers: HeaderMap,
) -> Answered {
    web.show(format!("fleet {query:?}"), &headers, move |state, _| {
        board::fleet(state, query.environment.as_ref(), query.app.as_ref())
    })
    .await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleasesQuery {
    app: Option<AppName>,
    limit: Option<usize>,
    after: Option<usize>,
}

pub(super) async fn releases(
    State(web): State<Web>,
    Asked(query): Asked<ReleasesQuery>,
    headers: HeaderMap,
) -> Answered {
    let part = Part {
        after: query.after,
        limit: limit(query.limit)?,
    };
    web.show(format!("releases {query:?}"), &headers, move |state, _| {
        Ok(board::releases(state, query.app.as_ref(), &part))
    })
    .await
}
