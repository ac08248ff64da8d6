//! Writing so that a power cut leaves either the old or the new.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What could not be done to which file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", .path.display())]
pub struct FileError {
    pub what: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// The disk is full, or the share of it that one may use.
    pub fn is_no_room(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    }
}

/// For `map_err`: names the act and the file.
pub fn failed(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> FileError {
    let path = path.into();
    move |source| FileError { what, path, source }
}

/// Makes names in a directory durable.
pub fn sync_directory(path: &Path) -> Result<(), FileError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("sync", path))
}

/// A new file with these bytes, on the disk when this returns; its name is not. The mode is
/// what it says, whatever the umask.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .map_err(failed("create", path))?;
    let permissions = std::fs::Permissions::from_mode(mode);
    file.set_permissions(permissions)
        .map_err(failed("set the mode of", path))?;
    file.write_all(bytes).map_err(failed("write", path))?;
    file.sync_all().map_err(failed("sync", path))
}

/// Replaces a file: temporary file, sync, rename, sync of the directory. A sync that
/// fails is never tried again, for the kernel may have dropped what it could not write.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = beside(path, "new");
    write_new(&temporary, bytes, mode)?;
    std::fs::rename(&temporary, path).map_err(failed("rename", &temporary))?;
    sync_directory(parent(path))
}

/// `ledger.json` → `ledger.json.new`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

pub fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// A directory and those above it, durably.
pub fn create_directory(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(failed("create", path))?;
    sync_directory(parent(path))
}

/// As [`create_directory`], and never through a link that somebody has put in its place.
pub fn create_own_directory(path: &Path) -> Result<(), FileError> {
    if path.symlink_metadata().is_ok_and(|about| !about.is_dir()) {
        remove(path)?;
    }
    create_directory(path)
}

/// Whether a file lies there itself: not a link to one, nor anything else.
pub fn is_file_itself(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|about| about.is_file())
}

/// A directory that is for all to read, and those above it, durably. What is there already
/// is as somebody wanted it.
pub fn create_public_directory(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    create_public_directory(parent(path))?;
    std::fs::create_dir(path).map_err(failed("create", path))?;
    set_mode(path, 0o755)?;
    sync_directory(parent(path))
}

/// Others may pass through it to what is theirs to read, and may not look around in it.
pub fn let_pass(directory: &Path) -> Result<(), FileError> {
    set_mode(directory, 0o711)
}

pub fn keep_private(directory: &Path) -> Result<(), FileError> {
    set_mode(directory, 0o700)
}

/// A file that is whole: its owner reads it, and nobody else.
pub fn keep_unchanged(file: &Path) -> Result<(), FileError> {
    set_mode(file, 0o400)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), FileError> {
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, permissions).map_err(failed("set the mode of", path))
}

/// Removes a file or a directory with all that is in it, if it is there.
pub fn remove(path: &Path) -> Result<(), FileError> {
    let result = match std::fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(failed("remove", path)),
    }
}
