//! Health in one JSON shape for all probes: 200 when healthy, 503 otherwise.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use fleet_proto::time::Timestamp;
use serde::Serialize;

use super::Web;

#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    timestamp: String,
    version: &'static str,
    services: BTreeMap<&'static str, &'static str>,
    /// Seconds.
    uptime: u64,
}

type Answer = (StatusCode, Json<Health>);

fn word(is_there: bool) -> &'static str {
    if is_there { "connected" } else { "disconnected" }
}

impl Web {
    /// The driver ends when the journal fails: its end is the journal's.
    fn journal_works(&self) -> bool {
        self.handle.changes().has_changed().is_ok()
    }

    fn health(&self, is_well: bool) -> Answer {
        let code = if is_well {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let health = Health {
            status: if is_well { "healthy" } else { "unhealthy" },
            timestamp: Timestamp::now().rfc3339(),
            version: env!("CARGO_PKG_VERSION"),
            services: BTreeMap::from([
                ("journal", word(self.journal_works())),
                ("artifacts", word(self.artifacts.is_reachable())),
            ]),
            uptime: self.started.elapsed().as_secs(),
        };
        (code, Json(health))
    }
}

pub(super) async fn all(State(web): State<Web>) -> Answer {
    web.health(web.journal_works() && web.artifacts.is_reachable())
}

/// Restarting helps against a driver that ended, and against nothing else here.
pub(super) async fn live(State(web): State<Web>) -> Answer {
    web.health(web.journal_works())
}

/// Not while it stops: whoever asks should send nobody here any more.
pub(super) async fn ready(State(web): State<Web>) -> Answer {
    let is_ready = web.journal_works() && web.artifacts.is_reachable() && !web.stopping.is_cancelled();
    web.health(is_ready)
}
