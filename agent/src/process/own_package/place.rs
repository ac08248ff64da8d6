//! Where an update of the agent is written down, for whoever takes it up.
//!
//! ```text
//! record.json   what is to be done, and how far it is
//! guard         a copy of the program that began it, which sees it to its end
//! lock          held by the guard
//! new.deb       what is to be installed
//! kept.deb      what is installed, to go back to; kept.json says what that is
//! reached.json  the agent that has reached a coordinator since
//! dpkg/         dpkg at work, and what it says
//! aside/ tree/  a package taken apart; one that is put together
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};

use fleet_proto::digest::Digest;
use nix::fcntl::Flock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::record::{Package, Process, Record};
use crate::durable::{self, FileError, failed};
use crate::process::errand::Errand;
use crate::process::run_directory;

/// The package's own, wherever the agent's state is: the guard's unit names it.
const UPDATE: &str = "/var/lib/fleet/agent/update";

#[derive(Debug, Clone)]
pub struct Place {
    directory: PathBuf,
}

/// What `kept.deb` is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub package: Package,
    pub file: Digest,
}

impl Place {
    pub fn of_this_node() -> Self {
        Self::new(UPDATE)
    }

    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    pub fn create(&self) -> Result<(), FileError> {
        durable::create_own_directory(&self.directory)?;
        durable::keep_private(&self.directory)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn dpkg(&self) -> Errand {
        Errand::new(self.path("dpkg"))
    }

    /// None also where nobody could read it: another version wrote it, and what is installed
    /// says the rest.
    pub fn record(&self) -> Option<Record> {
        self.read("record.json")
    }

    pub fn has_record(&self) -> bool {
        self.path("record.json").exists()
    }

    pub fn write_record(&self, record: &Record) -> Result<(), FileError> {
        self.write("record.json", record)
    }

    pub fn forget_record(&self) -> Result<(), FileError> {
        self.forget("record.json")
    }

    pub fn kept(&self) -> Option<Kept> {
        self.read("kept.json")
    }

    pub fn write_kept(&self, kept: &Kept) -> Result<(), FileError> {
        self.write("kept.json", kept)
    }

    /// That package is kept, whole.
    pub fn keeps(&self, package: &Package) -> bool {
        let kept = self.kept().filter(|kept| kept.package == *package);
        kept.is_some_and(|kept| digest_of(&self.path("kept.deb")).is_ok_and(|file| file == kept.file))
    }

    pub fn reached(&self) -> Option<Process> {
        self.read("reached.json")
    }

    pub fn write_reached(&self, by: &Process) -> Result<(), FileError> {
        self.write("reached.json", by)
    }

    pub fn forget_reached(&self) -> Result<(), FileError> {
        self.forget("reached.json")
    }

    /// None while a guard is at it.
    pub fn lock(&self) -> Result<Option<Flock<File>>, FileError> {
        run_directory::lock(&self.path("lock"))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&std::fs::read(self.path(name)).ok()?).ok()
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), FileError> {
        let path = self.path(name);
        let bytes = serde_json::to_vec(value).map_err(|error| failed("encode", &path)(error.into()))?;
        durable::replace(&path, &bytes, 0o600)
    }

    fn forget(&self, name: &str) -> Result<(), FileError> {
        let path = self.path(name);
        if !path.exists() {
            return Ok(());
        }
        durable::remove(&path)?;
        durable::sync_directory(&self.directory)
    }
}

pub fn digest_of(path: &Path) -> Result<Digest, FileError> {
    let digest = File::open(path).and_then(Digest::of_reader);
    Ok(digest.map_err(failed("read", path))?.0)
}

/// A copy in place of what is there, on the disk when this returns.
pub fn copy(from: &Path, to: &Path, mode: u32) -> Result<Digest, FileError> {
    let new = durable::beside(to, "new");
    durable::write_new(&new, &[], mode)?;
    let mut source = File::open(from).map_err(failed("read", from))?;
    let mut target = File::options()
        .write(true)
        .open(&new)
        .map_err(failed("open", &new))?;
    std::io::copy(&mut source, &mut target)
        .and_then(|_| target.sync_all())
        .map_err(failed("write", &new))?;
    let digest = digest_of(&new)?;
    std::fs::rename(&new, to).map_err(failed("rename", &new))?;
    durable::sync_directory(durable::parent(to))?;
    Ok(digest)
}
