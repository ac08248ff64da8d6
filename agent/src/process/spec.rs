//! What shall run, from where, and by which process manager.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fleet_proto::digest::Digest;
use fleet_proto::ids::EnvironmentName;
use fleet_proto::quantity::Span;
use fleet_proto::release::{GivenAs, Limits, SecretName, StopSignal};
use serde::{Deserialize, Serialize};

use super::account::{Account, AccountError, Become};
use super::own_package::AgentSpec;
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
    /// Whose configuration it has, for what is run around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<EnvironmentName>,
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
    Agent(AgentSpec),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervised {
    pub command: Vec<String>,
    pub stop_signal: StopSignal,
    pub grace: Span,
    // What is not said is left out, so that it is the same process for every agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// From the component's files, or absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

impl Spec {
    /// Where the process runs, and commands that are asked how it is.
    pub fn working_directory(&self) -> PathBuf {
        match &self.how {
            How::Supervise(Supervised {
                directory: Some(directory),
                ..
            }) => self.directory.join(directory),
            _ => self.directory.clone(),
        }
    }

    /// As whom the process runs, if not as the agent.
    pub fn account(&self) -> Result<Option<Account>, AccountError> {
        match &self.how {
            How::Supervise(Supervised {
                user: Some(user),
                group,
                ..
            }) => Account::of(user, group.as_deref()).map(Some),
            _ => Ok(None),
        }
    }

    /// What a child takes on to be the process.
    pub fn becoming(&self) -> Result<Become, AccountError> {
        let limits = match &self.how {
            How::Supervise(supervised) => supervised.limits,
            _ => Limits::default(),
        };
        let account = self.account()?;
        let is_special = account.is_some() || !limits.is_empty();
        let directory = Some(self.working_directory());
        Ok(Become {
            // The keeper's own step into the directory does for everything else.
            directory: directory.filter(|directory| is_special || *directory != self.directory),
            account,
            limits,
        })
    }

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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn spec(directory: Option<&str>) -> Spec {
        Spec {
            release: Digest::of(b"release"),
            tree: Digest::of(b"tree"),
            directory: "/slot/web".into(),
            env: BTreeMap::new(),
            home: "/".to_owned(),
            handed: Handed::default(),
            env_from: None,
            environment: None,
            how: How::Supervise(Supervised {
                command: vec!["./web".to_owned()],
                stop_signal: StopSignal::Term,
                grace: Span::from_secs(10),
                user: None,
                group: None,
                directory: directory.map(PathBuf::from),
                limits: Limits::default(),
            }),
        }
    }

    /// An agent that learns new words must not take every process for another one.
    #[test]
    fn what_is_not_said_is_no_part_of_the_fingerprint() {
        let how = serde_json::to_value(spec(None).how).unwrap();
        let expected = serde_json::json!({
            "by": "supervise", "command": ["./web"], "stop_signal": "SIGTERM", "grace": "10s",
        });
        assert_eq!(how, expected);
        assert_ne!(spec(None).fingerprint(), spec(Some("data")).fingerprint());
    }

    #[test]
    fn a_directory_is_taken_from_the_files_unless_it_is_absolute() {
        for (directory, expected) in [
            (None, "/slot/web"),
            (Some("data"), "/slot/web/data"),
            (Some("/srv"), "/srv"),
        ] {
            assert_eq!(spec(directory).working_directory(), PathBuf::from(expected));
        }
    }
}
