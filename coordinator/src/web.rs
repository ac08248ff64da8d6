//! HTTP for dashboards and probes, on loopback: JSON views, metrics, health.

mod health;
mod metrics;
mod sent;
mod views;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::middleware::map_response_with_state;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::artifacts::Artifacts;
use crate::driver::Handle;
use crate::listener::Live;
use crate::trust::Trust;
use sent::Sent;

#[derive(Clone)]
pub struct Web {
    handle: Handle,
    artifacts: Artifacts,
    trust: Arc<Trust>,
    live: Arc<Live>,
    stopping: CancellationToken,
    started: Instant,
    sent: Sent,
}

impl Web {
    pub fn new(
        handle: Handle,
        artifacts: Artifacts,
        trust: Arc<Trust>,
        live: Arc<Live>,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            handle,
            artifacts,
            trust,
            live,
            stopping,
            started: Instant::now(),
            sent: Sent::default(),
        }
    }

    fn routes(self) -> Router {
        Router::new()
            .route("/health", get(health::all))
            .route("/health/live", get(health::live))
            .route("/health/ready", get(health::ready))
            .route("/metrics", get(metrics::show))
            .route("/api/v1/status", get(views::status))
            .route("/api/v1/nodes", get(views::nodes))
            .route("/api/v1/nodes/{node}", get(views::node))
            .route("/api/v1/rollouts", get(views::rollouts))
            .route("/api/v1/releases", get(views::releases))
            .layer(map_response_with_state(self.sent.clone(), sent::count))
            .with_state(self)
    }
}

pub async fn serve(listener: TcpListener, web: Web, stopping: CancellationToken) {
    let served = axum::serve(listener, web.routes()).with_graceful_shutdown(stopping.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the HTTP server ended");
    }
}
