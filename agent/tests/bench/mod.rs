//! A node with its agent, and a coordinator of which only the store of releases thinks.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod shelf;
pub mod store;
pub mod visit;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::Ordering;
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
use fleet_agent::status::NodeStatus;
use fleet_proto::authority::{Authority, KeyAndRequest};
use fleet_proto::identity::Who;
use fleet_proto::quantity::{Bytes, Span};
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::Failure;
use fleet_proto::signing::SecretKey;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::Credentials as Tls;
use rustls::ClientConfig;
use tokio::sync::mpsc;

use self::shelf::Shelf;
use self::store::{Asked, Manners, Serving, Store};
use self::visit::Visit;

pub const PATIENCE: Duration = Duration::from_secs(20);

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

impl Shelf {
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

    /// What the agent says of its node.
    pub fn status(&self) -> NodeStatus {
        let mut asked = self.command();
        let said = asked.args(["status", "--output", "json"]).output().unwrap();
        serde_json::from_slice(&said.stdout).unwrap()
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

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
