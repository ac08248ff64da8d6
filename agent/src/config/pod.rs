//! What only matters where the agent is a pod's first process, or comes in by itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fleet_proto::digest::Digest;
use fleet_proto::ids::NodeId;
use fleet_proto::quantity::Span;
use fleet_proto::service_account::Claims;
use nix::sys::signal::Signal;
use serde::Deserialize;

use super::AgentConfigError;

/// `[pod]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pod {
    /// How long the apps have to end when the pod is told to; then it ends all the same.
    pub stop_deadline: Span,
    /// Signals that are the apps' affair: their main processes get them.
    pub pass_on: BTreeSet<PassedOn>,
}

impl Default for Pod {
    fn default() -> Self {
        Self {
            // Kubernetes kills after 30 s.
            stop_deadline: Span::from_secs(25),
            pass_on: BTreeSet::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum PassedOn {
    #[serde(rename = "SIGHUP")]
    Hangup,
    #[serde(rename = "SIGUSR1")]
    User1,
    #[serde(rename = "SIGUSR2")]
    User2,
}

impl PassedOn {
    pub const ALL: [Self; 3] = [Self::Hangup, Self::User1, Self::User2];

    pub fn signal(self) -> Signal {
        match self {
            Self::Hangup => Signal::SIGHUP,
            Self::User1 => Signal::SIGUSR1,
            Self::User2 => Signal::SIGUSR2,
        }
    }
}

/// `[enrol]`
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct EnrolAtStart {
    pub proof: ProofFile,
    /// How long it is tried to reach a coordinator, before the agent ends and says why not.
    pub patience: Span,
}

#[derive(Debug, Clone)]
pub enum ProofFile {
    /// A join token.
    Token(PathBuf),
    /// What the cluster projects into the pod, and renews there.
    ServiceAccount { path: PathBuf, authority: Digest },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    token_file: Option<PathBuf>,
    service_account_token_file: Option<PathBuf>,
    authority: Option<Digest>,
    #[serde(default = "patience")]
    patience: Span,
}

/// Whoever starts agents starts them again, more slowly each time.
fn patience() -> Span {
    Span::from_secs(300)
}

impl TryFrom<Written> for EnrolAtStart {
    type Error = &'static str;
    fn try_from(written: Written) -> Result<Self, &'static str> {
        let proof = match (written.token_file, written.service_account_token_file) {
            (Some(path), None) if written.authority.is_none() => ProofFile::Token(path),
            (Some(_), None) => return Err("a join token names its `authority` itself"),
            (None, Some(path)) => ProofFile::ServiceAccount {
                path,
                authority: written.authority.ok_or(
                    "`service_account_token_file` needs `authority`, so that the node knows whom it enrols with; `fleet-coordinator authority` prints it",
                )?,
            },
            _ => return Err("expected one of `token_file` and `service_account_token_file`"),
        };
        Ok(Self {
            proof,
            patience: written.patience,
        })
    }
}

/// As the coordinator will call this pod, too.
pub(super) fn node_of(path: &Path) -> Result<NodeId, AgentConfigError> {
    let token = std::fs::read_to_string(path).map_err(|source| AgentConfigError::TokenFile {
        path: path.to_owned(),
        source,
    })?;
    let claims = Claims::of_own(token.trim()).map_err(|source| AgentConfigError::Token {
        path: path.to_owned(),
        source,
    })?;
    claims
        .node()
        .ok_or_else(|| AgentConfigError::Unbound(path.to_owned()))
}
