//! The accept loop: TLS with the certificate of the moment, a deadline for everybody,
//! and two doors, one for members (mutual TLS) and one for newcomers with a token.
//!
//! ```text
//!  TCP ─► ClientHello ─► fleet-enrol/1? ─yes─► newcomers (no client certificate)
//!                              └─no─► certificate ─► Peer ─► nodes | operators
//! ```

mod connection;
mod live;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fleet_proto::identity::{IdentityError, Peer, Who};
use fleet_proto::tls::ALPN_ENROL;
use tokio::io::AsyncBufReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::LazyConfigAcceptor;
use tokio_util::sync::CancellationToken;

use crate::trust::Trust;

pub use connection::{Caller, Connection};
pub use live::Live;

/// From the connection to the first byte of a request: a peer that falls silent in
/// between would also block a graceful stop for ever.
const ARRIVAL_DEADLINE: Duration = Duration::from_secs(10);
/// A handshake costs half a millisecond of a core; more at once would only all be late.
/// Past this the one that has been at it for longest is dropped: those who mean well need
/// a moment, and silent ones cannot keep them out.
const ARRIVING_MAX: usize = 512;
/// Whoever has no certificate yet has one thing to ask, and then goes.
const NEWCOMER_LIFE: Duration = Duration::from_secs(30);
const NEWCOMERS_MAX: usize = 256;
/// Connections that arrived and were not yet taken by their server.
const DOOR_QUEUE_MAX: usize = 64;
/// After an accept failed, as when file descriptors are used up: do not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub type Door = mpsc::Receiver<Result<Connection, io::Error>>;

/// Where connections come out, by who is at the other end.
pub struct Doors {
    pub nodes: Door,
    pub operators: Door,
    pub newcomers: Door,
}

#[derive(Clone)]
struct Ways {
    nodes: mpsc::Sender<Result<Connection, io::Error>>,
    operators: mpsc::Sender<Result<Connection, io::Error>>,
    newcomers: mpsc::Sender<Result<Connection, io::Error>>,
}

#[derive(Debug, thiserror::Error)]
enum Arrival {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("no request came within {} s", ARRIVAL_DEADLINE.as_secs())]
    TooSlow(#[from] tokio::time::error::Elapsed),
    #[error("the certificate names nobody")]
    Identity(#[from] IdentityError),
    #[error("there is no certificate")]
    NoCertificate,
    #[error("the certificate is of the trust domain {0}")]
    Foreign(String),
}

/// Accepts until `stopping`, then closes the doors.
pub fn listen(
    listener: TcpListener,
    trust: Arc<Trust>,
    live: Arc<Live>,
    stopping: CancellationToken,
) -> Doors {
    let (nodes, nodes_door) = mpsc::channel(DOOR_QUEUE_MAX);
    let (operators, operators_door) = mpsc::channel(DOOR_QUEUE_MAX);
    let (newcomers, newcomers_door) = mpsc::channel(DOOR_QUEUE_MAX);
    let ways = Ways {
        nodes,
        operators,
        newcomers,
    };
    tokio::spawn(async move {
        stopping
            .run_until_cancelled(accept(&listener, &trust, &live, &ways))
            .await;
    });
    Doors {
        nodes: nodes_door,
        operators: operators_door,
        newcomers: newcomers_door,
    }
}

async fn accept(listener: &TcpListener, trust: &Arc<Trust>, live: &Arc<Live>, ways: &Ways) {
    let mut arriving = Arriving::default();
    let newcomers = Arc::new(Semaphore::new(NEWCOMERS_MAX));
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (trust, live, ways, newcomers) = (trust.clone(), live.clone(), ways.clone(), newcomers.clone());
        arriving.add(tokio::spawn(async move {
            let arrived = tokio::time::timeout(ARRIVAL_DEADLINE, arrive(stream, address, &trust, &live));
            match arrived.await.map_err(Arrival::from).and_then(|arrived| arrived) {
                // Through the door in a task of its own: nobody who has arrived is dropped.
                Ok((who, connection)) => {
                    tokio::spawn(let_in(who, connection, ways, newcomers));
                }
                Err(error) => {
                    let why = chain(&error);
                    tracing::info!(%address, %why, "refused a connection");
                }
            }
        }));
    }
}

/// Those in their handshake, oldest first.
#[derive(Default)]
struct Arriving {
    tasks: VecDeque<JoinHandle<()>>,
}

impl Arriving {
    fn add(&mut self, task: JoinHandle<()>) {
        self.tasks.push_back(task);
        if self.tasks.len() > ARRIVING_MAX {
            self.tasks.retain(|task| !task.is_finished());
        }
        if self.tasks.len() > ARRIVING_MAX
            && let Some(oldest) = self.tasks.pop_front()
        {
            oldest.abort();
        }
    }
}

async fn let_in(who: Option<Who>, connection: Connection, ways: Ways, newcomers: Arc<Semaphore>) {
    // A closed door means that the coordinator stops.
    match who {
        Some(Who::Node(_)) => {
            let _ = ways.nodes.send(Ok(connection)).await;
        }
        Some(_) => {
            let _ = ways.operators.send(Ok(connection)).await;
        }
        None => {
            let Ok(_place) = newcomers.try_acquire() else {
                tracing::warn!(
                    limit = NEWCOMERS_MAX,
                    "too many newcomers at once; one is turned away"
                );
                return;
            };
            let (cut, over) = (connection.cut(), connection.over());
            let _ = ways.newcomers.send(Ok(connection)).await;
            let _ = tokio::time::timeout(NEWCOMER_LIFE, over.cancelled()).await;
            cut.cancel();
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

async fn arrive(
    stream: TcpStream,
    address: SocketAddr,
    trust: &Trust,
    live: &Arc<Live>,
) -> Result<(Option<Who>, Connection), Arrival> {
    stream.set_nodelay(true)?;
    let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let is_newcomer = start
        .client_hello()
        .alpn()
        .is_some_and(|mut offered| offered.any(|protocol| protocol == ALPN_ENROL));
    let tls = trust.tls();
    let config = if is_newcomer { &tls.newcomer } else { &tls.member };
    let mut stream = start.into_stream(config.clone()).await?;
    let peer = if is_newcomer {
        None
    } else {
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let leaf = certificates.first().ok_or(Arrival::NoCertificate)?;
        let peer = Peer::of_certificate(leaf)?;
        if peer.identity.trust_domain != trust.trust_domain() {
            return Err(Arrival::Foreign(peer.identity.trust_domain));
        }
        Some(Arc::new(peer))
    };
    stream.fill_buf().await?;
    let who = peer.as_ref().map(|peer| peer.identity.who.clone());
    let connection = Connection::new(stream, address, peer, live);
    Ok((who, connection))
}
