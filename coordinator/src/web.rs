//! HTTP for people's eyes and their machines: JSON views, live events, acts, the dashboard,
//! metrics and health.
//!
//! ```text
//!  listener ─► way in (loopback | TLS) ─► who asks ─► may they look? ─► view, made once
//!                                                 └─► who acts ─► driver, as over gRPC
//! ```

mod acts;
mod answers;
mod asked;
pub mod cookies;
mod dashboard;
mod feed;
mod health;
mod metrics;
mod openapi;
mod problem;
mod sent;
mod server;
mod session;
mod stream;
pub mod tls;
mod trends;
mod views;
pub mod visitor;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next, map_response_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::artifacts::Artifacts;
use crate::driver::Handle;
use crate::listener::Live;
use crate::trust::Trust;
use sent::Sent;

use answers::Answers;
use cookies::Cookies;
use feed::Feed;
use problem::Problem;
use trends::Trends;

pub use server::Tls;

/// Of the stream of events: each is a connection and a place in the journal.
const LISTENERS_MAX: usize = 4_096;
/// A reason, and what goes with it.
const BODY_BYTES_MAX: usize = 16 << 10;

#[derive(Clone)]
pub struct Web {
    handle: Handle,
    access: Access,
    cookies: Arc<Cookies>,
    answers: Arc<Answers>,
    feed: Feed,
    listeners: Arc<Semaphore>,
    trends: Arc<Trends>,
    /// Names under which a proxy on this machine passes requests on.
    hosts: Arc<[String]>,
    artifacts: Artifacts,
    trust: Arc<Trust>,
    live: Arc<Live>,
    stopping: CancellationToken,
    started: Instant,
    sent: Sent,
}

/// What HTTP shows, and by what it lets act.
pub struct Parts {
    pub handle: Handle,
    pub access: Access,
    pub cookies: Cookies,
    pub hosts: Vec<String>,
    pub artifacts: Artifacts,
    pub trust: Arc<Trust>,
    pub live: Arc<Live>,
    pub stopping: CancellationToken,
}

impl Web {
    pub fn new(parts: Parts) -> Self {
        Self {
            feed: Feed::start(parts.handle.clone(), parts.stopping.clone()),
            trends: Trends::start(parts.handle.clone(), parts.stopping.clone()),
            handle: parts.handle,
            access: parts.access,
            cookies: Arc::new(parts.cookies),
            answers: Arc::default(),
            listeners: Arc::new(Semaphore::new(LISTENERS_MAX)),
            hosts: parts.hosts.into(),
            artifacts: parts.artifacts,
            trust: parts.trust,
            live: parts.live,
            stopping: parts.stopping,
            started: Instant::now(),
            sent: Sent::default(),
        }
    }

    fn routes(self) -> Router {
        self.views()
            .merge(self.open())
            .fallback(not_found)
            .method_not_allowed_fallback(not_that_way)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(middleware::from_fn_with_state(self.clone(), visitor::identify))
            .layer(middleware::from_fn(guarded))
            .layer(map_response_with_state(self.sent.clone(), sent::count))
            .with_state(self)
    }

    /// For whoever may look.
    fn views(&self) -> Router<Self> {
        Router::new()
            .route("/metrics", get(metrics::show))
            .route("/api/v1/status", get(views::status))
            .route("/api/v1/environments", get(views::environments))
            .route("/api/v1/environments/{environment}", get(views::environment))
            .route("/api/v1/fleet", get(views::fleet))
            .route("/api/v1/nodes", get(views::nodes))
            .route("/api/v1/nodes/{node}", get(views::node))
            .route("/api/v1/rollouts", get(views::rollouts))
            .route("/api/v1/rollouts/{number}", get(views::rollout))
            .route("/api/v1/rollouts/{number}/steps", get(views::steps))
            .route("/api/v1/rollouts/{number}/acts", get(views::acts))
            .route("/api/v1/rollouts/{number}/health", get(trends::show))
            .route("/api/v1/rollouts/{number}/{act}", post(acts::act))
            .route("/api/v1/releases", get(views::releases))
            .route("/api/v1/events", get(views::events))
            .route("/api/v1/stream", get(stream::stream))
            .route_layer(middleware::from_fn_with_state(self.clone(), visitor::may_look))
    }

    /// For everybody: what says nothing of the fleet, and the way in.
    fn open(&self) -> Router<Self> {
        let mut routes = Router::new()
            .route("/health", get(health::all))
            .route("/health/live", get(health::live))
            .route("/health/ready", get(health::ready))
            .route("/api/v1/openapi.json", get(openapi::show))
            .route(
                "/api/v1/session",
                get(session::show).post(session::begin).delete(session::end),
            )
            .route("/assets/{*path}", get(dashboard::asset));
        for path in dashboard::PAGES {
            routes = routes.route(path, get(dashboard::page));
        }
        routes
    }
}

async fn guarded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    dashboard::guard(response.headers_mut());
    response
}

async fn not_found(request: Request) -> Response {
    Problem::not_found(format!("there is nothing at {}", request.uri().path())).into_response()
}

async fn not_that_way(method: Method) -> Response {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("nobody can {method} this"),
    )
    .into_response()
}

pub async fn serve(listener: TcpListener, tls: Option<Tls>, web: Web, stopping: CancellationToken) {
    server::serve(listener, tls, web.routes(), stopping).await;
}
