//! Fetching from a store that behaves, and from stores that do not, over mutual TLS.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use fleet_agent::config::Config;
use fleet_agent::effects::admit::History;
use fleet_agent::effects::fetch::{Node, fetch};
use fleet_agent::layout::Layout;
use fleet_agent::link::Reach;
use fleet_agent::slots::Slots;
use fleet_proto::authority::{Authority, KeyAndRequest};
use fleet_proto::digest::Digest;
use fleet_proto::identity::Who;
use fleet_proto::quantity::Span;
use fleet_proto::release::{Manifest, ReleaseRef, SignedManifest};
use fleet_proto::session::{Failure, FailureClass};
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

const PIECE: usize = 1000;

/// How the store treats a blob.
#[derive(Clone, Copy, PartialEq)]
enum Manners {
    Good,
    /// Breaks off after this many pieces, each time.
    BreaksOffAfter(usize),
    /// Sends other bytes, this many times.
    Corrupt(usize),
    /// Sends more than there is.
    Endless,
}

#[derive(Clone)]
struct Store {
    releases: Arc<BTreeMap<String, SignedManifest>>,
    blobs: Arc<BTreeMap<Digest, Vec<u8>>>,
    manners: Arc<Mutex<Manners>>,
    /// What was asked for: digest and offset, a list for each call.
    asked: Arc<Mutex<Vec<Vec<(Digest, u64)>>>>,
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
        pieces
    }
}

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

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
struct Bench {
    _directory: tempfile::TempDir,
    node: Node,
    store: Store,
    releases: BTreeMap<&'static str, ReleaseRef>,
}

type Files<'a> = &'a [(&'a str, &'a [u8])];

struct Shelf {
    key: SecretKey,
    releases: BTreeMap<String, SignedManifest>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    names: BTreeMap<&'static str, ReleaseRef>,
}

impl Shelf {
    fn new() -> Self {
        Self {
            key: SecretKey::generate().unwrap(),
            releases: BTreeMap::new(),
            blobs: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    fn put(&mut self, version: &'static str, counter: u64, files: Files<'_>, change: impl Fn(&mut Manifest)) {
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

    async fn bench(self, extra: &str) -> Bench {
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
    async fn fetch(&self, version: &str) -> Result<u64, Box<Failure>> {
        self.fetch_after(version, &History::default()).await
    }

    async fn fetch_after(&self, version: &str, history: &History) -> Result<u64, Box<Failure>> {
        let app = "shop".parse().unwrap();
        fetch(&self.node, &app, &self.releases[version], history).await
    }

    fn behave(&self, manners: Manners) {
        *self.store.manners.lock().unwrap() = manners;
    }

    fn asked(&self) -> Vec<Vec<(Digest, u64)>> {
        std::mem::take(&mut self.store.asked.lock().unwrap())
    }

    fn is_whole(&self, version: &str) -> bool {
        let slots = Slots::new(&self.node.layout, &"shop".parse().unwrap());
        slots
            .open(&self.releases[version])
            .is_ok_and(|slot| slot.is_whole())
    }

    fn nothing_is_left(&self) {
        let slots = Slots::new(&self.node.layout, &"shop".parse().unwrap());
        assert!(slots.all().is_empty());
    }
}

fn bytes(seed: u8, count: usize) -> Vec<u8> {
    (0..count)
        .map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

#[tokio::test]
async fn only_what_is_new_is_fetched_and_in_one_stream() {
    let mut shelf = Shelf::new();
    let (one, two, three) = (bytes(1, 5000), bytes(2, 300), bytes(3, 2500));
    shelf.put("v1", 1, &[("a", &one), ("b", &two), ("copy", &one)], |_| {});
    shelf.put("v2", 2, &[("a", &one), ("b", &three), ("empty", b"")], |_| {});
    let bench = shelf.bench("").await;
    assert_eq!(bench.fetch("v1").await.unwrap(), 1);
    assert!(bench.is_whole("v1"));
    assert_eq!(bench.asked().len(), 2, "the tree, then its files");
    assert_eq!(bench.fetch("v2").await.unwrap(), 2);
    assert!(bench.is_whole("v2"));
    assert_eq!(bench.asked()[1], [(Digest::of(&three), 0)]);
    // What is here already is not fetched again.
    assert_eq!(bench.fetch("v2").await.unwrap(), 2);
    assert!(bench.asked().is_empty());
}

#[tokio::test]
async fn an_interrupted_download_goes_on_where_it_stood() {
    let mut shelf = Shelf::new();
    let one = bytes(1, 7 * PIECE + 10);
    shelf.put("v1", 1, &[("a", &one)], |_| {});
    let bench = shelf.bench("").await;
    bench.behave(Manners::BreaksOffAfter(3));
    assert_eq!(bench.fetch("v1").await.unwrap(), 1);
    assert!(bench.is_whole("v1"));
    let offsets: Vec<u64> = bench.asked()[1..].iter().map(|asked| asked[0].1).collect();
    assert_eq!(offsets, [0, 3 * PIECE as u64, 6 * PIECE as u64]);
}

#[tokio::test]
async fn bytes_that_were_hurt_on_the_way_are_asked_for_again_and_not_for_ever() {
    let mut shelf = Shelf::new();
    let one = bytes(1, 3000);
    shelf.put("v1", 1, &[("a", &one)], |_| {});
    let bench = shelf.bench("").await;
    bench.behave(Manners::Corrupt(2));
    assert_eq!(bench.fetch("v1").await.unwrap(), 1);

    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", &one)], |_| {});
    let bench = shelf.bench("").await;
    bench.behave(Manners::Corrupt(usize::MAX));
    let failure = bench.fetch("v1").await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Infrastructure);
    assert!(
        failure.message.starts_with("the artifact is corrupt: 3 times"),
        "{}",
        failure.message
    );
    assert!(failure.figure.is_some() && failure.limit.is_some());
    bench.nothing_is_left();
}

#[tokio::test]
async fn a_store_that_sends_more_than_was_signed_is_cut_off() {
    let mut shelf = Shelf::new();
    let one = bytes(1, 3000);
    shelf.put("v1", 1, &[("a", &one)], |_| {});
    let bench = shelf.bench("").await;
    // The tree first, whose size only has a bound; then a file, whose size is signed.
    let tree = bench.fetch("v1").await;
    assert!(tree.is_ok());
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", &one), ("b", &bytes(9, 10))], |_| {});
    let bench = shelf.bench("").await;
    bench.behave(Manners::Endless);
    let failure = bench.fetch("v1").await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Infrastructure);
    bench.nothing_is_left();
}

#[tokio::test]
async fn what_must_not_run_here_is_refused_before_a_byte_is_fetched() {
    let one = bytes(1, 10);
    let files: Files<'_> = &[("a", &one)];
    let mut shelf = Shelf::new();
    shelf.put("old", 3, files, |_| {});
    shelf.put("other-app", 9, files, |manifest| {
        manifest.app = "bank".parse().unwrap()
    });
    shelf.put("other-version", 9, files, |manifest| {
        manifest.version = "v0".parse().unwrap()
    });
    shelf.put("other-platform", 9, files, |manifest| {
        let artifacts = &mut manifest.components[0].artifacts;
        let artifact = artifacts.pop_first().unwrap().1;
        artifacts.insert("plan9/mips".parse().unwrap(), artifact);
    });
    shelf.put("template", 9, files, |manifest| {
        let fleet_proto::release::Run::Supervise(run) = &mut manifest.components[0].run;
        run.command.push("${var.nope}".to_owned());
    });
    let bench = shelf.bench("").await;
    let history = History {
        floor: 5,
        was_good: false,
    };
    for (version, expected) in [
        (
            "old",
            "old is older than what this node ran well (counter 3, floor 5)",
        ),
        (
            "other-app",
            "the signed manifest is for bank other-app, ordered was shop other-app",
        ),
        (
            "other-version",
            "the signed manifest is for shop v0, ordered was shop other-version",
        ),
        (
            "other-platform",
            "component web of other-platform has no artifact for linux/",
        ),
        ("template", "component web: `${var.nope}` is not set on this node"),
    ] {
        let failure = bench.fetch_after(version, &history).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Release, "{version}");
        assert!(failure.message.starts_with(expected), "{}", failure.message);
    }
    assert!(bench.asked().is_empty());
    bench.nothing_is_left();
    // The node's own past is stronger than the floor.
    let history = History {
        floor: 5,
        was_good: true,
    };
    assert_eq!(bench.fetch_after("old", &history).await.unwrap(), 3);
}

#[tokio::test]
async fn a_key_that_is_not_pinned_signs_nothing_here() {
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", b"x")], |_| {});
    shelf.key = SecretKey::generate().unwrap();
    let bench = shelf.bench("").await;
    let failure = bench.fetch("v1").await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Release);
    assert!(
        failure
            .message
            .starts_with("v1 must not run here: signed by 0 of the 1 release keys"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn a_disk_that_is_too_small_is_said_with_figures() {
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", b"x")], |_| {});
    let bench = shelf.bench("limits.disk_reserve = \"4000TiB\"").await;
    let failure = bench.fetch("v1").await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Infrastructure);
    assert!(
        failure.message.starts_with("the disk is too small for v1: "),
        "{}",
        failure.message
    );
    assert!(failure.figure.is_some() && failure.limit.is_some());
    bench.nothing_is_left();
}

#[tokio::test]
async fn an_app_that_the_node_does_not_accept_is_refused() {
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", b"x")], |_| {});
    let bench = shelf.bench("apps = [\"bank\"]").await;
    let failure = bench.fetch("v1").await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Release);
    assert!(
        failure.message.contains("does not accept app shop"),
        "{}",
        failure.message
    );
}
