//! `apps/<app>/run/<component>/`: what agent and keeper tell each other.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fleet_proto::digest::Digest;
use fleet_proto::time::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::proc::ProcessId;
use super::spec::Spec;
use crate::durable::{self, FileError, failed};

/// Marks all that a keeper starts: by it a leftover is found that has left its session.
pub const RUN_VARIABLE: &str = "FLEET_RUN";

/// What runs, as its keeper says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeeperState {
    pub boot: String,
    /// The fingerprint of what it was started with.
    pub spec: Digest,
    pub keeper: ProcessId,
    pub app: Option<ProcessId>,
    /// Since this keeper was started.
    pub restarts: u64,
    /// Since when the app runs, or since when it does not.
    pub since: Timestamp,
    pub last_exit: Option<String>,
}

#[derive(Debug, Clone)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub fn create(&self) -> Result<(), FileError> {
        std::fs::create_dir_all(&self.path).map_err(failed("create", &self.path))?;
        // What an app writes is not for everybody.
        durable::keep_private(&self.path)
    }

    pub fn spec(&self) -> Option<Spec> {
        self.read("spec.json")
    }

    pub fn write_spec(&self, spec: &Spec) -> Result<(), FileError> {
        self.prepare_spec(spec)?;
        self.rename_new("spec.json")
    }

    /// Beside the one that holds, so that after this no room is needed to make it hold.
    pub fn prepare_spec(&self, spec: &Spec) -> Result<(), FileError> {
        self.write_beside("spec.json", spec)
    }

    /// A keeper that was started and has not read it yet ends at once.
    pub fn forget_spec(&self) -> Result<(), FileError> {
        durable::remove(&self.path.join("spec.json"))
    }

    /// As [`RunDirectory::write_spec`], for what goes on after a power cut.
    pub fn write_spec_durably(&self, spec: &Spec) -> Result<(), FileError> {
        self.prepare_spec(spec)?;
        let new = durable::beside(&self.path.join("spec.json"), "new");
        let sync = File::open(&new).and_then(|file| file.sync_all());
        sync.map_err(failed("sync", &new))?;
        self.rename_new("spec.json")?;
        durable::sync_directory(&self.path)
    }

    /// Where logs ended when the component was started, of a manager that goes on writing to
    /// the same ones.
    pub fn write_logs(&self, ends: &BTreeMap<PathBuf, u64>) -> Result<(), FileError> {
        self.write("logs.json", ends)
    }

    pub fn logs(&self) -> Option<BTreeMap<PathBuf, u64>> {
        self.read("logs.json")
    }

    /// The fingerprint of what was started and has not been touched since, where no keeper
    /// says it.
    pub fn started(&self) -> Option<Digest> {
        std::fs::read_to_string(self.path.join("started"))
            .ok()?
            .parse()
            .ok()
    }

    /// All of [`RunDirectory::note_started`] that needs room.
    pub fn prepare_started(&self, spec: Digest) -> Result<(), FileError> {
        let new = durable::beside(&self.path.join("started"), "new");
        let text = spec.to_string();
        match std::fs::read_to_string(&new) {
            Ok(prepared) if prepared == text => Ok(()),
            _ => durable::write_new(&new, text.as_bytes(), 0o600),
        }
    }

    pub fn note_started(&self, spec: Digest) -> Result<(), FileError> {
        self.prepare_started(spec)?;
        self.rename_new("started")?;
        durable::sync_directory(&self.path)
    }

    /// Before anything is done to it: after a power cut it must not seem untouched.
    pub fn forget_started(&self) -> Result<(), FileError> {
        let path = self.path.join("started");
        if !path.exists() {
            return Ok(());
        }
        durable::remove(&path)?;
        durable::sync_directory(&self.path)
    }

    /// None also when it speaks of an earlier boot.
    pub fn state(&self) -> Option<KeeperState> {
        let state: KeeperState = self.read("state.json")?;
        super::proc::is_this_boot(&state.boot).then_some(state)
    }

    pub fn write_state(&self, state: &KeeperState) -> Result<(), FileError> {
        self.write("state.json", state)
    }

    /// None if a keeper holds it.
    pub fn lock(&self) -> Result<Option<Flock<File>>, FileError> {
        lock(&self.path.join("lock"))
    }

    pub(super) fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&std::fs::read(self.path.join(name)).ok()?).ok()
    }

    /// Atomic, and not durable: after a power cut no process is left to speak of.
    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), FileError> {
        self.write_beside(name, value)?;
        self.rename_new(name)
    }

    fn write_beside(&self, name: &str, value: &impl Serialize) -> Result<(), FileError> {
        let path = self.path.join(name);
        let new = durable::beside(&path, "new");
        let bytes = serde_json::to_vec(value)
            .map_err(|error| failed("encode", &path)(std::io::Error::other(error)))?;
        if std::fs::read(&new).is_ok_and(|prepared| prepared == bytes) {
            return Ok(());
        }
        std::fs::write(&new, bytes).map_err(failed("write", &new))
    }

    fn rename_new(&self, name: &str) -> Result<(), FileError> {
        let path = self.path.join(name);
        let new = durable::beside(&path, "new");
        std::fs::rename(&new, &path).map_err(failed("rename", &new))
    }
}

/// A lock that goes with its holder, however that ends. None if another holds it.
pub fn lock(path: &Path) -> Result<Option<Flock<File>>, FileError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed("open", path))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(failed("lock", path)(errno.into())),
    }
}
