//! A store of releases behind mutual TLS, and a node that fetches from it.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use fleet_agent::config::Config;
use fleet_agent::effects::admit::History;
use fleet_agent::effects::fetch::{Node, fetch};
use fleet_agent::effects::room::Disk;
use fleet_agent::layout::Layout;
use fleet_agent::link::Reach;
use fleet_agent::slots::Slots;
use fleet_proto::authority::{Authority, KeyAndRequest};
use fleet_proto::digest::Digest;
use fleet_proto::identity::Who;
use fleet_proto::quantity::{Bytes, Span};
use fleet_proto::release::{Manifest, ReleaseRef, SignedManifest};
use fleet_proto::session::Failure;
use fleet_proto::signing::SecretKey;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::Credentials as Tls;
use fleet_proto::tree::{Entry, Tree, TreePath};
use fleet_proto::wire::agent_server::{Agent, AgentServer};
use fleet_proto::wire::{
    BlobPiece, BlobsRequest, Credentials, FromAgent, ReleaseRequest, RenewRequest, SignedRelease, ToAgent,
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

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
}

/// Digest and offset of what was asked for, a list for each call.
pub type Asked = Vec<Vec<(Digest, u64)>>;

#[derive(Clone)]
pub struct Store {
    releases: Arc<BTreeMap<String, SignedManifest>>,
    blobs: Arc<BTreeMap<Digest, Vec<u8>>>,
    manners: Arc<Mutex<Manners>>,
    asked: Arc<Mutex<Asked>>,
}

impl Store {
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
            let mut offset = usize::try_from(wanted.offset).unwrap();
            while offset < blob.len() {
                let end = (offset + PIECE).min(blob.len());
                pieces.push(Ok(BlobPiece {
                    digest: wanted.digest.clone(),
                    offset: offset as u64,
                    data: blob[offset..end].to_vec(),
                    bytes: blob.len() as u64,
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
}

pub type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Agent for Store {
    type SessionStream = Out<ToAgent>;
    type FetchBlobsStream = Out<BlobPiece>;

    async fn session(
        &self,
        _: Request<Streaming<FromAgent>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        Err(Status::unimplemented("no sessions here"))
    }

    async fn renew(&self, _: Request<RenewRequest>) -> Result<Response<Credentials>, Status> {
        Err(Status::unimplemented("no certificates here"))
    }

    async fn fetch_release(
        &self,
        request: Request<ReleaseRequest>,
    ) -> Result<Response<SignedRelease>, Status> {
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
        let pieces = self.pieces(&request);
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for piece in pieces {
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

fn credentials(authority: &Authority, who: &Who) -> Tls {
    let key = KeyAndRequest::generate().unwrap();
    let issued = authority
        .issue(&key.request_der, who, Span::from_secs(3600), Timestamp::now())
        .unwrap();
    Tls::from_pem(&issued.chain_pem, &key.key_pem, authority.certificate_pem()).unwrap()
}

async fn serve(store: Store, tls: Tls) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls.server_config().unwrap()));
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _over = sender.send(Ok::<_, std::io::Error>(stream)).await;
            }
        }
    });
    let server = tonic::transport::Server::builder().add_service(AgentServer::new(store));
    tokio::spawn(server.serve_with_incoming(ReceiverStream::new(receiver)));
    address
}

/// One node and one store with releases in it.
pub struct Bench {
    _directory: tempfile::TempDir,
    node: Node,
    store: Store,
    releases: BTreeMap<&'static str, ReleaseRef>,
}

pub type Files<'a> = &'a [(&'a str, &'a [u8])];

pub struct Shelf {
    pub key: SecretKey,
    releases: BTreeMap<String, SignedManifest>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    names: BTreeMap<&'static str, ReleaseRef>,
}

impl Shelf {
    pub fn new() -> Self {
        Self {
            key: SecretKey::generate().unwrap(),
            releases: BTreeMap::new(),
            blobs: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    pub fn put(
        &mut self,
        version: &'static str,
        counter: u64,
        files: Files<'_>,
        change: impl Fn(&mut Manifest),
    ) {
        let mut entries: BTreeMap<TreePath, Entry> = BTreeMap::new();
        for (path, bytes) in files {
            let digest = Digest::of(bytes);
            self.blobs.insert(digest, bytes.to_vec());
            let entry = Entry::File {
                digest,
                bytes: bytes.len() as u64,
                executable: false,
            };
            entries.insert((*path).to_owned().try_into().unwrap(), entry);
        }
        let tree = Tree::new(entries).unwrap();
        let encoded = tree.encode().unwrap();
        let mut manifest: Manifest = serde_json::from_value(serde_json::json!({
            "format": 1, "app": "shop", "version": version, "counter": counter, "created_at": 0,
            "components": [{
                "name": "web",
                "artifacts": {"any": {
                    "tree": Digest::of(&encoded), "files": tree.files().count(), "bytes": tree.bytes()
                }},
                "run": {"kind": "supervise", "command": ["./web"]},
            }],
        }))
        .unwrap();
        change(&mut manifest);
        let signed = manifest.sign(std::slice::from_ref(&self.key)).unwrap();
        let release = ReleaseRef {
            version: version.parse().unwrap(),
            digest: signed.digest(),
        };
        self.blobs.insert(Digest::of(&encoded), encoded);
        self.releases.insert(release.digest.to_string(), signed);
        self.names.insert(version, release);
    }

    pub async fn bench(self, extra: &str) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let (certificate, key) = Authority::create("fleet.test", now).unwrap();
        let authority = Authority::load("fleet.test", &certificate, &key).unwrap();
        let store = Store {
            releases: Arc::new(self.releases),
            blobs: Arc::new(self.blobs),
            manners: Arc::new(Mutex::new(Manners::Good)),
            asked: Arc::default(),
        };
        let coordinator = credentials(&authority, &Who::Coordinator("c1".parse().unwrap()));
        let address = serve(store.clone(), coordinator).await;
        let node = credentials(&authority, &Who::Node("n01".parse().unwrap()));
        let client = Arc::new(ArcSwap::from_pointee(node.client_config().unwrap()));
        let config = config(directory.path(), &address, &self.key, extra);
        Bench {
            node: Node {
                layout: Layout::new(&config.state),
                reach: Reach::new(&config.coordinators, &client).unwrap(),
                disk: Disk::of(config.state.clone()),
                config: Arc::new(config),
            },
            _directory: directory,
            store,
            releases: self.names,
        }
    }
}

fn config(directory: &Path, address: &str, key: &SecretKey, extra: &str) -> Config {
    let path = directory.join("agent.toml");
    let state = directory.join("state");
    std::fs::create_dir_all(&state).unwrap();
    let text = format!(
        "node = \"n01\"\ncoordinators = [\"{address}\"]\nstate = \"{}\"\n{extra}\n[trust]\nrelease_keys = [\"{}\"]\n",
        state.display(),
        key.public()
    );
    std::fs::write(&path, text).unwrap();
    Config::read(&path).unwrap()
}

impl Bench {
    pub async fn fetch(&self, version: &str) -> Result<u64, Box<Failure>> {
        self.fetch_after(version, &History::default()).await
    }

    pub async fn fetch_after(&self, version: &str, history: &History) -> Result<u64, Box<Failure>> {
        let app = "shop".parse().unwrap();
        fetch(&self.node, &app, &self.releases[version], history).await
    }

    pub fn behave(&self, manners: Manners) {
        *self.store.manners.lock().unwrap() = manners;
    }

    /// A disk of which so much is free when the state takes so much of it.
    pub fn free_while_used(&mut self, free: impl Fn(u64) -> u64 + Send + Sync + 'static) {
        let state = self.node.config.state.clone();
        self.node.disk = Disk::with(move || Bytes(free(bytes_in(&state))));
    }

    pub fn used(&self) -> u64 {
        bytes_in(&self.node.config.state)
    }

    pub fn asked(&self) -> Asked {
        std::mem::take(&mut self.store.asked.lock().unwrap())
    }

    pub fn is_whole(&self, version: &str) -> bool {
        let slots = Slots::new(&self.node.layout, &"shop".parse().unwrap());
        slots
            .open(&self.releases[version])
            .is_ok_and(|slot| slot.is_whole())
    }

    pub fn nothing_is_left(&self) {
        let slots = Slots::new(&self.node.layout, &"shop".parse().unwrap());
        assert!(slots.all().is_empty());
    }
}

fn bytes_in(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => bytes_in(&entry.path()),
        Ok(about) => about.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}
