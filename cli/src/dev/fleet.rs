//! A development fleet: what it is made of, and how that is made.

mod bring_up;
mod place;
pub mod stop;
mod tear_down;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_proto::signing::SecretKey;
use serde::Deserialize;

use super::binaries::Binaries;
use super::layout::Layout;
use super::node::{self, Node};
use super::ports::Held;
use super::process::{self, Process};
use crate::error::Error;
use crate::identity::write_private;
use crate::operator::Operator;
use crate::release_keys::{public_path, read_secret};

pub const ENVIRONMENT: &str = "dev";
const OPERATOR: &str = "admin";
const INIT_DEADLINE: Duration = Duration::from_secs(30);

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

impl Fleet {
    /// Finds or makes the directory; starts nothing.
    pub async fn prepare(directory: Option<&Path>, nodes: usize) -> Result<Self, Error> {
        let mut temporary = None;
        let directory: PathBuf = match directory {
            Some(directory) => directory.to_owned(),
            None => {
                let made = tempfile::Builder::new()
                    .prefix("fleet-dev-")
                    .tempdir()
                    .map_err(Error::file("cannot make a temporary directory"))?;
                temporary.insert(made).path().to_owned()
            }
        };
        let layout = Layout::new(place::make(&directory)?);
        place::must_be_free(&layout)?;
        let binaries = Binaries::find()?;
        std::fs::create_dir_all(layout.root().join("logs")).map_err(place::unusable(&directory))?;
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
