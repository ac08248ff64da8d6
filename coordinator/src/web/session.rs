//! Logging in with a browser, and out again: a token or a code is traded for a cookie.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fleet_proto::access_token::AccessToken;
use fleet_proto::ids::{EnvironmentName, OperatorName, TokenId};
use fleet_proto::role::{Role, Roles};
use fleet_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Web;
use super::asked::{Asked, Said};
use super::cookies::{Cookies, Session};
use super::problem::Problem;
use super::views::Nothing;
use super::visitor::{Via, Visitor};

#[derive(Debug, Serialize)]
struct SessionBoard {
    operator: Option<OperatorName>,
    via: &'static str,
    until: Option<Timestamp>,
    roles: Vec<RoleBoard>,
    may_read: bool,
}

#[derive(Debug, Serialize)]
struct RoleBoard {
    /// Absent: everywhere.
    environment: Option<EnvironmentName>,
    role: Role,
}

fn roles(roles: Roles) -> Vec<RoleBoard> {
    let everywhere = roles.everywhere.map(|role| RoleBoard {
        environment: None,
        role,
    });
    let within = roles.within.into_iter().map(|(environment, role)| RoleBoard {
        environment: Some(environment),
        role,
    });
    everywhere.into_iter().chain(within).collect()
}

impl Web {
    fn session(&self, visitor: &Visitor) -> SessionBoard {
        let of = |operator: &OperatorName| self.handle.read(|state| state.roles_of(operator));
        SessionBoard {
            via: visitor.via.word(),
            until: visitor.session.as_ref().map(Session::expires_at),
            roles: visitor.operator.as_ref().map(of).map(roles).unwrap_or_default(),
            may_read: self.must_let_look(visitor).is_ok(),
            operator: visitor.operator.clone(),
        }
    }

    /// Whose it is, and until when the session may go on.
    fn log_in(&self, text: &str, now: Timestamp) -> Result<Session, Problem> {
        if let Some(operator) = self.access.logins().take(text, now) {
            return Ok(Session::begin(operator, None, now));
        }
        let refuse = |refused: crate::rollout::input::Refusal| {
            let problem = Problem::new(StatusCode::UNAUTHORIZED, refused.message);
            refused.hint.into_iter().fold(problem, Problem::hint)
        };
        let operator = self.access.by_token(text, now).map_err(refuse)?;
        Ok(Session::begin(operator, self.token(text), now))
    }

    fn token(&self, text: &str) -> Option<(TokenId, Timestamp)> {
        let token: AccessToken = text.parse().ok()?;
        self.handle.read(|state| {
            let mut operators = state.operators.values();
            let known = operators.find_map(|operator| operator.tokens.get(&token.id))?;
            Some((token.id.clone(), known.expires_at))
        })
    }
}

fn answered(web: &Web, visitor: &Visitor, cookie: Option<HeaderValue>) -> Response {
    let mut response = Json(web.session(visitor)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

pub(super) async fn show(State(web): State<Web>, visitor: Visitor, _: Asked<Nothing>) -> Response {
    answered(&web, &visitor, None)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    /// An access token, or the code of `fleetctl dashboard`.
    token: String,
}

pub(super) async fn begin(
    State(web): State<Web>,
    visitor: Visitor,
    Said(login): Said<Login>,
) -> Result<Response, Problem> {
    let now = Timestamp::now();
    let session = web.log_in(&login.token, now)?;
    tracing::info!(operator = %session.operator, "logged in to the dashboard");
    let cookie = web.cookies.set(&session, visitor.way.is_tls(), now);
    let visitor = Visitor {
        operator: Some(session.operator.clone()),
        refused: None,
        via: Via::Session,
        session: Some(session),
        way: visitor.way,
    };
    Ok(answered(&web, &visitor, cookie))
}

pub(super) async fn end(visitor: Visitor, _headers: HeaderMap) -> Response {
    let cookie = Cookies::clear(visitor.way.is_tls());
    let mut response = StatusCode::NO_CONTENT.into_response();
    response
        .headers_mut()
        .extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    response
}
