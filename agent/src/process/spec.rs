//! What shall run, from where, and by which process manager.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fleet_proto::digest::Digest;
use fleet_proto::quantity::Span;
use fleet_proto::release::StopSignal;
use serde::{Deserialize, Serialize};

use super::own_package::AgentSpec;
use super::pm2::Pm2Spec;
use super::static_files::LinkSpec;
use super::systemd::UnitSpec;

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
}

/// By which manager, and what that one has to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
pub enum How {
    Supervise(Supervised),
    Systemd(UnitSpec),
    Pm2(Pm2Spec),
    Static(LinkSpec),
    Agent(AgentSpec),
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
        let same_env = self.env == before.env;
        match (&before.how, &self.how) {
            (How::Systemd(before), How::Systemd(unit)) => unit.takes_over(before),
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
        Digest::of(&serde_json::to_vec(&defined_by).unwrap_or_default())
    }
}
