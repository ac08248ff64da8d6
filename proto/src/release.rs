//! A release: the immutable, signed manifest of what shall run, and how that is judged.

mod check;
mod configuration;
mod files;
mod hooks;
mod migrations;
mod run;
mod run_as;
mod secrets;
mod signed;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{AppName, CheckName, ComponentName, EnvironmentName};
use crate::quantity::{Amount, Span};
use crate::time::Timestamp;
use crate::version::Version;
use crate::waves::WaveSpec;

pub use configuration::EnvironmentOverlay;
pub use files::{ConfigFile, FileMode, FileModeError};
pub use hooks::{Hook, HookName, Hooks};
pub use migrations::{Backup, Migrations};
pub use run::{AgentPackage, OnChange, Pm2, Run, StaticFiles, StopSignal, Supervise, Systemd, UnitName};
pub use run_as::Limits;
pub use secrets::{GivenAs, SecretKeyName, SecretKeyNameError, SecretName, SecretNameError, SecretWanted};
pub use signed::{ReleaseError, SignedManifest};

/// A manifest is read whole and kept in memory; files are listed in trees, not here.
pub const MANIFEST_BYTES_MAX: usize = 512 << 10;
const MANIFEST_FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    pub app: AppName,
    pub version: Version,
    /// Rises with every release of the app; a node's floor is one of these.
    pub counter: u64,
    pub created_at: Timestamp,
    /// In the order in which they start; they stop in the reverse order.
    pub components: Vec<Component>,
    #[serde(default)]
    pub health: HealthRules,
    #[serde(default)]
    pub strategy: Strategy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrations: Option<Migrations>,
    /// `${var.NAME}`, where neither the node nor its environment says otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, String>,
    /// What each environment lays over that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environments: BTreeMap<EnvironmentName, EnvironmentOverlay>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    pub name: ComponentName,
    pub artifacts: BTreeMap<Platform, Artifact>,
    pub run: Run,
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Looked at once, when the bake is over; what does not pass then fails the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub smoke: Vec<Check>,
    /// They define no process: other hooks alone restart nothing.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ConfigFile>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretWanted>,
}

impl Component {
    /// The artifact for this very platform, else the one for any.
    pub fn artifact_for(&self, platform: &Platform) -> Option<&Artifact> {
        self.artifacts
            .get(platform)
            .or_else(|| self.artifacts.get(&Platform::any()))
    }
}

/// Names a component's tree: the digest is that of its encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    pub tree: Digest,
    pub files: u64,
    pub bytes: u64,
}

/// `linux/amd64`, `linux/arm64`, or `any`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a platform; write linux/amd64, linux/arm64 or any")]
pub struct PlatformError(String);

impl Platform {
    pub fn any() -> Self {
        Self("any".to_owned())
    }

    /// The machine this program was built for.
    pub fn here() -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self(format!("{}/{arch}", std::env::consts::OS))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Platform {
    type Err = PlatformError;
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let word = |part: &str| {
            !part.is_empty()
                && part.len() <= 16
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        match text.split_once('/') {
            Some((os, arch)) if word(os) && word(arch) => Ok(Self(text.to_owned())),
            None if text == "any" => Ok(Self::any()),
            _ => Err(PlatformError(text.chars().take(32).collect())),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;
    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> String {
        platform.0
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    pub name: CheckName,
    #[serde(default = "defaults::check_interval")]
    pub interval: Span,
    #[serde(default = "defaults::check_timeout")]
    pub timeout: Span,
    pub probe: Probe,
}

/// What a check looks at. `${…}` is filled in as in [`Supervise`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Probe {
    /// `GET url`; every expected JSON field (`services.database = "connected"`) must be equal.
    Http {
        url: String,
        #[serde(default = "defaults::status")]
        status: u16,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        json: BTreeMap<String, serde_json::Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        latency_max: Option<Span>,
    },
    /// A connection is accepted.
    Tcp { address: String },
    /// The command, run in the component's directory, exits with 0.
    Exec { command: Vec<String> },
    /// The process runs and is not restarting.
    Process,
}

/// When a node counts as verified, and when as failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthRules {
    /// All checks pass for this long without a break…
    pub min_healthy: Span,
    /// …before this long has passed since the process was started.
    pub healthy_deadline: Span,
    /// So many consecutive failures of one check fail a node that was healthy.
    pub failures: u32,
    /// So many restarts since activation are a restart loop.
    pub restarts: u32,
    /// Failed checks among recent ones, in percent.
    pub error_rate: u8,
    /// How far the error rate may rise over the node's baseline, in percent of it.
    pub error_rate_rise: u32,
    /// The 95th percentile of http checks' latency.
    pub response_time: Span,
    /// How far that may rise over the node's baseline, in percent of it.
    pub response_time_rise: u32,
    /// Of one component's processes, in percent of the node's cores.
    pub cpu: u8,
    /// Of one component's processes, in percent of the node's memory.
    pub memory: u8,
    /// A coordinator has to be reached this soon after activation, over a new connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Span>,
}

impl Default for HealthRules {
    fn default() -> Self {
        Self {
            min_healthy: Span::from_secs(10),
            healthy_deadline: Span::from_secs(300),
            failures: 3,
            restarts: 3,
            error_rate: 5,
            error_rate_rise: 50,
            response_time: Span::from_secs(2),
            response_time_rise: 100,
            cpu: 90,
            memory: 90,
            confirm: None,
        }
    }
}

/// How a release wants to be rolled out; an operator's flags override it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Strategy {
    pub waves: WaveSpec,
    /// One for every wave, or the last one repeats.
    pub bake: Vec<Span>,
    pub max_in_flight: Amount,
    pub max_unavailable: Amount,
    /// Besides, if it is said: so many have to remain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_available: Option<Amount>,
    pub max_failures: Amount,
    pub max_unreachable: Amount,
    pub on_failure: OnFailure,
    /// The label over whose values a wave is spread.
    pub spread: String,
    /// Restarts only when a node got good; does not run down at a gate or a pause.
    pub progress_deadline: Span,
    /// How often what failed for want of infrastructure is tried again by itself.
    pub retries: u32,
    /// The first time after so long, then three times as long each time.
    pub retry_after: Span,
    /// A node that is at it for longer has failed, for want of infrastructure.
    pub fetch_deadline: Span,
    pub activate_deadline: Span,
    pub put_back_deadline: Span,
}

impl Default for Strategy {
    fn default() -> Self {
        Self {
            waves: WaveSpec::all(),
            bake: vec![Span::ZERO],
            max_in_flight: Amount::Percent(100),
            // A quarter of a fleet is what most can lose and still serve; at least
            // one node moves all the same.
            max_unavailable: Amount::Percent(25),
            min_available: None,
            max_failures: Amount::Count(0),
            max_unreachable: Amount::Count(0),
            on_failure: OnFailure::Rollback,
            spread: "zone".to_owned(),
            progress_deadline: Span::from_secs(600),
            // A minute altogether: a restart of the store passes in that, an outage does not.
            retries: 3,
            retry_after: Span::from_secs(5),
            // Gigabytes over a slow line.
            fetch_deadline: Span::from_secs(1800),
            // What a stop with its grace and a start take at the very most.
            activate_deadline: Span::from_secs(300),
            put_back_deadline: Span::from_secs(600),
        }
    }
}

impl Strategy {
    pub fn bake_of_wave(&self, index: usize) -> Span {
        self.bake
            .get(index)
            .or(self.bake.last())
            .copied()
            .unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    #[default]
    Rollback,
    Pause,
}

mod defaults {
    use crate::quantity::Span;

    pub(super) fn check_interval() -> Span {
        Span::from_secs(1)
    }
    pub(super) fn check_timeout() -> Span {
        Span::from_secs(2)
    }
    pub(super) fn status() -> u16 {
        200
    }
}

impl Manifest {
    pub const FORMAT: u32 = MANIFEST_FORMAT;
}

/// A release's identity, with the version for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReleaseRef {
    pub version: Version,
    pub digest: Digest,
}

impl fmt::Display for ReleaseRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.version)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
pub(crate) fn sample() -> Manifest {
    serde_json::from_value(serde_json::json!({
        "format": 1, "app": "shop", "version": "v1.0.0", "counter": 1, "created_at": 0,
        "components": [{
            "name": "web",
            "artifacts": { "any": { "tree": Digest::of(b"t"), "files": 1, "bytes": 1 } },
            "run": { "kind": "supervise", "command": ["./web"] },
            "checks": [{ "name": "health", "probe": { "kind": "http", "url": "http://127.0.0.1/health" } }],
        }],
    }))
    .unwrap()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn an_exact_platform_is_preferred_to_any() {
        let mut manifest = sample();
        let exact = Artifact {
            tree: Digest::of(b"amd64"),
            files: 1,
            bytes: 1,
        };
        let amd64: Platform = "linux/amd64".parse().unwrap();
        let component = &mut manifest.components[0];
        component.artifacts.insert(amd64.clone(), exact.clone());
        assert_eq!(component.artifact_for(&amd64), Some(&exact));
        let arm64: Platform = "linux/arm64".parse().unwrap();
        assert_eq!(component.artifact_for(&arm64).unwrap().tree, Digest::of(b"t"));
        assert!("Linux".parse::<Platform>().is_err());
    }

    #[test]
    fn the_last_bake_repeats() {
        let strategy = Strategy {
            bake: vec![Span::from_secs(5), Span::from_secs(10)],
            ..Strategy::default()
        };
        assert_eq!(strategy.bake_of_wave(0), Span::from_secs(5));
        assert_eq!(strategy.bake_of_wave(7), Span::from_secs(10));
    }
}
