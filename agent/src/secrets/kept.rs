//! From where whoever starts a process, long after the agent, has what is only in its
//! environment: one file a secret, in a directory that is the agent's alone.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fleet_proto::ids::AppName;
use fleet_proto::release::SecretName;
use serde::{Deserialize, Serialize};

use super::{Secret, redact};
use crate::durable::{FileError, failed};
use crate::handed;
use crate::layout::Layout;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvFrom {
    pub directory: PathBuf,
    pub names: Vec<SecretName>,
}

/// What was read of it.
#[derive(Debug, Clone, Default)]
pub struct SecretEnv(Vec<(SecretName, Secret)>);

impl EnvFrom {
    pub fn read(&self) -> Result<SecretEnv, FileError> {
        let read = |name: &SecretName| Ok((name.clone(), read(&self.directory.join(name.as_str()))?));
        self.names
            .iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(SecretEnv)
    }
}

impl SecretEnv {
    pub fn of(secrets: impl IntoIterator<Item = (SecretName, Secret)>) -> Self {
        Self(secrets.into_iter().collect())
    }

    /// As a command takes it.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        self.0
            .iter()
            .map(|(name, secret)| (name.as_str(), OsStr::from_bytes(secret.expose())))
    }
}

pub fn read(path: &Path) -> Result<Secret, FileError> {
    let bytes = std::fs::read(path).map_err(failed("read", path))?;
    Secret::new(bytes).map_err(|unfit| failed("read", path)(std::io::Error::other(unfit)))
}

/// Whatever an app's processes may write of what they were told: an agent that starts has not
/// told them itself.
pub fn know_all(layout: &Layout, app: &AppName) {
    for path in handed::kept_files(layout, app) {
        if let Ok(secret) = read(&path) {
            redact::know(&secret);
        }
    }
}
