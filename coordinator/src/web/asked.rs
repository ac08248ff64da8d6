//! What a request asks: its path, its query and its body, read strictly. An unknown key is
//! an error that says so, and not an answer to another question.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Whoever names no limit gets so many.
pub const LIMIT: usize = 100;
pub const LIMIT_MAX: usize = 1000;

/// `?limit=100`, within bounds.
pub fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(LIMIT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        limit => Err(Problem::bad_request(format!(
            "limit is between 1 and {LIMIT_MAX}, not {limit}"
        ))),
    }
}

pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        read.map(|Query(asked)| Self(asked))
            .map_err(|rejected| Problem::bad_request(rejected.body_text()))
    }
}

/// What is not a name or a number there names nothing.
pub struct Named<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, state).await;
        read.map(|Path(named)| Self(named))
            .map_err(|rejected| Problem::not_found(rejected.body_text()))
    }
}

pub struct Said<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Said<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| kind.split(';').next().map(str::trim) == Some("application/json"));
        if !is_json {
            // A form of another site could send other kinds without being asked first.
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body has to be application/json",
            ));
        }
        let read: Result<Json<T>, JsonRejection> = Json::from_request(request, state).await;
        read.map(|Json(said)| Self(said))
            .map_err(|rejected| match rejected.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, rejected.body_text())
                }
                _ => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, rejected.body_text()),
            })
    }
}
