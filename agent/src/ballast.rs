//! Room that is kept for going back.
//!
//! A release that fills the disk is one that the node has to leave, and leaving it needs
//! a little room: for the ledger, for the link, for what a keeper writes down. So some is
//! held back while there is enough, and given up at the moment when there is none.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use nix::fcntl::{FallocateFlags, fallocate};

use crate::durable::{self, FileError, failed};
use crate::layout::Layout;

/// For a ledger of the largest size, twice, and a rollback's few small files.
const BYTES: usize = 4 << 20;

#[derive(Debug, Clone)]
pub struct Ballast {
    path: PathBuf,
}

impl Ballast {
    pub fn new(layout: &Layout) -> Self {
        Self {
            path: layout.ballast(),
        }
    }

    /// Holds the room back, if it is not held already. What cannot be had is not kept
    /// in part: the disk is full enough.
    pub fn keep(&self) -> Result<(), FileError> {
        if self.is_held() {
            return Ok(());
        }
        // One that a power cut left half made holds nothing.
        durable::remove(&self.path)?;
        let kept = create(&self.path).map_err(failed("keep room by", &self.path));
        if kept.is_err() {
            durable::remove(&self.path)?;
        }
        kept
    }

    fn is_held(&self) -> bool {
        const BLOCK_BYTES: u64 = 512;
        let about = self.path.symlink_metadata();
        about.is_ok_and(|about| about.blocks() * BLOCK_BYTES >= BYTES as u64)
    }

    /// True if there was any to give up, so that it is worth trying again.
    pub fn give_up(&self) -> bool {
        let given_up = std::fs::remove_file(&self.path).is_ok();
        if given_up {
            tracing::warn!("the disk is full; what was kept of it for going back is used now");
        }
        given_up
    }
}

fn create(path: &std::path::Path) -> io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let bytes = i64::try_from(BYTES).map_err(io::Error::other)?;
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        // Not every file system can hold room without writing to it.
        Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::ENOSYS) => {
            file.write_all(&vec![0; BYTES])?;
            file.sync_all()
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn room_is_really_held_and_given_up_once() {
        let directory = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(&Layout::new(directory.path()));
        assert!(!ballast.give_up());
        ballast.keep().unwrap();
        ballast.keep().unwrap();
        let about = ballast.path.metadata().unwrap();
        assert!(about.blocks() * 512 >= BYTES as u64);
        assert!(ballast.give_up());
        assert!(!ballast.give_up());
        // The power went just after it was begun.
        std::fs::write(&ballast.path, "").unwrap();
        ballast.keep().unwrap();
        assert!(ballast.is_held());
    }
}
