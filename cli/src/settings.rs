//! Where to connect and as whom: flags, then the environment, then
//! `~/.config/fleet/config.toml`.

use std::path::PathBuf;

use fleet_proto::config;
use serde::Deserialize;

use crate::error::Error;

/// The flags that every verb has.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Where {
    /// The coordinator, as https://host:7443
    #[arg(
        long,
        global = true,
        env = "FLEET_COORDINATOR",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Global options"
    )]
    pub coordinator: Option<String>,
    /// The directory with the operator's cert.pem, key.pem and ca.pem
    #[arg(
        long,
        global = true,
        env = "FLEET_IDENTITY",
        hide_env_values = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub identity: Option<PathBuf>,
}

/// `config.toml`, all of it optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub coordinator: Option<String>,
    pub identity: Option<PathBuf>,
    pub release_key: Option<PathBuf>,
    pub app: Option<String>,
    pub environment: Option<String>,
}

/// `~/.config/fleet`, or where `XDG_CONFIG_HOME` says.
pub fn directory() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".config")))
        .map(|config| config.join("fleet"))
}

impl Settings {
    /// A file that is not there is an empty one.
    pub fn read() -> Result<Self, Error> {
        let Some(path) = directory().map(|directory| directory.join("config.toml")) else {
            return Ok(Self::default());
        };
        if !path.exists() {
            return Ok(Self::default());
        }
        Ok(config::read(&path)?)
    }

    pub fn coordinator(&self, given: &Where) -> Result<String, Error> {
        given.coordinator.clone().or_else(|| self.coordinator.clone()).ok_or_else(|| {
            Error::usage(
                "which coordinator? none is named",
                "`fleetctl dev` starts a fleet on this machine; otherwise give --coordinator https://host:7443, \
                 set FLEET_COORDINATOR, or write `coordinator = \"https://host:7443\"` to ~/.config/fleet/config.toml",
            )
        })
    }

    pub fn identity(&self, given: &Where) -> Result<PathBuf, Error> {
        given
            .identity
            .clone()
            .or_else(|| self.identity.clone())
            .ok_or_else(|| {
                Error::usage(
                    "who are you? no operator's certificate is named",
                    "give --identity DIR, set FLEET_IDENTITY, or write `identity = \"DIR\"` to \
                 ~/.config/fleet/config.toml; `fleet-coordinator init` wrote the first one",
                )
            })
    }
}
