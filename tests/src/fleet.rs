//! A fleet of real processes: made by the same commands that people type.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::Context;
use fleet_proto::view::{ConnectionView, NodeView, RolloutView, StatusView};
use serde_json::Value;
use tempfile::TempDir;

use crate::port::Port;
use crate::process::{Process, program};
use crate::sample::{Behaviour, lay_out};
use crate::wait::wait_for;

/// Generous, because many tests share two cores.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const APP: &str = "shop";

pub struct Fleet {
    directory: TempDir,
    address: String,
    key: PathBuf,
    pinned: String,
    coordinator: Option<Process>,
    _port: Port,
    nodes: BTreeMap<String, Node>,
}

pub struct Node {
    pub config: PathBuf,
    pub state: PathBuf,
    pub port: Port,
    agent: Option<Process>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Fleet {
    /// A coordinator and so many nodes, spread over three zones, all connected.
    pub fn start(nodes: usize) -> anyhow::Result<Self> {
        let mut fleet = Self::with_coordinator()?;
        for i in 0..nodes {
            fleet.add_node(&format!("n{:02}", i + 1), ["a", "b", "c"][i % 3])?;
        }
        fleet.wait_until_connected()?;
        Ok(fleet)
    }

    pub fn with_coordinator() -> anyhow::Result<Self> {
        Self::with_coordinator_at(Ipv4Addr::LOCALHOST)
    }

    /// A coordinator that listens where others than this machine's processes reach it.
    pub fn with_coordinator_at(address: Ipv4Addr) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("fleet-test-").tempdir()?;
        let root = directory.path().to_owned();
        std::fs::create_dir_all(root.join("logs"))?;
        let coordinator = root.join("coordinator");
        let port = Port::reserve()?;
        let listen = format!("{address}:{port}");
        let made = Command::new(program("fleet-coordinator")?)
            .args(["init", "--dir"])
            .arg(&coordinator)
            .args([
                "--listen",
                &listen,
                "--http",
                "127.0.0.1:0",
                "--environment",
                "dev",
            ])
            .output()?;
        anyhow::ensure!(
            made.status.success(),
            "init: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut fleet = Self {
            address: format!("https://{listen}"),
            key: root.join("release.key"),
            pinned: String::new(),
            directory,
            coordinator: None,
            _port: port,
            nodes: BTreeMap::new(),
        };
        fleet.start_coordinator()?;
        let key = fleet_proto::signing::SecretKey::generate()?;
        std::fs::write(&fleet.key, key.to_file_text())?;
        fleet.pinned = key.public().to_string();
        Ok(fleet)
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn coordinator_directory(&self) -> PathBuf {
        self.root().join("coordinator")
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn key(&self) -> &Path {
        &self.key
    }

    pub fn start_coordinator(&mut self) -> anyhow::Result<()> {
        let config = self.coordinator_directory().join("coordinator.toml");
        let endpoints = self.coordinator_directory().join("state/endpoints.json");
        let _ = std::fs::remove_file(&endpoints);
        let process = Process::start(
            &program("fleet-coordinator")?,
            &["run", "--config", &config.display().to_string()],
            &self.root().join("logs/coordinator.log"),
        )?;
        self.coordinator = Some(process);
        wait_for("the coordinator to listen", PATIENCE, || {
            std::fs::read_to_string(&endpoints)
                .ok()
                .filter(|text| text.contains("grpc"))
        })
        .with_context(|| self.log("coordinator"))?;
        Ok(())
    }

    pub fn kill_coordinator(&mut self) -> anyhow::Result<()> {
        self.coordinator.take().context("no coordinator runs")?.kill()
    }

    pub fn coordinator(&mut self) -> Option<&mut Process> {
        self.coordinator.as_mut()
    }

    /// `{"grpc": …, "http": …}`
    pub fn endpoints(&self) -> anyhow::Result<Value> {
        let path = self.coordinator_directory().join("state/endpoints.json");
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    /// Enrols a node with a token of its own, and starts its agent.
    pub fn add_node(&mut self, name: &str, zone: &str) -> anyhow::Result<()> {
        let token = self.token(&["--label", &format!("zone={zone}"), "--uses", "1"])?;
        self.prepare_node(name, &self.root().join("nodes").join(name))?;
        let enrolled = self.enrol(name, &token)?;
        anyhow::ensure!(enrolled.code == 0, "enrol {name}: {}", enrolled.stderr);
        self.start_agent(name)
    }

    /// A node's configuration, and its state in the given directory.
    pub fn prepare_node(&mut self, name: &str, home: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(home)?;
        let state = home.join("state");
        let config = home.join("agent.toml");
        let port = Port::reserve()?;
        let text = self.agent_config(name, &state, port.number());
        std::fs::write(&config, text)?;
        let node = Node {
            config,
            state,
            port,
            agent: None,
        };
        self.nodes.insert(name.to_owned(), node);
        Ok(())
    }

    /// `agent.toml` for a node of this fleet.
    pub fn agent_config(&self, name: &str, state: &Path, port: u16) -> String {
        format!(
            "node = \"{name}\"\ncoordinators = [\"{}\"]\nstate = \"{}\"\n\n[trust]\nrelease_keys = [\"{}\"]\n\n\
             [vars]\nport = \"{port}\"\n\n[limits]\ndisk_reserve = \"1MiB\"\n",
            self.address,
            state.display(),
            self.pinned,
        )
    }

    pub fn token(&self, flags: &[&str]) -> anyhow::Result<String> {
        let made = self.ctl(&[&["token", "create", "--output", "json"], flags].concat())?;
        let json: Value = serde_json::from_str(&made.stdout).with_context(|| made.stderr.clone())?;
        Ok(json["token"]
            .as_str()
            .context("no token in the answer")?
            .to_owned())
    }

    pub fn nodes(&self) -> &BTreeMap<String, Node> {
        &self.nodes
    }

    pub fn node(&self, name: &str) -> anyhow::Result<&Node> {
        self.nodes.get(name).with_context(|| format!("no node {name}"))
    }

    pub fn start_agent(&mut self, name: &str) -> anyhow::Result<()> {
        let log = self.root().join(format!("logs/{name}.log"));
        let node = self
            .nodes
            .get_mut(name)
            .with_context(|| format!("no node {name}"))?;
        let config = node.config.display().to_string();
        node.agent = Some(Process::start(
            &program("fleet-agent")?,
            &["run", "--config", &config],
            &log,
        )?);
        Ok(())
    }

    pub fn agent_process(&mut self, name: &str) -> Option<&mut Process> {
        self.nodes.get_mut(name)?.agent.as_mut()
    }

    pub fn kill_agent(&mut self, name: &str) -> anyhow::Result<()> {
        let node = self
            .nodes
            .get_mut(name)
            .with_context(|| format!("no node {name}"))?;
        node.agent
            .take()
            .with_context(|| format!("{name} has no agent"))?
            .kill()
    }

    pub fn stop_agent(&mut self, name: &str) -> anyhow::Result<()> {
        let node = self
            .nodes
            .get_mut(name)
            .with_context(|| format!("no node {name}"))?;
        node.agent
            .take()
            .with_context(|| format!("{name} has no agent"))?
            .stop()
    }

    /// `fleet-agent enrol` on a node, with the token in a file that is gone afterwards.
    pub fn enrol(&self, name: &str, token: &str) -> anyhow::Result<Ended> {
        let mut file = tempfile::NamedTempFile::new_in(self.root())?;
        file.write_all(token.as_bytes())?;
        self.agent(
            name,
            &["enrol", "--token-file", &file.path().display().to_string()],
        )
    }

    /// `fleet-agent …` on a node.
    pub fn agent(&self, name: &str, arguments: &[&str]) -> anyhow::Result<Ended> {
        let output = Command::new(program("fleet-agent")?)
            .arg(arguments[0])
            .arg("--config")
            .arg(&self.node(name)?.config)
            .args(&arguments[1..])
            .stdin(Stdio::null())
            .output()?;
        Ok(output.into())
    }

    /// `fleetctl …` as the admin, to be run as the caller likes.
    pub fn ctl_command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        self.ctl_command_as(&self.admin(), arguments)
    }

    fn ctl_command_as(&self, identity: &Path, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(program("fleetctl")?);
        command
            .args(arguments)
            .env("FLEET_COORDINATOR", &self.address)
            .env("FLEET_IDENTITY", identity)
            .env("FLEET_RELEASE_KEY", &self.key)
            .env("FLEET_APP", APP)
            .env("FLEET_ENV", "dev")
            .env("NO_COLOR", "1")
            .current_dir(self.root())
            .stdin(Stdio::null());
        Ok(command)
    }

    pub fn ctl(&self, arguments: &[&str]) -> anyhow::Result<Ended> {
        self.ctl_as(&self.admin(), arguments)
    }

    fn admin(&self) -> PathBuf {
        self.coordinator_directory().join("operators/admin")
    }

    /// As whoever has these credentials.
    pub fn ctl_as(&self, identity: &Path, arguments: &[&str]) -> anyhow::Result<Ended> {
        Ok(self.ctl_command_as(identity, arguments)?.output()?.into())
    }

    /// `fleetctl …` beside the test; the answer is its end.
    pub fn ctl_beside(&self, arguments: &[&str]) -> anyhow::Result<std::process::Child> {
        self.ctl_beside_as(&self.admin(), arguments)
    }

    pub fn ctl_beside_as(&self, identity: &Path, arguments: &[&str]) -> anyhow::Result<std::process::Child> {
        Ok(self
            .ctl_command_as(identity, arguments)?
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?)
    }

    pub fn push(&self, version: &str, behaviour: Behaviour) -> anyhow::Result<()> {
        let file = lay_out(&self.root().join("app").join(version), behaviour)?;
        let file = file.display().to_string();
        let pushed = self.ctl(&["release", "push", version, "--file", &file])?;
        anyhow::ensure!(pushed.code == 0, "push {version}: {}", pushed.stderr);
        Ok(())
    }

    pub fn status(&self) -> anyhow::Result<StatusView> {
        let ended = self.ctl(&["status", "--output", "json"])?;
        serde_json::from_str(&ended.stdout).with_context(|| ended.stderr)
    }

    pub fn rollout(&self, number: u64) -> anyhow::Result<RolloutView> {
        let ended = self.ctl(&["status", &number.to_string(), "--output", "json"])?;
        serde_json::from_str(&ended.stdout).with_context(|| ended.stderr)
    }

    pub fn wait_until_connected(&self) -> anyhow::Result<()> {
        self.wait_for_connections(self.nodes.len())
    }

    pub fn wait_for_connections(&self, expected: usize) -> anyhow::Result<()> {
        wait_for("all nodes to connect", PATIENCE, || {
            let ended = self.ctl(&["nodes", "--output", "json"]).ok()?;
            let nodes: Vec<NodeView> = serde_json::from_str(&ended.stdout).ok()?;
            let connected = nodes
                .iter()
                .filter(|node| matches!(node.connection, ConnectionView::Connected))
                .count();
            (connected == expected).then_some(())
        })
    }

    /// What the app on the node answers to `/health`, asked as a user of the app would.
    pub fn serves(&self, name: &str) -> Option<String> {
        let health = crate::host::get_json(self.nodes.get(name)?.port.number(), "/health")?;
        (health["status"] == "healthy").then(|| health["version"].as_str().map(str::to_owned))?
    }

    pub fn wait_until_all_serve(&self, version: &str) -> anyhow::Result<()> {
        for name in self.nodes.keys() {
            wait_for(&format!("{name} to serve {version}"), PATIENCE, || {
                (self.serves(name).as_deref() == Some(version)).then_some(())
            })
            .with_context(|| self.log(name))?;
        }
        Ok(())
    }

    /// The end of a process's log, for a failed test to show.
    pub fn log(&self, name: &str) -> String {
        let path = self.root().join(format!("logs/{name}.log"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(60);
        format!("log of {name}:\n{}", lines[from..].join("\n"))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for node in self.nodes.values_mut() {
            drop(node.agent.take());
        }
        for name in self.nodes.keys() {
            let _ = self.agent(name, &["stop"]);
        }
    }
}
