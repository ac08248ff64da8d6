//! A coordinator behind mutual TLS, of which only the store of releases thinks; what it
//! says in sessions the test decides. And a node that fetches from it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use fleet_agent::config::Config;
use fleet_agent::effects::admit::History;
use fleet_agent::effects::fetch::{Node, fetch};
use fleet_agent::effects::room::Disk;
use fleet_agent::identity;
use fleet_agent::layout::Layout;
use fleet_agent::link::Reach;
use fleet_agent::slots::Slots;
use fleet_proto::authority::{Authority, KeyAndRequest};
use fleet_proto::digest::Digest;
use fleet_proto::identity::Who;
use fleet_proto::quantity::{Bytes, Span};
use fleet_proto::release::{Manifest, ReleaseRef, SignedManifest};
use fleet_proto::session::{AppStatus, Failure, FromAgent, Hello, Phase, ToAgent, Welcome};
use fleet_proto::signing::SecretKey;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::Credentials as Tls;
use fleet_proto::tree::{Entry, Tree, TreePath};
use fleet_proto::wire::agent_server::{Agent, AgentServer};
use fleet_proto::wire::{
    self, BlobPiece, BlobsRequest, Credentials, ReleaseRequest, RenewRequest, SignedRelease,
};
use rustls::ClientConfig;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

pub const PIECE: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(20);

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
    releases: Arc<BTreeMap<String, SignedManifest>>,
    blobs: Arc<BTreeMap<Digest, Vec<u8>>>,
    manners: Arc<Mutex<Manners>>,
    asked: Arc<Mutex<Asked>>,
    releases_asked: Arc<AtomicUsize>,
    visits: mpsc::Sender<Visit>,
}

/// A session that an agent has opened.
pub struct Visit {
    pub hello: Hello,
    said: Streaming<wire::FromAgent>,
    to_agent: mpsc::Sender<Result<wire::ToAgent, Status>>,
}

impl Visit {
    pub async fn say(&self, message: ToAgent) {
        self.say_raw(message.into()).await;
    }

    /// Whether it makes sense or not.
    pub async fn say_raw(&self, message: wire::ToAgent) {
        self.to_agent.send(Ok(message)).await.unwrap();
    }

    pub async fn welcome(&self) {
        let welcome = Welcome {
            term: 1,
            heartbeat: Span::from_millis(200),
        };
        self.say(ToAgent::Welcome(welcome)).await;
    }

    /// What the agent says next; none when the session is over.
    pub async fn hear(&mut self) -> Option<FromAgent> {
        let said = tokio::time::timeout(PATIENCE, self.said.message()).await;
        let said = said.expect("the agent says nothing");
        Some(said.ok()??.try_into().unwrap())
    }

    pub async fn until_phase(&mut self, phase: Phase) -> AppStatus {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            if let FromAgent::Status(status) = self.hear().await.expect("the session is over")
                && status.step.as_ref().is_some_and(|step| step.phase == phase)
            {
                return *status;
            }
        }
        panic!("the agent was never {phase}");
    }
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

/// A chain of certificates, its key, and the authority's certificate.
struct Pem {
    chain: String,
    key: String,
    authority: String,
}

impl Pem {
    fn issue(authority: &Authority, who: &Who) -> Self {
        let key = KeyAndRequest::generate().unwrap();
        let issued = authority
            .issue(&key.request_der, who, Span::from_secs(3600), Timestamp::now())
            .unwrap();
        Self {
            chain: issued.chain_pem,
            key: key.key_pem,
            authority: authority.certificate_pem().to_owned(),
        }
    }

    fn tls(&self) -> Tls {
        Tls::from_pem(&self.chain, &self.key, &self.authority).unwrap()
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

/// One node and one store with releases in it.
pub struct Bench {
    directory: tempfile::TempDir,
    pub node: Node,
    pub store: Store,
    pub coordinator: Tls,
    authority: Authority,
    authority_key: String,
    pub client: Arc<ArcSwap<ClientConfig>>,
    releases: BTreeMap<&'static str, ReleaseRef>,
    visits: mpsc::Receiver<Visit>,
    serving: Serving,
    agent: Option<Child>,
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
        let sizes = (tree.files().count() as u64, tree.bytes());
        self.put_encoded(version, counter, encoded, sizes, change);
    }

    pub fn put_blob(&mut self, bytes: &[u8]) {
        self.blobs.insert(Digest::of(bytes), bytes.to_vec());
    }

    /// Whatever the bytes are: signed as the tree of the only component, with this many
    /// files and bytes in it.
    pub fn put_encoded(
        &mut self,
        version: &'static str,
        counter: u64,
        encoded: Vec<u8>,
        (files, bytes): (u64, u64),
        change: impl Fn(&mut Manifest),
    ) {
        let mut manifest: Manifest = serde_json::from_value(serde_json::json!({
            "format": 1, "app": "shop", "version": version, "counter": counter, "created_at": 0,
            "components": [{
                "name": "web",
                "artifacts": {"any": {
                    "tree": Digest::of(&encoded), "files": files, "bytes": bytes
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
        let (visit, visits) = mpsc::channel(16);
        let store = Store {
            releases: Arc::new(self.releases),
            blobs: Arc::new(self.blobs),
            manners: Arc::new(Mutex::new(Manners::Good)),
            asked: Arc::default(),
            releases_asked: Arc::default(),
            visits: visit,
        };
        let coordinator = Pem::issue(&authority, &Who::Coordinator("c1".parse().unwrap())).tls();
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let serving = Serving::begin(store.clone(), &coordinator, anywhere).await;
        let node = Pem::issue(&authority, &Who::Node("n01".parse().unwrap()));
        let client = Arc::new(ArcSwap::from_pointee(node.tls().client_config().unwrap()));
        let address = format!("https://{}", serving.address);
        let config = config(directory.path(), &address, &self.key, extra);
        let layout = Layout::new(&config.state);
        identity::write(&layout, &node.chain, &node.key, &node.authority).unwrap();
        Bench {
            node: Node {
                layout,
                reach: Reach::new(&config.coordinators, &client).unwrap(),
                disk: Disk::of(config.state.clone()),
                config: Arc::new(config),
            },
            directory,
            store,
            coordinator,
            authority,
            authority_key: key,
            client,
            releases: self.names,
            visits,
            serving,
            agent: None,
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
    /// Starts the agent itself, as people do.
    pub fn run_agent(&mut self) {
        let agent = self.command().arg("run").env("USER", "mallory").spawn().unwrap();
        self.agent = Some(agent);
    }

    /// As [`Bench::run_agent`], with its log in a file.
    pub fn run_agent_and_keep_its_log(&mut self) {
        let log = std::fs::File::create(self.log_path()).unwrap();
        let agent = self.command().arg("run").stderr(log).spawn().unwrap();
        self.agent = Some(agent);
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("agent.log")
    }

    /// A certificate of the fleet's own authority, for whomever.
    pub fn issue(&self, who: &Who) -> Tls {
        Pem::issue(&self.authority, who).tls()
    }

    /// Of the same authority, and of another trust domain.
    pub fn issue_in(&self, trust_domain: &str, who: &Who) -> Tls {
        let (certificate, key) = (self.authority.certificate_pem(), &self.authority_key);
        let foreign = Authority::load(trust_domain, certificate, key).unwrap();
        Pem::issue(&foreign, who).tls()
    }

    /// kill -9: what it runs goes on.
    pub fn kill_agent(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-agent"));
        command
            .arg("--config")
            .arg(self.directory.path().join("agent.toml"));
        command
    }

    /// The next session that an agent opens.
    pub async fn visit(&mut self) -> Visit {
        let visit = tokio::time::timeout(PATIENCE, self.visits.recv()).await;
        visit.expect("no agent came").unwrap()
    }

    pub fn release(&self, version: &str) -> ReleaseRef {
        self.releases[version].clone()
    }

    pub fn address(&self) -> SocketAddr {
        self.serving.address
    }

    pub fn releases_asked(&self) -> usize {
        self.store.releases_asked.load(Ordering::SeqCst)
    }

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

    /// Everything of this bench on the disk lies in it.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn slots(&self) -> Slots {
        Slots::new(&self.node.layout, &"shop".parse().unwrap())
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

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _stopped = self.command().arg("stop").output();
            let _gone = agent.kill();
            let _waited_for = agent.wait();
        }
    }
}
