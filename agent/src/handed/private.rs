//! Directories on which nobody but their owner has any rights.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::geteuid;

use super::{Owner, PERMISSIONS, hand_over, is_there};
use crate::durable::{self, FileError, failed};

/// A directory on which nobody but its owner has any rights, as a whole: once it is theirs
/// nothing is written into it, for they could have put anything there.
pub(super) fn write(
    directory: &Path,
    files: &[(String, &[u8])],
    owner: Option<Owner>,
) -> Result<(), FileError> {
    if is_so(directory, files, owner) || (files.is_empty() && !directory.exists()) {
        return Ok(());
    }
    let parent = durable::parent(directory);
    durable::create_directory(parent)?;
    durable::let_pass(parent)?;
    let new = durable::beside(directory, "new");
    durable::remove(&new)?;
    create(&new)?;
    for (name, bytes) in files {
        let path = new.join(name);
        durable::write_new(&path, bytes, 0o600)?;
        hand_over(&path, owner)?;
    }
    durable::sync_directory(&new)?;
    hand_over(&new, owner)?;
    if directory.symlink_metadata().is_ok() {
        match renameat2(AT_FDCWD, &new, AT_FDCWD, directory, RenameFlags::RENAME_EXCHANGE) {
            Ok(()) => {
                durable::sync_directory(parent)?;
                return durable::remove(&new);
            }
            // Not every file system can; then there is none for an instant.
            Err(Errno::EINVAL | Errno::ENOSYS) => durable::remove(directory)?,
            Err(errno) => return Err(failed("replace", directory)(io::Error::from(errno))),
        }
    }
    std::fs::rename(&new, directory).map_err(failed("rename", &new))?;
    durable::sync_directory(parent)
}

pub(super) fn create(directory: &Path) -> Result<(), FileError> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => durable::sync_directory(durable::parent(directory)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => durable::keep_private(directory),
        Err(error) => Err(failed("create", directory)(error)),
    }
}

/// All of it, and nothing else.
fn is_so(directory: &Path, files: &[(String, &[u8])], owner: Option<Owner>) -> bool {
    let uid = owner.map_or_else(geteuid, |owner| owner.uid).as_raw();
    let about = directory.symlink_metadata();
    let is_own =
        about.is_ok_and(|about| about.is_dir() && about.mode() & PERMISSIONS == 0o700 && about.uid() == uid);
    let names: BTreeSet<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    is_own
        && names.len() == files.len()
        && files
            .iter()
            .all(|(name, bytes)| is_there(&directory.join(name), bytes, 0o600, owner))
}
