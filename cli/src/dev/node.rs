//! One node: its configuration, its way in, its agent.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_proto::signing::PublicKey;
use serde::Deserialize;

use super::binaries::Binaries;
use super::layout::Layout;
use super::process::{self, Process};
use crate::error::Error;

pub const ZONES: [&str; 3] = ["a", "b", "c"];
const ENROL_DEADLINE: Duration = Duration::from_secs(30);
/// The app's own grace and some more.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct Node {
    pub name: String,
    /// Where the sample app listens.
    pub port: u16,
    config: PathBuf,
    log: PathBuf,
    /// There once the node has its certificate.
    enrolled: PathBuf,
}

impl Node {
    fn at(layout: &Layout, name: &str, port: u16) -> Self {
        let directory = layout.node(name);
        Self {
            name: name.to_owned(),
            port,
            config: directory.join("agent.toml"),
            log: layout.log(name),
            enrolled: directory.join("enrolled"),
        }
    }

    /// A node that was not there before.
    pub fn create(
        layout: &Layout,
        name: &str,
        port: u16,
        coordinator: &str,
        release_key: &PublicKey,
    ) -> Result<Self, Error> {
        let node = Self::at(layout, name, port);
        let state = layout.node(name).join("state");
        let failed = || Error::file(format!("cannot write {}", node.config.display()));
        std::fs::create_dir_all(&state).map_err(failed())?;
        let text = format!(
            "node = \"{name}\"\ncoordinators = [\"{coordinator}\"]\nstate = {}\n\n\
             [trust]\nrelease_keys = [\"{release_key}\"]\nthreshold = 1\n\n\
             [vars]\nport = \"{port}\"\n",
            toml::Value::String(state.display().to_string()),
        );
        std::fs::write(&node.config, text).map_err(failed())?;
        Ok(node)
    }

    /// The nodes of a fleet that ran before, in order.
    pub fn existing(layout: &Layout) -> Result<Vec<Self>, Error> {
        #[derive(Deserialize)]
        struct Config {
            vars: Vars,
        }
        #[derive(Deserialize)]
        struct Vars {
            port: String,
        }
        let directory = layout.nodes();
        if !directory.is_dir() {
            return Ok(Vec::new());
        }
        let failed = || Error::file(format!("cannot read {}", directory.display()));
        let mut nodes = Vec::new();
        for entry in directory.read_dir().map_err(failed())? {
            let name = entry
                .map_err(failed())?
                .file_name()
                .to_string_lossy()
                .into_owned();
            let config: Config = fleet_proto::config::read(&layout.node(&name).join("agent.toml"))?;
            nodes.push(Self::at(layout, &name, config.vars.port.parse().unwrap_or(0)));
        }
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(nodes)
    }

    pub fn is_enrolled(&self) -> bool {
        self.enrolled.exists()
    }

    /// The token goes by a file that only its owner reads and that is gone afterwards:
    /// what is on a command line, everybody on the machine can read.
    pub async fn enrol(&self, binaries: &Binaries, token: &str) -> Result<(), Error> {
        let directory = self.config.parent().unwrap_or(Path::new("."));
        let failed = || Error::file(format!("cannot write a join token to {}", directory.display()));
        let mut file = tempfile::Builder::new()
            .prefix("join-token-")
            .tempfile_in(directory)
            .map_err(failed())?;
        file.write_all(token.as_bytes()).map_err(failed())?;
        let (config, path) = (self.config.to_string_lossy(), file.path().to_string_lossy());
        let args = [
            "enrol",
            "--config",
            config.as_ref(),
            "--token-file",
            path.as_ref(),
        ];
        process::run(&binaries.agent, &args, &self.log, ENROL_DEADLINE).await?;
        std::fs::write(&self.enrolled, "")
            .map_err(Error::file(format!("cannot write {}", self.enrolled.display())))
    }

    pub fn start(&self, binaries: &Binaries) -> Result<Process, Error> {
        let args = [Path::new("run"), Path::new("--config"), &self.config];
        Process::start(&self.name, &binaries.agent, &args, &self.log)
    }

    /// Stops the node's apps; its agent must be stopped before.
    pub async fn stop_apps(&self, binaries: &Binaries) -> Result<(), Error> {
        let config = self.config.to_string_lossy();
        process::run(
            &binaries.agent,
            &["stop", "--config", config.as_ref()],
            &self.log,
            STOP_DEADLINE,
        )
        .await
    }

    pub fn start_again(&self) -> String {
        format!("fleet-agent run --config '{}'", self.config.display())
    }
}

/// `n01` … `n10`; as many digits as the last one needs, and at least two.
pub fn names(count: usize) -> Vec<String> {
    let digits = count.to_string().len().max(2);
    (1..=count).map(|number| format!("n{number:0digits$}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_sort_as_they_count() {
        assert_eq!(super::names(11)[10], "n11");
        assert_eq!(super::names(100)[0], "n001");
    }
}
