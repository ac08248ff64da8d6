//! Who asks over HTTP, by what they show: a certificate, an access token, or the cookie that
//! either was traded for. On loopback whoever is on this machine may look without; to act
//! takes a name everywhere.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fleet_proto::identity::Peer;
use fleet_proto::ids::OperatorName;
use fleet_proto::time::Timestamp;

use super::Web;
use super::cookies::{self, Session};
use super::problem::Problem;
use crate::rollout::access::Question;
use crate::rollout::input::Refusal;

/// How the connection came in; put into each request by the listener.
#[derive(Debug, Clone)]
pub enum Way {
    /// Plain, from this machine.
    Loopback,
    Tls {
        peer: Option<Arc<Peer>>,
    },
}

impl Way {
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Loopback,
    /// Over TLS, and nothing was shown.
    Nothing,
    Certificate,
    Token,
    Session,
}

impl Via {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Nothing => "nothing",
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::Session => "session",
        }
    }

    /// What a browser sends along by itself, also when another site has made it ask.
    const fn is_sent_unasked(self) -> bool {
        !matches!(self, Self::Token)
    }
}

/// Whoever asks, as far as they have said.
#[derive(Debug, Clone)]
pub struct Visitor {
    pub operator: Option<OperatorName>,
    /// Why the certificate that came with the connection is nobody's. A browser sends it
    /// unasked, so whoever has such a one may still log in otherwise.
    pub refused: Option<Refusal>,
    pub via: Via,
    pub session: Option<Session>,
    pub way: Way,
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let known = parts.extensions.get::<Self>().cloned();
        known.ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "nobody has said who asks"))
    }
}

impl Visitor {
    /// Who acts has a name.
    pub fn must_have_a_name(&self) -> Result<&OperatorName, Problem> {
        self.operator
            .as_ref()
            .ok_or_else(|| self.must_log_in("to act takes a login"))
    }

    fn must_log_in(&self, why: &str) -> Problem {
        match &self.refused {
            Some(refused) => Problem::from(refused.clone()),
            None => Problem::new(StatusCode::UNAUTHORIZED, why)
                .hint("`fleetctl dashboard` prints a link that opens the dashboard as you"),
        }
    }
}

/// Before every view: whether this visitor may look at all.
pub async fn may_look(State(web): State<Web>, visitor: Visitor, request: Request, next: Next) -> Response {
    match web.must_let_look(&visitor) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// The first thing that happens to a request.
pub async fn identify(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let way = request.extensions().get::<Way>().cloned();
    // A listener that does not say how it is reached is not on loopback.
    let way = way.unwrap_or(Way::Tls { peer: None });
    let identified = web.identify(way, request.method(), request.headers());
    let visitor = match identified {
        Ok(visitor) => visitor,
        Err(problem) => return problem.into_response(),
    };
    let renewed = web.cookies.renewed(&visitor, Timestamp::now());
    request.extensions_mut().insert(visitor);
    let mut response = next.run(request).await;
    if let Some(cookie) = renewed
        && !response.headers().contains_key(header::SET_COOKIE)
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

impl Web {
    pub(super) fn must_let_look(&self, visitor: &Visitor) -> Result<(), Problem> {
        match &visitor.operator {
            Some(operator) => Ok(self.access.may_ask(operator, Question::View)?),
            None if !visitor.way.is_tls() => Ok(()),
            None => Err(visitor.must_log_in("to look takes a login")),
        }
    }

    fn identify(&self, way: Way, method: &Method, headers: &HeaderMap) -> Result<Visitor, Problem> {
        if !way.is_tls() {
            self.must_be_meant_for_here(headers)?;
        }
        let visitor = self.who(way, headers)?;
        if !matches!(*method, Method::GET | Method::HEAD) && visitor.via.is_sent_unasked() {
            must_come_from_here(headers)?;
        }
        Ok(visitor)
    }

    fn who(&self, way: Way, headers: &HeaderMap) -> Result<Visitor, Problem> {
        let now = Timestamp::now();
        if let Some(token) = bearer(headers) {
            let operator = self.access.by_token(token, now).map_err(|refused| {
                let problem = Problem::new(StatusCode::UNAUTHORIZED, refused.message);
                refused.hint.into_iter().fold(problem, Problem::hint)
            })?;
            return Ok(Visitor {
                operator: Some(operator),
                refused: None,
                via: Via::Token,
                session: None,
                way,
            });
        }
        if let Some(session) = cookies::sent(headers).and_then(|text| self.cookies.read(text, now))
            && self.stands(&session, now)
        {
            return Ok(Visitor {
                operator: Some(session.operator.clone()),
                refused: None,
                via: Via::Session,
                session: Some(session),
                way,
            });
        }
        let peer = match &way {
            Way::Tls { peer } => peer.clone(),
            Way::Loopback => None,
        };
        let shown = peer.map(|peer| self.access.by_certificate(&peer));
        let (operator, refused) = match shown {
            Some(Ok(operator)) => (Some(operator), None),
            Some(Err(refused)) => (None, Some(refused)),
            None => (None, None),
        };
        Ok(Visitor {
            via: match (&way, &operator) {
                (_, Some(_)) => Via::Certificate,
                (Way::Loopback, None) => Via::Loopback,
                (Way::Tls { .. }, None) => Via::Nothing,
            },
            operator,
            refused,
            session: None,
            way,
        })
    }

    /// Whoever was removed, or whose token was revoked, has no session either.
    fn stands(&self, session: &Session, now: Timestamp) -> bool {
        self.handle.read(|state| {
            let token = session.token.as_ref();
            let has_token = token.is_none_or(|token| {
                let operator = state.operators.get(&session.operator);
                let known = operator.and_then(|operator| operator.tokens.get(token));
                known.is_some_and(|known| known.is_open(now))
            });
            has_token
                && !state.roles_of(&session.operator).is_empty()
                && !state.is_from_before(&session.operator, session.begun_at)
        })
    }

    /// A name of somebody else's that leads here would let their page read what only this
    /// machine may: a browser says which name it was sent to.
    fn must_be_meant_for_here(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else {
            return Ok(());
        };
        let name = without_port(host);
        let is_here = name.eq_ignore_ascii_case("localhost")
            || name
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        if is_here || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!("this is no site called {}", name.escape_debug()),
        )
        .hint(
            "where a proxy on this machine passes that name on, list it under `hosts` of [web] in coordinator.toml",
        ))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (kind, token) = given.split_once(' ')?;
    kind.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Browsers say from which site a request comes; those that say neither are none.
fn must_come_from_here(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_same_site = text("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
    let is_same_origin = text("origin").is_none_or(|origin| {
        let origin_host = origin.split_once("://").map(|(_, host)| host);
        origin_host.is_some() && origin_host == text("host")
    });
    if is_same_site && is_same_origin {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "another site has made the browser ask this",
    ))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect::<HeaderMap>()
    }

    #[test]
    fn what_another_site_makes_a_browser_ask_is_refused() {
        for (sent, is_ours) in [
            (
                headers(&[("host", "127.0.0.1:7480"), ("origin", "http://127.0.0.1:7480")]),
                true,
            ),
            (
                headers(&[("host", "127.0.0.1:7480"), ("origin", "https://evil.example")]),
                false,
            ),
            (headers(&[("host", "127.0.0.1:7480"), ("origin", "null")]), false),
            (headers(&[("sec-fetch-site", "cross-site")]), false),
            (headers(&[("sec-fetch-site", "same-site")]), false),
            (headers(&[("sec-fetch-site", "same-origin")]), true),
            (headers(&[]), true),
        ] {
            assert_eq!(must_come_from_here(&sent).is_ok(), is_ours, "{sent:?}");
        }
    }

    #[test]
    fn a_host_has_a_name_and_perhaps_a_port() {
        for (host, name) in [
            ("127.0.0.1:7480", "127.0.0.1"),
            ("[::1]:7480", "[::1]"),
            ("[::1]", "[::1]"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }

    #[test]
    fn a_bearer_token_is_read_as_it_is_written() {
        let read = |value: &'static str| bearer(&headers(&[("authorization", value)])).map(str::to_owned);
        assert_eq!(read("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(read("bearer  abc").as_deref(), Some("abc"));
        assert_eq!(read("Basic abc"), None);
    }
}
