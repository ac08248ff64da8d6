//! The two HTTP listeners: plain on loopback, and, where the configuration has one, TLS for
//! everybody else. Every wait has an end, and so has the number of those who wait.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use fleet_proto::identity::Peer;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::visitor::Way;

/// Browsers keep several each; listeners of the stream have one.
const CONNECTIONS_MAX: usize = 8_192;
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// For the first line and the headers.
const HEADERS_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes that nobody acknowledges for so long are sent to nobody.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// After an accept failed, as when file descriptors are used up: do not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// For answers that are being written when the coordinator stops.
const FAREWELL: Duration = Duration::from_secs(2);
const STREAMS_MAX: u32 = 64;

/// What a connection is met with; asked for each, so that a certificate may change.
pub type Tls = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

pub async fn serve(listener: TcpListener, tls: Option<Tls>, routes: Router, stopping: CancellationToken) {
    let open = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection over HTTP");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!(
                limit = CONNECTIONS_MAX,
                "too many connections over HTTP; one is turned away"
            );
            continue;
        };
        let (tls, routes, watcher) = (tls.clone(), routes.clone(), open.watcher());
        tokio::spawn(async move {
            // A connection that breaks is its client's business.
            let _ = meet(stream, tls, routes, watcher).await;
            drop(place);
        });
    }
    if tokio::time::timeout(FAREWELL, open.shutdown()).await.is_err() {
        tracing::debug!("some connections over HTTP did not end in time");
    }
}

async fn meet(stream: TcpStream, tls: Option<Tls>, routes: Router, watcher: Watcher) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let millis = u32::try_from(UNACKNOWLEDGED_MAX.as_millis()).unwrap_or(u32::MAX);
    setsockopt(&stream, sockopt::TcpUserTimeout, &millis)?;
    let Some(tls) = tls else {
        return talk(TokioIo::new(stream), Way::Loopback, routes, watcher).await;
    };
    let handshake = TlsAcceptor::from(tls()).accept(stream);
    let stream = tokio::time::timeout(HANDSHAKE_DEADLINE, handshake).await??;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let peer = match certificates.first() {
        Some(leaf) => {
            let peer = Peer::of_certificate(leaf);
            Some(Arc::new(peer.map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidData, error)
            })?))
        }
        None => None,
    };
    talk(TokioIo::new(stream), Way::Tls { peer }, routes, watcher).await
}

async fn talk<I>(io: I, way: Way, routes: Router, watcher: Watcher) -> io::Result<()>
where
    I: Read + Write + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(way.clone());
        let routes = routes.clone();
        async move {
            Ok::<_, Infallible>(
                routes
                    .oneshot(request.map(Body::new))
                    .await
                    .unwrap_or_else(|never| match never {}),
            )
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_DEADLINE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(KEEPALIVE_INTERVAL);
    let connection = builder.serve_connection(io, service).into_owned();
    watcher
        .watch(connection)
        .await
        .map_err(|error| io::Error::other(error.to_string()))
}
