//! A development fleet from its first process to its last.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fleet_proto::quantity::Span;
use fleet_proto::signing::SecretKey;
use fleet_proto::time::Timestamp;
use fleet_proto::view::ConnectionView;
use fleet_proto::wire::CreateTokenRequest;
use serde::Deserialize;
use tokio::task::JoinSet;

use super::binaries::Binaries;
use super::layout::Layout;
use super::node::{self, Node, ZONES};
use super::ports::Held;
use super::process::{self, Process};
use super::{sample, stray};
use crate::error::Error;
use crate::identity::{Identity, write_private};
use crate::operator::Operator;
use crate::release_keys::{public_path, read_secret};
use crate::render::screen::Screen;

pub const ENVIRONMENT: &str = "dev";
const OPERATOR: &str = "admin";
const INIT_DEADLINE: Duration = Duration::from_secs(30);
/// A coordinator with a long journal reads it first.
const START_DEADLINE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Enrolling makes keys and starts a process each: more at once would only queue.
const ENROL_AT_ONCE: usize = 8;

pub struct Fleet {
    pub layout: Layout,
    pub binaries: Binaries,
    pub nodes: Vec<Node>,
    /// Ports that are free until the process starts that they are for.
    held: Option<Held>,
    coordinator: Option<Process>,
    agents: Vec<Process>,
    /// Only a directory that we made is ours to remove.
    temporary: Option<tempfile::TempDir>,
}

#[derive(Deserialize)]
struct Endpoints {
    grpc: String,
    http: String,
}

impl Fleet {
    /// Finds or makes the directory; starts nothing.
    pub async fn prepare(directory: Option<&Path>, nodes: usize) -> Result<Self, Error> {
        let binaries = Binaries::find()?;
        let mut temporary = None;
        let root: PathBuf = match directory {
            Some(directory) => directory.to_owned(),
            None => {
                let made = tempfile::Builder::new()
                    .prefix("fleet-dev-")
                    .tempdir()
                    .map_err(Error::file("cannot make a temporary directory"))?;
                temporary.insert(made).path().to_owned()
            }
        };
        let failed = || Error::file(format!("cannot use {}", root.display()));
        std::fs::create_dir_all(&root).map_err(failed())?;
        let layout = Layout::new(root.canonicalize().map_err(failed())?);
        must_be_free(&layout)?;
        std::fs::create_dir_all(layout.root().join("logs")).map_err(failed())?;
        let _absent = std::fs::remove_file(layout.env());
        let mut fleet = Self {
            nodes: Vec::new(),
            layout,
            binaries,
            held: None,
            coordinator: None,
            agents: Vec::new(),
            temporary,
        };
        fleet.make(nodes).await?;
        Ok(fleet)
    }

    /// Makes what is not there yet: authority, release key, nodes.
    async fn make(&mut self, count: usize) -> Result<(), Error> {
        self.nodes = Node::existing(&self.layout)?;
        let missing: Vec<String> = node::names(count)
            .into_iter()
            .filter(|name| self.nodes.iter().all(|node| node.name != *name))
            .collect();
        let held = Held::take(missing.len() + 2)?;
        let ports = held.numbers();
        let (coordinator_ports, node_ports) = ports.split_at(2);
        self.held = Some(held);
        if !self.layout.coordinator_config().exists() {
            self.init_coordinator(coordinator_ports[0], coordinator_ports[1])
                .await?;
        }
        let key = self.release_key()?;
        let address = format!("https://{}", self.listen_address()?);
        for (name, port) in missing.iter().zip(node_ports) {
            let node = Node::create(&self.layout, name, *port, &address, &key.public())?;
            self.nodes.push(node);
        }
        Ok(())
    }

    async fn init_coordinator(&self, grpc: u16, http: u16) -> Result<(), Error> {
        let directory = self.layout.coordinator();
        let directory = directory.to_string_lossy();
        let (listen, http) = (format!("127.0.0.1:{grpc}"), format!("127.0.0.1:{http}"));
        let args = [
            "init",
            "--dir",
            directory.as_ref(),
            "--listen",
            &listen,
            "--http",
            &http,
            "--operator",
            OPERATOR,
            "--environment",
            ENVIRONMENT,
        ];
        process::run(
            &self.binaries.coordinator,
            &args,
            &self.layout.log("coordinator"),
            INIT_DEADLINE,
        )
        .await
    }

    fn release_key(&self) -> Result<SecretKey, Error> {
        let path = self.layout.release_key();
        if path.exists() {
            return read_secret(&path);
        }
        let key = SecretKey::generate()?;
        let failed = || Error::file(format!("cannot write {}", path.display()));
        std::fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(failed())?;
        write_private(&path, &key.to_file_text()).map_err(failed())?;
        write_private(&public_path(&path), &format!("{}\n", key.public())).map_err(failed())?;
        Ok(key)
    }

    fn listen_address(&self) -> Result<String, Error> {
        #[derive(Deserialize)]
        struct Config {
            listen: String,
        }
        let config: Config = fleet_proto::config::read(&self.layout.coordinator_config())?;
        Ok(config.listen)
    }

    /// Starts everything, and returns when every node is connected and the sample app
    /// is pushed.
    pub async fn bring_up(&mut self, screen: &Screen) -> Result<Ready, Error> {
        self.held = None;
        let endpoints = self.start_coordinator().await?;
        let address = format!("https://{}", endpoints.grpc);
        let identity = Identity::read(&self.layout.operator(), Timestamp::now())?;
        let (mut operator, _) = Operator::connect(&address, &identity).await?;
        screen.say(&format!(
            "coordinator at {address}, dashboard at http://{}",
            endpoints.http
        ));
        self.enrol_all(&mut operator).await?;
        for node in &self.nodes {
            self.agents.push(node.start(&self.binaries)?);
        }
        self.wait_until_connected(&mut operator).await?;
        screen.say(&format!("{} nodes are connected", self.nodes.len()));
        let releases = sample::push_all(
            &mut operator,
            &self.layout,
            &self.binaries,
            &self.layout.release_key(),
        )
        .await?;
        for pushed in &releases {
            screen.say(&crate::render::releases::pushed(pushed));
        }
        Ok(Ready {
            operator,
            address,
            http: format!("http://{}", endpoints.http),
        })
    }

    async fn start_coordinator(&mut self) -> Result<Endpoints, Error> {
        let path = self.layout.endpoints();
        let _absent = std::fs::remove_file(&path);
        let config = self.layout.coordinator_config();
        let args = [Path::new("run"), Path::new("--config"), &config];
        let log = self.layout.log("coordinator");
        let process = Process::start("coordinator", &self.binaries.coordinator, &args, &log)?;
        let process = self.coordinator.insert(process);
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if let Ok(endpoints) = serde_json::from_str(&text) {
                return Ok(endpoints);
            }
            if let Some(status) = process.ended() {
                return Err(process.failure(&format!("the coordinator ended with {status}")));
            }
            if begun.elapsed() > START_DEADLINE {
                return Err(process.failure("the coordinator does not listen"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// One token a zone, for as many nodes as it has: labels come from tokens.
    async fn enrol_all(&self, operator: &mut Operator) -> Result<(), Error> {
        let mut tasks = JoinSet::new();
        for (zone_index, zone) in ZONES.iter().enumerate() {
            let in_zone = self.nodes.iter().skip(zone_index).step_by(ZONES.len());
            let new: Vec<&Node> = in_zone.filter(|node| !node.is_enrolled()).collect();
            if new.is_empty() {
                continue;
            }
            let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            let request = CreateTokenRequest {
                labels: [label("zone", zone), label("environment", ENVIRONMENT)].into(),
                uses: u32::try_from(new.len()).unwrap_or(u32::MAX),
                valid_for: Span::from_secs(600).to_string(),
            };
            let token = operator.create_token(request).await?.token;
            for node in new {
                let (node, binaries, token) = (node.clone(), self.binaries.clone(), token.clone());
                if tasks.len() >= ENROL_AT_ONCE {
                    finish(tasks.join_next().await)?;
                }
                tasks.spawn(async move { node.enrol(&binaries, &token).await });
            }
        }
        while let Some(result) = tasks.join_next().await {
            finish(Some(result))?;
        }
        Ok(())
    }

    async fn wait_until_connected(&self, operator: &mut Operator) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            let nodes = operator.nodes("").await?.view;
            let connected = nodes
                .iter()
                .filter(|node| node.connection == ConnectionView::Connected);
            if connected.count() >= self.nodes.len() {
                return Ok(());
            }
            if let Some((agent, status)) = self
                .agents
                .iter()
                .find_map(|a| a.ended().map(|status| (a, status)))
            {
                return Err(agent.failure(&format!("the agent of {} ended with {status}", agent.name)));
            }
            if begun.elapsed() > START_DEADLINE {
                return Err(Error::refused(
                    "not every agent connected in time",
                    format!(
                        "look at the logs in {}",
                        self.layout.root().join("logs").display()
                    ),
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Returns when a process ended that was there, with what to tell. Somebody may
    /// have killed it to see what happens, so it is left at that.
    pub async fn next_end(&mut self) -> String {
        let mut waits = JoinSet::new();
        for process in self.coordinator.iter().chain(&self.agents) {
            let (name, mut ended) = (process.name.clone(), process.watch());
            waits.spawn(async move {
                let status = ended
                    .wait_for(Option::is_some)
                    .await
                    .ok()
                    .and_then(|status| *status);
                (name, status)
            });
        }
        let Some(Ok((name, status))) = waits.join_next().await else {
            return std::future::pending().await;
        };
        let how = status.map_or_else(|| "somehow".to_owned(), |status| status.to_string());
        if self.coordinator.take_if(|process| process.name == name).is_some() {
            let config = self.layout.coordinator_config();
            return format!(
                "the coordinator ended: {how}\nhint: `fleet-coordinator run --config '{}'` starts it again",
                config.display()
            );
        }
        self.agents.retain(|agent| agent.name != name);
        let again = self
            .nodes
            .iter()
            .find(|node| node.name == name)
            .map(Node::start_again);
        let again = again.unwrap_or_default();
        format!("the agent of {name} ended: {how}\nhint: `{again}` starts it again")
    }

    /// Agents first, so that they do not restart what is stopped after them; then the
    /// apps; the coordinator last. Leaves nothing behind, and says what it had to insist on.
    pub async fn tear_down(mut self, screen: &Screen) -> Result<(), Error> {
        self.held = None;
        let mut stops = JoinSet::new();
        for agent in self.agents.drain(..) {
            stops.spawn(async move { agent.stop().await });
        }
        while stops.join_next().await.is_some() {}
        let root = self.layout.root().to_owned();
        stray::stop(&root, |stray| stray.is_named("fleet-agent")).await;
        let mut stops = JoinSet::new();
        for node in self.nodes.clone() {
            let binaries = self.binaries.clone();
            stops.spawn(async move { node.stop_apps(&binaries).await });
        }
        while let Some(result) = stops.join_next().await {
            if let Err(error) = finish(Some(result)) {
                screen.say(&crate::render::error::error(&error));
            }
        }
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.stop().await;
        }
        stray::stop(&root, |stray| stray.is_named("fleet-coordinator")).await;
        for stray in stray::stop(&root, |_| true).await {
            screen.say(&format!(
                "stopped {} ({}), which outlived its agent",
                stray.program.display(),
                stray.pid
            ));
        }
        let left = stray::find(&root);
        if let Some(stray) = left.first() {
            return Err(Error::refused(
                format!("{} is still running", stray.program.display()),
                format!("kill -9 {}", stray.pid),
            ));
        }
        let _absent = std::fs::remove_file(self.layout.env());
        if let Some(temporary) = self.temporary.take() {
            temporary
                .close()
                .map_err(Error::file(format!("cannot remove {}", root.display())))?;
        }
        Ok(())
    }
}

/// What a fleet that is up offers.
pub struct Ready {
    pub operator: Operator,
    pub address: String,
    pub http: String,
}

fn finish(result: Option<Result<Result<(), Error>, tokio::task::JoinError>>) -> Result<(), Error> {
    match result {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(Error::file("a task stopped")(std::io::Error::other(error))),
        None => Ok(()),
    }
}

/// Empty, or a fleet of ours that does not run.
fn must_be_free(layout: &Layout) -> Result<(), Error> {
    let root = layout.root();
    if let Some(stray) = stray::find(root).first() {
        return Err(Error::refused(
            format!(
                "a fleet runs in {} already ({}, process {})",
                root.display(),
                stray.program.display(),
                stray.pid
            ),
            format!("use it: `. '{}'`; or another directory", layout.env().display()),
        ));
    }
    let mut entries = root
        .read_dir()
        .map_err(Error::file(format!("cannot read {}", root.display())))?;
    if entries.next().is_some() && !layout.root().join("logs").is_dir() {
        return Err(Error::refused(
            format!("{} holds something else than a development fleet", root.display()),
            "name a directory that is empty or not there yet: `fleetctl dev --dir fleet`",
        ));
    }
    Ok(())
}
