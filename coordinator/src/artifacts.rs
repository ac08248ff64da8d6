//! The artifacts: bytes by their digest, files of a directory.
//!
//! ```text
//!  ab/abcdef…      the blob with that digest; a release's manifest is one of them
//!  ab/abcdef….sig  who signed that manifest
//!  *.partial       being written; swept at start
//!  *.damaged       was not what its name says; set aside
//! ```
//!
//! A name appears when its bytes are whole: written beside, hashed on the way, synced,
//! renamed. An upload of thousands of files syncs the file system once
//! (see [`Upload::finish`]) and not each file.

mod error;
mod read;
mod room;
mod signed;
mod upload;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fleet_proto::digest::Digest;

use crate::durable;
use error::file;

pub use error::ArtifactError;
pub use read::Blob;
pub use upload::Upload;

/// An artifact is part of an app; a disk image is not one.
pub const BLOB_BYTES_MAX: u64 = 16 << 30;

#[derive(Debug, Clone)]
pub struct Artifacts {
    directory: PathBuf,
    /// Held while a signature is added to those that are there.
    signing: Arc<Mutex<()>>,
    /// Bytes that left for somebody, since this process began.
    served: Arc<AtomicU64>,
}

impl Artifacts {
    /// Opens the store and sweeps what a crash left half written.
    pub fn open(directory: &Path) -> Result<Self, ArtifactError> {
        durable::create_directory(directory).map_err(file("create", directory))?;
        for first in 0..=u8::MAX {
            let shelf = directory.join(format!("{first:02x}"));
            if !shelf.is_dir() {
                fs::create_dir(&shelf).map_err(file("create", &shelf))?;
            }
            sweep(&shelf)?;
        }
        durable::sync_directory(directory).map_err(file("sync", directory))?;
        Ok(Self {
            directory: directory.to_owned(),
            signing: Arc::default(),
            served: Arc::default(),
        })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.directory.join(&name[..2]).join(name)
    }

    pub fn holds(&self, digest: &Digest) -> bool {
        self.bytes_of(digest).is_some()
    }

    /// How large it is, if it is here.
    pub fn bytes_of(&self, digest: &Digest) -> Option<u64> {
        let found = fs::metadata(self.path(digest)).ok()?;
        found.is_file().then_some(found.len())
    }

    /// Those of the digests that are not here, in their order.
    pub fn missing(&self, digests: &[Digest]) -> Vec<Digest> {
        digests
            .iter()
            .filter(|digest| !self.holds(digest))
            .copied()
            .collect()
    }

    /// Nobody names it any more.
    pub fn remove(&self, digest: &Digest) -> Result<(), ArtifactError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file("remove", path)(error)),
            _ => Ok(()),
        }
    }

    pub fn note_served(&self, bytes: usize) {
        self.served.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn served_bytes(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Whether the store can be read and written just now.
    pub fn is_reachable(&self) -> bool {
        self.directory.is_dir()
    }
}

fn sweep(shelf: &Path) -> Result<(), ArtifactError> {
    for entry in fs::read_dir(shelf).map_err(file("list", shelf))? {
        let path = entry.map_err(file("list", shelf))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.ends_with(durable::PARTIAL_SUFFIX) {
            fs::remove_file(&path).map_err(file("remove", &path))?;
        }
    }
    Ok(())
}
