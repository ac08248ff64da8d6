//! Health for probes and figures for Prometheus, over HTTP on loopback. Health is in the shape
//! that the coordinator's has: 200 when healthy, 503 otherwise.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleet_proto::exposition::Form;
use fleet_proto::ids::AppName;
use fleet_proto::time::Timestamp;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use crate::figures::Figures;
use crate::layout::Layout;
use crate::metrics;
use crate::probe::{Miss, http};

/// Probes come one at a time; more are somebody's mistake, and wait.
const CONNECTIONS_MAX: usize = 16;
const CONNECTION_MAX: Duration = Duration::from_secs(5);
/// Three times what the loop takes at most between two turns when nothing happens.
const STUCK_AFTER: Duration = Duration::from_secs(30);
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);
const JSON: &str = "application/json";
const METRICS: &str = "/metrics";
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How the agent and its apps are, as the daemon says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub stage: Stage,
    pub turned_at: Instant,
    pub is_connected: bool,
    /// Each app, and whether the release that it runs has been verified and is well.
    pub apps: BTreeMap<AppName, bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Enrolling,
    Running,
    Stopping,
}

impl Condition {
    pub fn at_start() -> Self {
        Self {
            stage: Stage::Enrolling,
            turned_at: Instant::now(),
            is_connected: false,
            apps: BTreeMap::new(),
        }
    }

    /// The loop turns. To be killed for waiting for a coordinator, or for apps that are slow to
    /// stop, would help nobody.
    pub fn is_live(&self) -> bool {
        self.stage != Stage::Running || self.turned_at.elapsed() < STUCK_AFTER
    }

    /// Something runs here, and all that runs is proven. Whether a coordinator is there does
    /// not matter to who uses the app.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Running
            && self.is_live()
            && !self.apps.is_empty()
            && self.apps.values().all(|is_ready| *is_ready)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    All,
    Live,
    Ready,
}

impl Asked {
    pub fn path(self) -> &'static str {
        match self {
            Self::All => "/health",
            Self::Live => "/health/live",
            Self::Ready => "/health/ready",
        }
    }

    fn of(path: &str) -> Option<Self> {
        [Self::All, Self::Live, Self::Ready]
            .into_iter()
            .find(|asked| asked.path() == path)
    }
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    timestamp: String,
    version: &'static str,
    services: BTreeMap<String, &'static str>,
    /// Seconds.
    uptime: u64,
}

fn health(condition: &Condition, asked: Asked, started: Instant) -> (StatusCode, String) {
    let is_well = match asked {
        Asked::Live => condition.is_live(),
        Asked::Ready | Asked::All => condition.is_ready(),
    };
    let word = |is_there: bool| if is_there { "connected" } else { "disconnected" };
    let mut services: BTreeMap<String, &str> = condition
        .apps
        .iter()
        .map(|(app, is_ready)| (format!("app/{app}"), word(*is_ready)))
        .collect();
    services.insert("coordinator".to_owned(), word(condition.is_connected));
    let health = Health {
        status: if is_well { "healthy" } else { "unhealthy" },
        timestamp: Timestamp::now().rfc3339(),
        version: env!("CARGO_PKG_VERSION"),
        services,
        uptime: started.elapsed().as_secs(),
    };
    let code = if is_well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, serde_json::to_string(&health).unwrap_or_default())
}

/// What figures are made of.
#[derive(Debug, Clone)]
pub struct Shown {
    pub figures: Figures,
    pub layout: Layout,
}

pub async fn serve(listener: TcpListener, condition: watch::Receiver<Condition>, shown: Shown) {
    let started = Instant::now();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (condition, shown) = (condition.clone(), shown.clone());
                tokio::spawn(async move {
                    let answered = answer(stream, &condition, &shown, started);
                    let _late = tokio::time::timeout(CONNECTION_MAX, answered).await;
                    drop(place);
                });
            }
            // No descriptors left, say.
            Err(error) => {
                tracing::warn!(%error, "cannot take a probe's connection");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, condition: &watch::Receiver<Condition>, shown: &Shown, started: Instant) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let (code, content_type, body) = match (Asked::of(request.uri().path()), request.uri().path()) {
            (Some(asked), _) => {
                let (code, body) = health(&condition.borrow(), asked, started);
                (code, JSON, body)
            }
            (None, METRICS) => {
                let accept = request.headers().get(header::ACCEPT);
                let form = Form::accepted(accept.and_then(|accept| accept.to_str().ok()));
                let is_connected = condition.borrow().is_connected;
                let text = metrics::text(form, &shown.figures, &shown.layout, is_connected);
                (StatusCode::OK, form.content_type(), text)
            }
            (None, _) => (StatusCode::NOT_FOUND, JSON, "{}".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = code;
        let content_type = HeaderValue::from_static(content_type);
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let _gone = connection.await;
}

/// For `fleet-agent health`: whether it is so, and the document that says it.
pub async fn ask(address: SocketAddr, asked: Asked) -> Result<(bool, String), Miss> {
    let url = format!("http://{address}{}", asked.path());
    let answered = tokio::time::timeout(ANSWER_DEADLINE, http::fetch(&url)).await;
    let (code, body) = answered.unwrap_or_else(|_| Err(Miss::new("gave no answer within 3s")))?;
    Ok((code == 200, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_is_what_is_proven_and_live_is_what_turns() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (condition, receiver) = watch::channel(Condition::at_start());
        let directory = tempfile::tempdir().unwrap();
        let shown = Shown {
            figures: Figures::default(),
            layout: Layout::new(directory.path()),
        };
        tokio::spawn(serve(listener, receiver, shown));
        let is = async |asked| ask(address, asked).await.unwrap().0;
        assert!(is(Asked::Live).await && !is(Asked::Ready).await);

        condition.send_modify(|now| now.stage = Stage::Running);
        assert!(!is(Asked::Ready).await, "nothing runs yet");
        let set = |app: &str, is_ready| {
            condition.send_modify(|now| {
                now.apps.insert(app.parse().unwrap(), is_ready);
            });
        };
        set("shop", true);
        assert!(is(Asked::Ready).await && is(Asked::All).await);
        set("till", false);
        assert!(!is(Asked::Ready).await && is(Asked::Live).await);
        let (_, document) = ask(address, Asked::Ready).await.unwrap();
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["status"], "unhealthy");
        assert_eq!(document["services"]["app/till"], "disconnected");
        assert_eq!(document["services"]["coordinator"], "disconnected");

        set("till", true);
        let long_ago = Instant::now().checked_sub(STUCK_AFTER).unwrap();
        condition.send_modify(|now| now.turned_at = long_ago);
        assert!(!is(Asked::Live).await && !is(Asked::Ready).await);
        condition.send_modify(|now| now.stage = Stage::Stopping);
        assert!(is(Asked::Live).await && !is(Asked::Ready).await);
    }
}
