//! One coordinator a state directory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

use super::error::{JournalError, file};

const LOCK_FILE: &str = "lock";

/// Held for as long as the process lives: the kernel lets go of it however it dies.
pub(super) struct DirectoryLock {
    _lock: Flock<File>,
}

impl DirectoryLock {
    pub(super) fn take(directory: &Path) -> Result<Self, JournalError> {
        let path = directory.join(LOCK_FILE);
        let handle = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(file("open", &path))?;
        let mut lock = Flock::lock(handle, FlockArg::LockExclusiveNonblock).map_err(|(mut held, _)| {
            let mut text = String::new();
            // Without the number the message is still true.
            let _ = held.read_to_string(&mut text);
            JournalError::InUse {
                directory: directory.to_owned(),
                pid: text.trim().parse().ok(),
            }
        })?;
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(file("write", &path))?;
        Ok(Self { _lock: lock })
    }
}
