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
use crate::figures::Figures;
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
    coordinators: Arc<ArcSwap<Vec<Coordinator>>>,
    active: Arc<AtomicUsize>,
    config: Arc<ArcSwap<ClientConfig>>,
}

#[derive(Clone)]
struct Coordinator {
    address: String,
    channel: Channel,
}

impl Coordinator {
    fn at(address: &str, config: &Arc<ArcSwap<ClientConfig>>) -> Result<Self, TlsError> {
        Ok(Self {
            address: address.to_owned(),
            channel: fleet_proto::tls::channel(address, config.clone())?,
        })
    }
}

impl Reach {
    pub fn new(addresses: &[String], config: &Arc<ArcSwap<ClientConfig>>) -> Result<Self, TlsError> {
        let coordinators = addresses.iter().map(|address| Coordinator::at(address, config));
        Ok(Self {
            coordinators: Arc::new(ArcSwap::from_pointee(coordinators.collect::<Result<_, _>>()?)),
            active: Arc::new(AtomicUsize::new(0)),
            config: config.clone(),
        })
    }

    /// Whether one of them answers now, over a connection that is made for it: one that was
    /// there before says nothing of whether the node would find its way again.
    pub async fn is_answered(&self) -> bool {
        for known in self.coordinators.load().iter() {
            let Ok(new) = Coordinator::at(&known.address, &self.config) else {
                continue;
            };
            let mut client = AgentClient::new(new.channel);
            let asking = client.reach(ReachRequest {});
            if let Ok(Ok(_)) = tokio::time::timeout(REACH_DEADLINE, asking).await {
                return true;
            }
        }
        false
    }

    /// To the coordinator with which there is a session, or will be next.
    pub fn channel(&self) -> Channel {
        self.at().channel
    }

    /// As [`Reach::channel`], over a connection that is made for it.
    pub fn new_channel(&self) -> Result<Channel, TlsError> {
        Ok(Coordinator::at(&self.address(), &self.config)?.channel)
    }

    pub fn address(&self) -> String {
        self.at().address
    }

    fn at(&self) -> Coordinator {
        let coordinators = self.coordinators.load();
        coordinators[self.active.load(Ordering::Relaxed) % coordinators.len()].clone()
    }

    /// The identity is another: a connection that is open speaks for the one before it.
    pub fn begin_anew(&self) -> Result<(), TlsError> {
        let known = self.coordinators.load();
        let new = known
            .iter()
            .map(|known| Coordinator::at(&known.address, &self.config));
        self.coordinators.store(Arc::new(new.collect::<Result<_, _>>()?));
        Ok(())
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
    /// Told when a coordinator would let this node in as a new one only.
    pub shut_out: watch::Sender<()>,
    pub state: std::path::PathBuf,
    pub figures: Figures,
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
                session::Ended::Lost(error) => {
                    if error.is_to_enrol_anew() {
                        self.shut_out.send_replace(());
                    }
                    (chain(&error), backoff.pause())
                }
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
