//! `agent.toml`: what a node is told once, at installation.

mod pod;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use fleet_proto::config::ConfigError;
use fleet_proto::ids::{AppName, EnvironmentName, NameError, NodeId, ProviderName};
use fleet_proto::quantity::{Bytes, Span};
use fleet_proto::service_account::ProofError;
use fleet_proto::signing::Pinned;
use serde::Deserialize;

pub use pod::{EnrolAtStart, PassedOn, Pod, ProofFile};

use crate::secrets::provider::Provider;

pub const DEFAULT_PATH: &str = "/etc/fleet/agent.toml";
/// Pods have one configuration between them, and a name each.
pub const NODE_VARIABLE: &str = "FLEET_NODE";

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(rename = "node", default)]
    named: Option<NodeId>,
    /// As the file says; else as `FLEET_NODE` does; else as its cluster calls this pod.
    #[serde(skip, default = "not_named_yet")]
    pub node: NodeId,
    /// `https://host:port`, tried in turn.
    pub coordinators: Vec<String>,
    #[serde(default = "default_state")]
    pub state: PathBuf,
    /// The only apps that this node accepts; any app where absent.
    #[serde(default)]
    pub apps: Option<BTreeSet<AppName>>,
    #[serde(default)]
    pub on_stop: OnStop,
    /// Who may say what runs here. Never taken from a coordinator.
    pub trust: Pinned,
    /// The only environment whose orders are carried out here: a coordinator that was
    /// captured cannot give this node another one's configuration. Any where absent.
    #[serde(default)]
    pub environment: Option<EnvironmentName>,
    /// `${var.NAME}` in commands, environments, checks and files; before what the release
    /// says.
    #[serde(default)]
    pub vars: BTreeMap<String, String>,
    /// Where secrets come from that releases need. Never taken from a release.
    #[serde(default)]
    pub secrets: BTreeMap<ProviderName, Provider>,
    #[serde(default)]
    pub limits: Limits,
    /// Where probes ask how the agent and its apps are: plain HTTP, so loopback only.
    #[serde(default)]
    pub health_listen: Option<SocketAddr>,
    /// How this node gets in by itself when it starts without an identity.
    #[serde(default)]
    pub enrol: Option<EnrolAtStart>,
    #[serde(default)]
    pub pod: Pod,
}

/// What happens to the apps when the agent is told to stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnStop {
    /// They go on: updating the agent must not take the app down.
    #[default]
    Keep,
    /// They stop with it, as in a pod, where nothing would be left to keep them.
    Stop,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// How many good releases stay on the disk; never fewer than two.
    pub keep_releases: usize,
    /// What a download must leave free.
    pub disk_reserve: Bytes,
    /// Bytes a second for downloads.
    pub bandwidth: Option<Bytes>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            keep_releases: 3,
            disk_reserve: Bytes(64 << 20),
            bandwidth: None,
        }
    }
}

impl Limits {
    /// The last good release and the one before it are never given up.
    pub fn good_releases_max(&self) -> usize {
        self.keep_releases.max(2)
    }
}

/// Only while the file is being read.
#[expect(clippy::expect_used, reason = "a plain word is a name")]
fn not_named_yet() -> NodeId {
    "unnamed".parse().expect("a name")
}

fn default_state() -> PathBuf {
    PathBuf::from("/var/lib/fleet/agent")
}

#[derive(Debug, thiserror::Error)]
pub enum AgentConfigError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{file}: `coordinators` is empty\nhint: coordinators = [\"https://coordinator.example:7443\"]")]
    NoCoordinator { file: String },
    #[error(
        "{file}: `{address}` is not a coordinator's address\nhint: write it as https://host:7443; plain http is not spoken"
    )]
    Address { file: String, address: String },
    #[error("{file}: `limits.bandwidth` is zero, so nothing could ever be downloaded")]
    NoBandwidth { file: String },
    #[error(
        "{file}: `node` is not set\nhint: node = \"web-01\"; or in a pod, FLEET_NODE from `metadata.name`, or `service_account_token_file` under `[enrol]`"
    )]
    NoNode { file: String },
    #[error("FLEET_NODE cannot be used: {0}")]
    NodeVariable(#[source] NameError),
    #[error(
        "{file}: health_listen = \"{address}\" would show this node to the network without TLS and login\nhint: health_listen = \"127.0.0.1:9180\", with the exec probe `fleet-agent health --ready`"
    )]
    OpenHealth { file: String, address: SocketAddr },
    #[error("{file}: pod.stop_deadline must be longer than 0s")]
    NoTimeToStop { file: String },
    #[error("cannot read the service account's token in {}", .path.display())]
    TokenFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the service account's token in {} cannot be used: {source}", .path.display())]
    Token { path: PathBuf, source: ProofError },
    #[error(
        "the service account's token in {} is not bound to a pod, so this node has no name\nhint: project it into the pod (`serviceAccountToken`), or set `node`", .0.display()
    )]
    Unbound(PathBuf),
    #[error("cannot tell where `{}` is", .path.display())]
    State {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the order is for the environment {ordered}, and this node is in {own}; `environment` in its agent.toml says so"
)]
pub struct OtherEnvironment {
    ordered: EnvironmentName,
    own: EnvironmentName,
}

impl Config {
    pub fn read(path: &Path) -> Result<Self, AgentConfigError> {
        let mut config: Self = fleet_proto::config::read(path)?;
        let file = path.display().to_string();
        config.check(&file)?;
        config.node = config.name(&file)?;
        // Processes run in directories of their own, so every path is made absolute.
        config.state = std::path::absolute(&config.state).map_err(|source| AgentConfigError::State {
            path: config.state.clone(),
            source,
        })?;
        Ok(config)
    }

    fn check(&self, file: &str) -> Result<(), AgentConfigError> {
        let file = file.to_owned();
        if self.coordinators.is_empty() {
            return Err(AgentConfigError::NoCoordinator { file });
        }
        if let Some(bad) = self.coordinators.iter().find(|a| !a.starts_with("https://")) {
            return Err(AgentConfigError::Address {
                file,
                address: bad.clone(),
            });
        }
        if self.limits.bandwidth == Some(Bytes(0)) {
            return Err(AgentConfigError::NoBandwidth { file });
        }
        if let Some(address) = self.health_listen.filter(|address| !address.ip().is_loopback()) {
            return Err(AgentConfigError::OpenHealth { file, address });
        }
        if self.pod.stop_deadline == Span::ZERO {
            return Err(AgentConfigError::NoTimeToStop { file });
        }
        Ok(())
    }

    fn name(&self, file: &str) -> Result<NodeId, AgentConfigError> {
        if let Some(named) = &self.named {
            return Ok(named.clone());
        }
        match std::env::var(NODE_VARIABLE) {
            Ok(name) if !name.is_empty() => return name.parse().map_err(AgentConfigError::NodeVariable),
            _ => {}
        }
        match self.enrol.as_ref().map(|enrol| &enrol.proof) {
            Some(ProofFile::ServiceAccount { path, .. }) => pod::node_of(path),
            Some(ProofFile::Token(_)) | None => Err(AgentConfigError::NoNode {
                file: file.to_owned(),
            }),
        }
    }

    /// Whose configuration an order gets that names this one; a node with one of its own
    /// takes that for granted where none is named.
    pub fn environment_for<'a>(
        &'a self,
        ordered: Option<&'a EnvironmentName>,
    ) -> Result<Option<&'a EnvironmentName>, OtherEnvironment> {
        match (&self.environment, ordered) {
            (Some(own), Some(ordered)) if own != ordered => Err(OtherEnvironment {
                ordered: ordered.clone(),
                own: own.clone(),
            }),
            (own, ordered) => Ok(own.as_ref().or(ordered)),
        }
    }

    pub fn accepts(&self, app: &AppName) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.contains(app))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.toml");
        std::fs::write(&path, text).unwrap();
        let message = Config::read(&path).unwrap_err().to_string();
        message.replace(&directory.path().display().to_string(), "")
    }

    const KEY: &str = "fleet-release-key:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    #[test]
    fn mistakes_are_named_with_their_place_and_the_fix() {
        let trust = format!("[trust]\nrelease_keys = [\"{KEY}\"]\n");
        for (text, expected) in [
            (
                format!("node = \"n1\"\ncoordinaters = []\n{trust}"),
                "/agent.toml:2:1: unknown key `coordinaters`\nhint: did you mean `coordinators`?",
            ),
            (
                format!("node = \"n1\"\ncoordinators = []\n{trust}"),
                "/agent.toml: `coordinators` is empty\nhint: coordinators = [\"https://coordinator.example:7443\"]",
            ),
            (
                format!("node = \"n1\"\ncoordinators = [\"http://c:1\"]\n{trust}"),
                "/agent.toml: `http://c:1` is not a coordinator's address\nhint: write it as https://host:7443; plain http is not spoken",
            ),
        ] {
            assert_eq!(refused(&text), expected);
        }
    }

    #[test]
    fn a_node_with_an_environment_of_its_own_takes_no_other_s_orders() {
        let text =
            format!("node = \"n1\"\ncoordinators = [\"https://c:1\"]\n[trust]\nrelease_keys = [\"{KEY}\"]\n");
        let any: Config = fleet_proto::config::parse("agent.toml", &text).unwrap();
        let (staging, production) = ("staging".parse().unwrap(), "production".parse().unwrap());
        assert_eq!(any.environment_for(Some(&staging)), Ok(Some(&staging)));
        assert_eq!(any.environment_for(None), Ok(None));
        let pinned = Config {
            environment: Some(production),
            ..any
        };
        let own = pinned.environment.as_ref();
        assert_eq!(pinned.environment_for(own), Ok(own));
        assert_eq!(pinned.environment_for(None), Ok(own));
        let error = pinned.environment_for(Some(&staging)).unwrap_err().to_string();
        assert_eq!(
            error,
            "the order is for the environment staging, and this node is in production; \
             `environment` in its agent.toml says so"
        );
    }
}
