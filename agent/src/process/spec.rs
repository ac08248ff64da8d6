//! What shall run, from where, and by which process manager.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fleet_proto::digest::Digest;
use fleet_proto::quantity::Span;
use fleet_proto::release::{GivenAs, SecretName, StopSignal};
use serde::{Deserialize, Serialize};

use super::pm2::Pm2Spec;
use super::static_files::LinkSpec;
use super::systemd::UnitSpec;
use crate::secrets::kept::EnvFrom;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// In whose slot the process lives.
    pub release: Digest,
    /// The component's files.
    pub tree: Digest,
    pub directory: PathBuf,
    pub env: BTreeMap<String, String>,
    /// Where the environment does not say otherwise. It is the agent's, not the
    /// release's, and a person who takes the agent's place has another one.
    pub home: String,
    pub how: How,
    /// What it is handed beside its files.
    #[serde(default, skip_serializing_if = "Handed::is_nothing")]
    pub handed: Handed,
    /// What else is in its environment, and not written down here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_from: Option<EnvFrom>,
}

/// By digests: whoever is handed something else is another process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handed {
    /// Files that were filled in, by their path.
    #[serde(default)]
    pub config: BTreeMap<String, Digest>,
    #[serde(default)]
    pub secrets: BTreeMap<SecretName, Entrusted>,
}

/// How it is told, and a digest with the node's own key: it tells nothing but whether the
/// secret is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entrusted {
    pub given: GivenAs,
    pub digest: Digest,
}

impl Handed {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What a process has from its start: no reload brings it another one.
    fn had_at_the_start(&self) -> Vec<(&SecretName, &Entrusted)> {
        let secrets = self.secrets.iter();
        secrets
            .filter(|(_, secret)| secret.given.is_from_the_start())
            .collect()
    }
}

/// By which manager, and what that one has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum How {
    Supervise(Supervised),
    Systemd(UnitSpec),
    Pm2(Pm2Spec),
    Static(LinkSpec),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervised {
    pub command: Vec<String>,
    pub stop_signal: StopSignal,
    pub grace: Span,
}

impl Spec {
    /// What runs as `before` says need not be stopped for it.
    pub fn takes_over(&self, before: &Self) -> bool {
        let same_secrets = self.handed.had_at_the_start() == before.handed.had_at_the_start();
        let same_env = self.env == before.env && same_secrets;
        match (&before.how, &self.how) {
            (How::Systemd(before), How::Systemd(unit)) => same_secrets && unit.takes_over(before),
            (How::Pm2(before), How::Pm2(pm2)) => same_env && pm2.takes_over(before),
            (How::Static(before), How::Static(link)) => link == before,
            _ => false,
        }
    }

    /// What defines the process, in whichever release: one that was started with the same
    /// is the right one. The directory is not part of it, for the same files lie in every
    /// slot that has them; a command that names it is another command.
    pub fn fingerprint(&self) -> Digest {
        let defined_by = (&self.tree, &self.env, &self.how);
        let written = if self.handed.is_nothing() {
            serde_json::to_vec(&defined_by)
        } else {
            serde_json::to_vec(&(defined_by, &self.handed))
        };
        Digest::of(&written.unwrap_or_default())
    }
}
