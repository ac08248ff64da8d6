//! The node's durable side, held by one process at a time: lock and ledger.

use std::fs::File;
use std::path::PathBuf;

use nix::fcntl::Flock;

use crate::ballast::Ballast;
use crate::durable::{self, FileError};
use crate::effects::chain;
use crate::layout::Layout;
use crate::ledger::{Ledger, LedgerError, LedgerFile};
use crate::process::run_directory::lock;

#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("another fleet-agent works in {}\nhint: `fleet-agent status` asks it", .0.display())]
    Held(PathBuf),
}

/// Whoever has this may write.
pub struct Held {
    pub ledger: LedgerFile,
    ballast: Ballast,
    _lock: Flock<File>,
}

pub fn hold(layout: &Layout) -> Result<Held, HoldError> {
    durable::create_directory(layout.root())?;
    // To the files of releases, which apps run as other users. Keys and logs lie in
    // directories of their own.
    durable::let_pass(layout.root())?;
    let lock = lock(&layout.lock())?.ok_or_else(|| HoldError::Held(layout.root().to_owned()))?;
    let ledger = LedgerFile::open(&layout.ledger())?;
    if let Some(damage) = &ledger.fell_back {
        tracing::error!(
            damage,
            "the newest ledger could not be used; going on from the one before it, which may know one order less"
        );
    }
    let held = Held {
        ledger,
        ballast: Ballast::new(layout),
        _lock: lock,
    };
    held.keep_ballast();
    Ok(held)
}

impl Held {
    pub fn keep_ballast(&self) {
        if let Err(error) = self.ballast.keep() {
            tracing::warn!(error = chain(&error), "no room can be kept for going back");
        }
    }

    /// A full disk is what a rollback may have to lead out of.
    pub fn write(&mut self, ledger: Ledger) -> Result<(), LedgerError> {
        match self.ledger.write(ledger.clone()) {
            Err(LedgerError::File(error)) if error.is_no_room() && self.ballast.give_up() => {
                self.ledger.write(ledger)
            }
            other => other,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_does_not_keep_a_node_from_noting_that_it_goes_back() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path());
        let mut held = hold(&layout).unwrap();
        assert!(layout.ballast().exists());
        let noted = |floor: u64| {
            let mut ledger = Ledger::default();
            let record = crate::ledger::AppRecord {
                floor,
                ..Default::default()
            };
            ledger.apps.insert("shop".parse().unwrap(), record);
            ledger
        };
        held.write(noted(1)).unwrap();
        // Every write to it fails as on a full disk.
        let full = || {
            let new = durable::beside(&layout.ledger(), "new");
            std::os::unix::fs::symlink("/dev/full", new).unwrap();
        };
        full();
        held.write(noted(2)).unwrap();
        assert!(!layout.ballast().exists());
        assert_eq!(LedgerFile::look(&layout.ledger()).unwrap(), noted(2));
        // Once it is used up, what is written down is still what was.
        full();
        assert!(held.write(noted(3)).is_err());
        assert_eq!(LedgerFile::look(&layout.ledger()).unwrap(), noted(2));
        held.keep_ballast();
        assert!(layout.ballast().exists());
    }
}
