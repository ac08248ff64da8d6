//! `coordinator.toml`: where things are, what is listened on, and who is in which
//! environment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use fleet_proto::config::ConfigError;
use fleet_proto::ids::{ClusterName, EnvironmentName, OperatorName};
use fleet_proto::labels::{Labels, Selector, parse_label};
use fleet_proto::quantity::Span;
use fleet_proto::service_account::ServiceAccount;
use serde::Deserialize;

use crate::driver::Charge;
use crate::rollout::event::CatchUp;
use crate::rollout::input::Definition;

pub const FILE_NAME: &str = "coordinator.toml";

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The journal and the artifacts. Relative paths begin at the file's directory.
    pub state: PathBuf,
    /// The coordinator's own certificate and key.
    pub identity: PathBuf,
    /// The authority's certificate and key.
    pub authority: PathBuf,
    pub trust_domain: String,
    /// For agents and operators: mutual TLS, so any address will do.
    #[serde(default = "defaults::listen")]
    pub listen: SocketAddr,
    /// For dashboards and probes: plain HTTP, so loopback only.
    #[serde(default = "defaults::http")]
    pub http: SocketAddr,
    #[serde(default = "defaults::node_certificate_life")]
    pub node_certificate_life: Span,
    #[serde(default = "defaults::operator_certificate_life")]
    pub operator_certificate_life: Span,
    #[serde(default = "defaults::heartbeat")]
    pub heartbeat: Span,
    /// How long a node that fell silent still counts as there.
    #[serde(default = "defaults::unreachable_after")]
    pub unreachable_after: Span,
    /// How long a pod's node is gone before nobody waits for it any more.
    #[serde(default = "defaults::ephemeral_expiry")]
    pub ephemeral_expiry: Span,
    /// For dashboards elsewhere than on this machine.
    #[serde(default)]
    pub web: Web,
    /// Operators who may do everything, whatever `fleetctl operator` says of them.
    #[serde(default = "defaults::admins")]
    pub admins: BTreeSet<OperatorName>,
    #[serde(default)]
    pub environments: BTreeMap<EnvironmentName, Environment>,
    /// Whose word lets pods in.
    #[serde(default, rename = "cluster")]
    pub clusters: Vec<Cluster>,
}

/// `[web]`: TLS and a login for whoever is not on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Web {
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// What browsers are shown, in PEM; read again when it changes.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Where there is no such file: the names that a certificate by Fleet's own authority has,
    /// which browsers have to be told to trust.
    #[serde(default)]
    pub names: Vec<String>,
    /// How people reach it: what `fleetctl dashboard` prints.
    #[serde(default)]
    pub url: Option<String>,
    /// Names under which a proxy on this machine passes requests on to `http`.
    #[serde(default)]
    pub hosts: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Which nodes are in it, by their labels; empty: all of them.
    #[serde(default)]
    pub select: Selector,
    /// Whether nodes that were away, or are new, are brought to what is wanted of them
    /// without anybody asking: `auto` or `manual`.
    #[serde(default)]
    pub catch_up: CatchUp,
}

/// `[[cluster]]`: pods of these service accounts are let in by the word of their cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    pub name: ClusterName,
    /// As `iss` in its tokens.
    pub issuer: String,
    #[serde(default = "defaults::audience")]
    pub audience: String,
    /// The keys that it publishes, in a file, which is read again when it changes.
    pub keys: PathBuf,
    /// What nodes get that come from it.
    #[serde(default)]
    pub labels: Labels,
    pub service_accounts: BTreeSet<ServiceAccount>,
}

mod defaults {
    use super::{BTreeSet, OperatorName, SocketAddr, Span};
    use std::net::Ipv4Addr;

    pub(super) fn listen() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, fleet_proto::tls::DEFAULT_PORT).into()
    }
    pub(super) fn http() -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 7480).into()
    }
    /// Short enough that a stolen one is soon worthless; agents renew after two thirds.
    pub(super) fn node_certificate_life() -> Span {
        Span::from_secs(7 * 86_400)
    }
    /// People are on holiday longer than a week.
    pub(super) fn operator_certificate_life() -> Span {
        Span::from_secs(90 * 86_400)
    }
    /// The operator that `init` makes where it is told no other name.
    pub(super) fn admins() -> BTreeSet<OperatorName> {
        "admin".parse().into_iter().collect()
    }
    /// A token for this audience is good for nothing else in the cluster.
    pub(super) fn audience() -> String {
        "fleet".to_owned()
    }
    pub(super) fn heartbeat() -> Span {
        Span::from_secs(5)
    }
    pub(super) fn ephemeral_expiry() -> Span {
        Span::from_secs(600)
    }
    pub(super) fn unreachable_after() -> Span {
        Span::from_secs(10)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigProblem {
    #[error(transparent)]
    File(#[from] ConfigError),
    #[error(
        "{file}: http = \"{address}\" would show the fleet to the network without TLS and login\nhint: keep http = \"127.0.0.1:7480\" and reach it with `ssh -L 7480:127.0.0.1:7480 HOST`; or give others `listen`, `certificate` and `key` of [web], which is TLS and asks who it is"
    )]
    OpenHttp { file: String, address: SocketAddr },
    #[error(
        "{file}: trust_domain = \"{found}\" is not a trust domain\nhint: use letters, digits, `.` and `-`, as in fleet.local"
    )]
    TrustDomain { file: String, found: String },
    #[error("{file}: cluster {cluster}: {why}")]
    Cluster {
        file: String,
        cluster: ClusterName,
        why: String,
    },
    #[error("{file}: [web] {why}")]
    Web { file: String, why: String },
    #[error("{file}: {key} must be longer than 0s")]
    Zero { file: String, key: &'static str },
}

impl Web {
    fn check(&self) -> Result<(), &'static str> {
        let has_pair = self.certificate.is_some() && self.key.is_some();
        let has_part = self.certificate.is_some() || self.key.is_some();
        if has_part && (!has_pair || !self.names.is_empty()) {
            return Err(
                "names a part of a certificate\nhint: certificate = \"web.pem\" and key = \"web-key.pem\", or names = [\"fleet.example.com\"]",
            );
        }
        if self.listen.is_some() && !has_pair && self.names.is_empty() {
            return Err(
                "listens for others without a certificate of its own\nhint: certificate = \"web.pem\" and key = \"web-key.pem\"; or names = [\"fleet.example.com\"], for one that Fleet's own authority signs",
            );
        }
        if self.listen.is_none() && (has_part || !self.names.is_empty()) {
            return Err("has a certificate, and listens nowhere\nhint: listen = \"0.0.0.0:7481\"");
        }
        let is_address = |url: &String| url.starts_with("https://") || url.starts_with("http://");
        if !self.url.as_ref().is_none_or(is_address) {
            return Err("has a url that is none\nhint: url = \"https://fleet.example.com\"");
        }
        Ok(())
    }
}

pub fn is_trust_domain(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
    !text.is_empty() && text.len() <= 255 && text.chars().all(allowed)
}

impl Config {
    pub fn read(path: &Path) -> Result<Self, ConfigProblem> {
        let config: Self = fleet_proto::config::read(path)?;
        let directory = path.parent().unwrap_or(Path::new("."));
        config.complete(&path.display().to_string(), directory)
    }

    /// As [`Config::read`], of text that is not in a file yet.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigProblem> {
        let name = file.display().to_string();
        let config: Self = fleet_proto::config::parse(&name, text)?;
        config.complete(&name, file.parent().unwrap_or(Path::new(".")))
    }

    fn complete(mut self, file: &str, directory: &Path) -> Result<Self, ConfigProblem> {
        let file = file.to_owned();
        if !self.http.ip().is_loopback() {
            let address = self.http;
            return Err(ConfigProblem::OpenHttp { file, address });
        }
        if !is_trust_domain(&self.trust_domain) {
            let found = self.trust_domain;
            return Err(ConfigProblem::TrustDomain { file, found });
        }
        for (key, span) in [
            ("node_certificate_life", self.node_certificate_life),
            ("operator_certificate_life", self.operator_certificate_life),
            ("heartbeat", self.heartbeat),
            ("ephemeral_expiry", self.ephemeral_expiry),
        ] {
            if span == Span::ZERO {
                return Err(ConfigProblem::Zero { file, key });
            }
        }
        self.check_clusters(&file)?;
        self.web.check().map_err(|why| ConfigProblem::Web {
            file: file.clone(),
            why: why.to_owned(),
        })?;
        for path in [&mut self.web.certificate, &mut self.web.key]
            .into_iter()
            .flatten()
        {
            *path = directory.join(&path);
        }
        for path in [&mut self.state, &mut self.identity, &mut self.authority] {
            *path = directory.join(&path);
        }
        for cluster in &mut self.clusters {
            cluster.keys = directory.join(&cluster.keys);
        }
        if self.environments.is_empty() {
            let everybody = "default".parse().map(|name| (name, Environment::default()));
            self.environments.extend(everybody.ok());
        }
        Ok(self)
    }

    fn check_clusters(&self, file: &str) -> Result<(), ConfigProblem> {
        for (i, cluster) in self.clusters.iter().enumerate() {
            let refuse = |why: String| {
                Err(ConfigProblem::Cluster {
                    file: file.to_owned(),
                    cluster: cluster.name.clone(),
                    why,
                })
            };
            let before = &self.clusters[..i];
            if before.iter().any(|other| other.name == cluster.name) {
                return refuse("it is there twice".to_owned());
            }
            if let Some(other) = before.iter().find(|other| other.issuer == cluster.issuer) {
                return refuse(format!("it has the issuer of cluster {}", other.name));
            }
            if cluster.issuer.is_empty() || cluster.audience.is_empty() {
                return refuse("expected an issuer and an audience, found an empty one".to_owned());
            }
            if cluster.service_accounts.is_empty() {
                return refuse(
                    "no service account of it may come in\nhint: service_accounts = [\"namespace/name\"]"
                        .to_owned(),
                );
            }
            for (key, value) in &cluster.labels {
                if let Err(error) = parse_label(&format!("{key}={value}")) {
                    return refuse(error.to_string());
                }
            }
        }
        Ok(())
    }

    pub fn journal_directory(&self) -> PathBuf {
        self.state.join("journal")
    }

    pub fn artifacts_directory(&self) -> PathBuf {
        self.state.join("artifacts")
    }

    pub fn backups_directory(&self) -> PathBuf {
        self.state.join("backups")
    }

    /// Where a running coordinator says on what it listens: ports may be chosen by the
    /// system.
    pub fn endpoints_file(&self) -> PathBuf {
        self.state.join("endpoints.json")
    }

    pub fn charge(&self) -> Charge {
        Charge {
            environments: self.definitions(),
            admins: self.admins.clone(),
        }
    }

    pub fn definitions(&self) -> BTreeMap<EnvironmentName, Definition> {
        let definition = |environment: &Environment| Definition {
            select: environment.select.clone(),
            catch_up: environment.catch_up,
        };
        self.environments
            .iter()
            .map(|(name, environment)| (name.clone(), definition(environment)))
            .collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    const LEAST: &str =
        "state = \"state\"\nidentity = \"identity\"\nauthority = \"/ca\"\ntrust_domain = \"fleet.local\"\n";

    fn config(more: &str) -> Result<Config, ConfigProblem> {
        let config: Config = fleet_proto::config::parse("c.toml", &format!("{LEAST}{more}"))?;
        config.complete("c.toml", Path::new("/etc/fleet"))
    }

    #[test]
    fn what_is_absent_has_a_default() {
        let config = config("").unwrap();
        assert_eq!(config.state, Path::new("/etc/fleet/state"));
        assert_eq!(config.authority, Path::new("/ca"));
        assert_eq!(config.listen.to_string(), "127.0.0.1:7443");
        assert_eq!(config.node_certificate_life.to_string(), "7d");
        assert_eq!(config.definitions().len(), 1);
    }

    #[test]
    fn environments_select_nodes() {
        let text = "[environments.production]\nselect = \"env=production\"\ncatch_up = \"manual\"\n";
        let (name, definition) = config(text).unwrap().definitions().pop_first().unwrap();
        assert_eq!(
            (name.as_str(), definition.select.to_string().as_str()),
            ("production", "env=production")
        );
        assert_eq!(definition.catch_up, CatchUp::Manual);
    }

    #[test]
    fn what_is_wrong_is_said_with_the_way_out() {
        for (more, expected) in [
            ("http = \"0.0.0.0:7480\"\n", "ssh -L 7480"),
            (
                "lisen = \"127.0.0.1:1\"\n",
                "c.toml:5:1: unknown key `lisen`\nhint: did you mean `listen`?",
            ),
            (
                "[[cluster]]\nname = \"a\"\nissuer = \"https://a\"\nkeys = \"a.json\"\nservice_accounts = []\n",
                "cluster a: no service account of it may come in",
            ),
            (
                "[[cluster]]\nname = \"a\"\nissuer = \"https://a\"\nkeys = \"a.json\"\nservice_accounts = [\"web\"]\n",
                "`web` is not a service account; write it as namespace/name",
            ),
            ("heartbeat = \"0s\"\n", "heartbeat must be longer than 0s"),
            (
                "[web]\nlisten = \"0.0.0.0:7481\"\n",
                "[web] listens for others without a certificate",
            ),
            ("[web]\ncertificate = \"a.pem\"\n", "a part of a certificate"),
            ("[web]\nnames = [\"a\"]\n", "listens nowhere"),
            ("[web]\nurl = \"fleet\"\n", "a url that is none"),
            ("heartbeat = \"soon\"\n", "c.toml:5:13: `soon` is not a duration"),
        ] {
            let message = config(more).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
