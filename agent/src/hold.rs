//! The node's durable side, held by one process at a time: lock and ledger.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::fcntl::Flock;

use crate::durable::{self, FileError, failed};
use crate::layout::Layout;
use crate::ledger::{LedgerError, LedgerFile};
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
    _lock: Flock<File>,
}

pub fn hold(layout: &Layout) -> Result<Held, HoldError> {
    durable::create_directory(layout.root())?;
    // Keys, sockets and logs lie in it.
    std::fs::set_permissions(layout.root(), std::fs::Permissions::from_mode(0o700))
        .map_err(failed("set the mode of", layout.root()))?;
    let lock = lock(&layout.lock())?.ok_or_else(|| HoldError::Held(layout.root().to_owned()))?;
    let ledger = LedgerFile::open(&layout.ledger())?;
    if let Some(damage) = &ledger.fell_back {
        tracing::error!(
            damage,
            "the newest ledger could not be used; going on from the one before it, which may know one order less"
        );
    }
    Ok(Held { ledger, _lock: lock })
}
