//! How a component's process is run, and by whom.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Limits;
use crate::quantity::Span;
use crate::tree::TreePath;

/// Names of units, with an instance, are limited to so much by systemd.
const UNIT_NAME_BYTES_MAX: usize = 255;
const SERVICE: &str = ".service";

/// How a component's process is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Run {
    Supervise(Supervise),
    Systemd(Systemd),
    Pm2(Pm2),
    Static(StaticFiles),
    Agent(AgentPackage),
}

/// The agent runs the process itself. Words in `${…}` are filled in on the node:
/// `${node}`, `${app}`, `${version}`, `${dir}` and `${var.NAME}` from the agent's
/// configuration; `$$` is a dollar sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supervise {
    pub command: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub stop_signal: StopSignal,
    /// Between the stop signal and SIGKILL.
    #[serde(default = "ten_seconds")]
    pub grace: Span,
    /// As whom; the agent's own user if nobody is named. `HOME`, `USER` and `LOGNAME` are
    /// that user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// In place of all groups that the user is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Where it runs: from the component's files, or absolute; `${…}` is filled in. Those
    /// files themselves if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopSignal {
    #[default]
    #[serde(rename = "SIGTERM")]
    Term,
    #[serde(rename = "SIGINT")]
    Interrupt,
    #[serde(rename = "SIGQUIT")]
    Quit,
    #[serde(rename = "SIGHUP")]
    Hangup,
    #[serde(rename = "SIGUSR1")]
    User1,
    #[serde(rename = "SIGUSR2")]
    User2,
}

/// A unit of the node's systemd. Words in `${…}` are filled in its file too, but only those
/// that [`Supervise`] knows: the others are systemd's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Systemd {
    pub unit: UnitName,
    /// Of a template: each of these is started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<String>,
    /// Which of the component's files is installed as the unit. Without one the unit has
    /// to be on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<TreePath>,
    /// Whose manager runs the unit; the system's if nobody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default)]
    pub on_change: OnChange,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

impl Systemd {
    /// What is started: the unit itself, or the instances of the template.
    pub fn units(&self) -> Vec<UnitName> {
        if self.instances.is_empty() {
            return vec![self.unit.clone()];
        }
        let instances = self.instances.iter();
        instances.filter_map(|name| self.unit.instance(name)).collect()
    }
}

/// Apps of the node's pm2, from the ecosystem file that the release brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pm2 {
    /// Among the component's files.
    #[serde(default = "Pm2::ecosystem")]
    pub file: TreePath,
    /// Which of its apps; the one with the component's name if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// pm2's `--env`: the variables of `env_staging` are added with `staging`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// As whom; the agent's own user if nobody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `PM2_HOME`; the user's `.pm2` if it is not said. `${…}` is filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// With `reload` pm2 moves the instances one by one, and all apps run in the component's
    /// own directory.
    #[serde(default)]
    pub on_change: OnChange,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

impl Pm2 {
    pub fn ecosystem() -> TreePath {
        TreePath::from_static("ecosystem.config.js")
    }
}

/// How a new release takes over from the one that runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnChange {
    #[default]
    Restart,
    /// Its own reload, under which it goes on serving.
    Reload,
}

/// Files that something else serves: a link that is switched to them in one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticFiles {
    /// Where the link lies, as `/var/www/shop`; `${…}` is filled in.
    pub root: String,
}

/// The agent itself, by its Debian package: installed on the node, and taken back where the
/// agent that it brings does not start or reaches no coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentPackage {
    /// Among the component's files.
    pub package: TreePath,
}

/// `shop-api.service`, the template `worker@.service`, or its instance `worker@1.service`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the name of a service, as shop-api.service or worker@.service: {why}")]
pub struct UnitNameError {
    text: String,
    why: &'static str,
}

impl UnitName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `worker@.service`.
    pub fn is_template(&self) -> bool {
        self.stem().ends_with('@')
    }

    /// `worker@1.service` from `worker@.service`; none from what is no template.
    pub fn instance(&self, name: &str) -> Option<Self> {
        let whole = format!("{}{name}{SERVICE}", self.stem());
        let is_named = self.is_template() && !name.is_empty() && !name.contains('@');
        whole.parse().ok().filter(|_| is_named)
    }

    fn stem(&self) -> &str {
        self.0.strip_suffix(SERVICE).unwrap_or(&self.0)
    }
}

impl FromStr for UnitName {
    type Err = UnitNameError;
    fn from_str(text: &str) -> Result<Self, UnitNameError> {
        let refuse = |why| {
            Err(UnitNameError {
                text: text.chars().take(64).collect(),
                why,
            })
        };
        let Some(stem) = text.strip_suffix(SERVICE) else {
            return refuse("it does not end with .service");
        };
        let is_known = |letter: char| letter.is_ascii_alphanumeric() || "-_.:\\@".contains(letter);
        if stem.is_empty() || stem.starts_with(['@', '.']) {
            return refuse("it has no name");
        }
        if text.len() > UNIT_NAME_BYTES_MAX {
            return refuse("it is longer than 255 bytes");
        }
        if !stem.chars().all(is_known) {
            return refuse("it has letters that no unit has");
        }
        if stem.matches('@').count() > 1 {
            return refuse("it has more than one @");
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for UnitName {
    type Error = UnitNameError;
    fn try_from(text: String) -> Result<Self, UnitNameError> {
        text.parse()
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> String {
        name.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn ten_seconds() -> Span {
    Span::from_secs(10)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn unit(name: &str) -> UnitName {
        name.parse().unwrap()
    }

    #[test]
    fn what_is_no_service_is_no_unit() {
        for good in [
            "shop.service",
            "shop-api.service",
            "w@.service",
            "w@a\\x2db.service",
        ] {
            assert_eq!(unit(good).as_str(), good);
        }
        for (bad, why) in [
            ("shop", "does not end with .service"),
            ("shop.timer", "does not end with .service"),
            (".service", "has no name"),
            ("@1.service", "has no name"),
            ("../shop.service", "has no name"),
            ("a/b.service", "letters that no unit has"),
            ("a b.service", "letters that no unit has"),
            ("a@b@c.service", "more than one @"),
            (&format!("{}.service", "x".repeat(248)), "longer than 255"),
        ] {
            let error = bad.parse::<UnitName>().unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn a_template_is_started_by_its_instances() {
        let template = unit("worker@.service");
        assert!(template.is_template() && !unit("worker@1.service").is_template());
        assert_eq!(template.instance("1"), Some(unit("worker@1.service")));
        for (name, instance) in [
            ("worker@.service", ""),
            ("worker@.service", "a/b"),
            ("worker@.service", "a@b"),
            ("worker.service", "1"),
        ] {
            assert_eq!(unit(name).instance(instance), None, "{name} {instance}");
        }
    }
}
