//! A coordinator behind mutual TLS, of which only the store of releases thinks; what it
//! says in sessions the test decides.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fleet_proto::digest::Digest;
use fleet_proto::release::SignedManifest;
use fleet_proto::session::FromAgent;
use fleet_proto::tls::Credentials as Tls;
use fleet_proto::wire::agent_server::{Agent, AgentServer};
use fleet_proto::wire::{
    self, BlobPiece, BlobsRequest, Credentials, ReleaseRequest, RenewRequest, SignedRelease,
};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::visit::Visit;

pub const PIECE: usize = 1000;

/// How the store treats a blob.
#[derive(Clone, Copy, PartialEq)]
pub enum Manners {
    Good,
    /// Breaks off after this many pieces, each time.
    BreaksOffAfter(usize),
    /// Sends other bytes, this many times.
    Corrupt(usize),
    /// Has enough after this many pieces, and says that it will not go on.
    Closes(usize),
    /// Sends more than there is.
    Endless,
    /// Goes on behind the end of each blob, for ever.
    Overruns,
    /// Sends pieces with nothing in them, for ever.
    Drips,
    /// Sends each blob again and again.
    Repeats,
    /// Says that a blob has this many bytes.
    Claims(u64),
    /// Answers with a blob that nobody asked for.
    Offers(Digest),
}

/// Digest and offset of what was asked for, a list for each call.
pub type Asked = Vec<Vec<(Digest, u64)>>;

#[derive(Clone)]
pub struct Store {
    pub releases: Arc<BTreeMap<String, SignedManifest>>,
    pub blobs: Arc<BTreeMap<Digest, Vec<u8>>>,
    pub manners: Arc<Mutex<Manners>>,
    pub asked: Arc<Mutex<Asked>>,
    pub releases_asked: Arc<AtomicUsize>,
    pub visits: mpsc::Sender<Visit>,
}

impl Store {
    /// With the same releases, and visitors of its own.
    pub fn twin(&self) -> (Self, mpsc::Receiver<Visit>) {
        let (visits, visitors) = mpsc::channel(16);
        let twin = Self {
            visits,
            ..self.clone()
        };
        (twin, visitors)
    }

    fn pieces(&self, request: &BlobsRequest) -> Vec<Result<BlobPiece, Status>> {
        let mut manners = self.manners.lock().unwrap();
        let mut pieces = Vec::new();
        for wanted in &request.blobs {
            let digest = Digest::from_slice(&wanted.digest).unwrap();
            let Some(blob) = self.blobs.get(&digest) else {
                pieces.push(Err(Status::not_found(format!(
                    "the artifact {digest} is not here"
                ))));
                return pieces;
            };
            let mut blob = blob.clone();
            match &mut *manners {
                Manners::Corrupt(times) if *times > 0 => {
                    *times -= 1;
                    blob[0] ^= 1;
                }
                Manners::Endless => blob.extend_from_slice(&[0; 100_000]),
                _ => {}
            }
            let claimed = match &*manners {
                Manners::Claims(bytes) => *bytes,
                _ => blob.len() as u64,
            };
            let name = match &*manners {
                Manners::Offers(other) => other.as_bytes().to_vec(),
                _ => wanted.digest.clone(),
            };
            let mut offset = usize::try_from(wanted.offset).unwrap();
            while offset < blob.len() {
                let end = (offset + PIECE).min(blob.len());
                pieces.push(Ok(BlobPiece {
                    digest: name.clone(),
                    offset: offset as u64,
                    data: blob[offset..end].to_vec(),
                    bytes: claimed,
                }));
                offset = end;
            }
        }
        if let Manners::BreaksOffAfter(count) = *manners
            && pieces.len() > count
        {
            pieces.truncate(count);
            pieces.push(Err(Status::unavailable("the line is cut")));
        }
        if let Manners::Closes(count) = *manners
            && pieces.len() > count
        {
            pieces.truncate(count);
            pieces.push(Err(Status::permission_denied("no more for you")));
        }
        pieces
    }

    /// What comes behind the pieces, for ever; nothing of a store that behaves.
    fn afterwards(&self, pieces: &[Result<BlobPiece, Status>]) -> Vec<BlobPiece> {
        let pieces = || pieces.iter().flatten().cloned();
        let last = pieces().next_back();
        match (*self.manners.lock().unwrap(), last) {
            (Manners::Repeats, _) => pieces().collect(),
            (Manners::Overruns, Some(last)) => {
                let offset = last.bytes;
                vec![BlobPiece { offset, ..last }]
            }
            (Manners::Drips, Some(last)) => {
                let data = Vec::new();
                vec![BlobPiece {
                    data,
                    offset: 0,
                    ..last
                }]
            }
            _ => Vec::new(),
        }
    }
}

pub type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Agent for Store {
    type AnswerStream = Out<wire::AnswerTaken>;
    type SessionStream = Out<wire::ToAgent>;
    type FetchBlobsStream = Out<BlobPiece>;

    async fn session(
        &self,
        request: Request<Streaming<wire::FromAgent>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut said = request.into_inner();
        let first = said.message().await?.unwrap();
        let FromAgent::Hello(hello) = first.try_into().unwrap() else {
            panic!("the agent did not greet first");
        };
        let (to_agent, messages) = mpsc::channel(100);
        let visit = Visit {
            hello,
            said,
            to_agent,
        };
        let _nobody_waits = self.visits.send(visit).await;
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    async fn answer(
        &self,
        _: Request<Streaming<wire::AnswerPiece>>,
    ) -> Result<Response<Self::AnswerStream>, Status> {
        Err(Status::cancelled("nothing was asked here"))
    }

    async fn renew(&self, _: Request<RenewRequest>) -> Result<Response<Credentials>, Status> {
        Err(Status::unimplemented("no certificates here"))
    }

    async fn keep_backup(
        &self,
        _: Request<Streaming<wire::BackupPiece>>,
    ) -> Result<Response<wire::BackupKept>, Status> {
        Err(Status::unimplemented("no backups here"))
    }

    async fn reach(&self, _: Request<wire::ReachRequest>) -> Result<Response<wire::ReachReply>, Status> {
        Ok(Response::new(wire::ReachReply {}))
    }

    async fn fetch_release(
        &self,
        request: Request<ReleaseRequest>,
    ) -> Result<Response<SignedRelease>, Status> {
        self.releases_asked.fetch_add(1, Ordering::SeqCst);
        match self.releases.get(&request.into_inner().digest) {
            Some(signed) => Ok(Response::new(signed.into())),
            None => Err(Status::not_found("no such release")),
        }
    }

    async fn fetch_blobs(
        &self,
        request: Request<BlobsRequest>,
    ) -> Result<Response<Self::FetchBlobsStream>, Status> {
        let request = request.into_inner();
        let asked = request
            .blobs
            .iter()
            .map(|w| (Digest::from_slice(&w.digest).unwrap(), w.offset));
        self.asked.lock().unwrap().push(asked.collect());
        let mut pieces = self.pieces(&request);
        let afterwards = self.afterwards(&pieces);
        if *self.manners.lock().unwrap() == Manners::Drips {
            pieces.clear();
        }
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for piece in pieces {
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
            for piece in afterwards.iter().cycle() {
                if sender.send(Ok(piece.clone())).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// A coordinator at its port, until it is dropped. It has threads of its own, so that
/// its connections end with it as those of a process do.
pub struct Serving {
    pub address: SocketAddr,
    threads: Option<Runtime>,
}

impl Serving {
    pub async fn begin(store: Store, tls: &Tls, address: SocketAddr) -> Self {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls.server_config().unwrap()));
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (ready, listens) = tokio::sync::oneshot::channel();
        threads.spawn(async move {
            let listener = TcpListener::bind(address).await.unwrap();
            ready.send(listener.local_addr().unwrap()).unwrap();
            let (sender, receiver) = mpsc::channel(4);
            let agents = AgentServer::new(store).max_decoding_message_size(wire::MESSAGE_BYTES_MAX);
            let server = tonic::transport::Server::builder().add_service(agents);
            tokio::spawn(server.serve_with_incoming(ReceiverStream::new(receiver)));
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _over = sender.send(Ok::<_, std::io::Error>(stream)).await;
                }
            }
        });
        Self {
            address: listens.await.unwrap(),
            threads: Some(threads),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}
