//! A connection that knows who is at its other end, and that can be cut.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use fleet_proto::identity::Peer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::live::{Entry, Live};

/// Who calls, for the services: in every request's extensions.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Absent only at the newcomers' door.
    pub peer: Option<Arc<Peer>>,
    pub address: SocketAddr,
    /// Fires when the holder of the certificate is no longer welcome: the moment to say
    /// why, just before the connection is cut.
    pub ending: CancellationToken,
}

pub struct Connection {
    stream: TlsStream<TcpStream>,
    caller: Caller,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    entry: Entry,
}

impl Connection {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        address: SocketAddr,
        peer: Option<Arc<Peer>>,
        live: &Arc<Live>,
    ) -> Self {
        let entry = live.enter(peer.as_deref());
        Self {
            stream,
            caller: Caller {
                peer,
                address,
                ending: entry.ending(),
            },
            cut: Box::pin(entry.cut().cancelled_owned()),
            entry,
        }
    }

    /// Ends it at once.
    pub(super) fn cut(&self) -> CancellationToken {
        self.entry.cut()
    }

    /// Fires when it has ended.
    pub(super) fn over(&self) -> CancellationToken {
        self.entry.over()
    }

    fn must_not_be_cut(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.must_not_be_cut(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.must_not_be_cut(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.must_not_be_cut(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
