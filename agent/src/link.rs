//! The link to the coordinator: connect, back off, hold the session.

pub mod backoff;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use fleet_proto::ids::AppName;
use fleet_proto::session::{AppStatus, HistoryEntry, Refusal, ServiceStatus, ToAgent};
use fleet_proto::tls::TlsError;
use fleet_proto::wire::ReachRequest;
use fleet_proto::wire::agent_client::AgentClient;
use rustls::ClientConfig;
use tokio::sync::{mpsc, watch};
use tonic::transport::Channel;

use crate::effects::chain;
use backoff::{Backoff, jittered};

/// A session that lasted this long was a good one; the next is tried at once.
const GOOD_SESSION: Duration = Duration::from_secs(30);

/// However long a coordinator asks an agent to stay away: a node that nobody can give
/// orders to is not to be had by one wrong figure.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// For a connection of its own, and one answer.
const REACH_DEADLINE: Duration = Duration::from_secs(5);

/// The way to the coordinators, for whoever has a question.
#[derive(Clone)]
pub struct Reach {
    coordinators: Arc<Vec<(String, Channel)>>,
    active: Arc<AtomicUsize>,
    config: Arc<ArcSwap<ClientConfig>>,
}

impl Reach {
    pub fn new(addresses: &[String], config: &Arc<ArcSwap<ClientConfig>>) -> Result<Self, TlsError> {
        let coordinators = addresses
            .iter()
            .map(|address| {
                Ok((
                    address.clone(),
                    fleet_proto::tls::channel(address, config.clone())?,
                ))
            })
            .collect::<Result<_, TlsError>>()?;
        Ok(Self {
            coordinators: Arc::new(coordinators),
            active: Arc::new(AtomicUsize::new(0)),
            config: config.clone(),
        })
    }

    /// Whether one of them answers now, over a connection that is made for it: one that was
    /// there before says nothing of whether the node would find its way again.
    pub async fn is_answered(&self) -> bool {
        for (address, _) in self.coordinators.iter() {
            let Ok(channel) = fleet_proto::tls::channel(address, self.config.clone()) else {
                continue;
            };
            let mut client = AgentClient::new(channel);
            let asking = client.reach(ReachRequest {});
            if let Ok(Ok(_)) = tokio::time::timeout(REACH_DEADLINE, asking).await {
                return true;
            }
        }
        false
    }

    /// To the coordinator with which there is a session, or will be next.
    pub fn channel(&self) -> Channel {
        self.at().1.clone()
    }

    pub fn address(&self) -> &str {
        &self.at().0
    }

    fn at(&self) -> &(String, Channel) {
        &self.coordinators[self.active.load(Ordering::Relaxed) % self.coordinators.len()]
    }

    fn try_next(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }
}

/// All that the coordinator shall know. States, and not messages: what changed while
/// nobody listened is said once, as it then is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    pub apps: std::collections::BTreeMap<AppName, Said>,
    pub history: Vec<HistoryEntry>,
    pub service: ServiceStatus,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    pub status: AppStatus,
    /// Rises where the same status shall be said again, as in answer to a duplicate.
    pub again: u64,
}

/// What the link tells the daemon.
#[derive(Debug)]
pub enum LinkEvent {
    Up { address: String },
    Down { why: String },
    Message(ToAgent),
}

/// What the link needs.
pub struct Link {
    pub reach: Reach,
    pub report: watch::Receiver<Report>,
    pub refusals: mpsc::Receiver<Refusal>,
    pub events: mpsc::Sender<LinkEvent>,
    pub state: std::path::PathBuf,
}

impl Link {
    /// Holds a session, for ever.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let ended = self.session().await;
            if began.elapsed() > GOOD_SESSION {
                backoff.reset();
            }
            let (why, pause) = match ended {
                session::Ended::GoAway { retry_after, why } => {
                    backoff.reset();
                    (why, jittered(retry_after.min(RETRY_AFTER_MAX)))
                }
                session::Ended::Lost(error) => (chain(&error), backoff.pause()),
            };
            tracing::info!(coordinator = self.reach.address(), why, again_in = ?pause, "no session");
            // Whoever sends an agent away stops, or has too much to do: another may not.
            self.reach.try_next();
            if self.events.send(LinkEvent::Down { why }).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    }
}
