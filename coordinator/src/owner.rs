//! Whose a directory is. What root makes in the directory of a service's user, that user
//! cannot read, and the service would not start.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, geteuid};

#[derive(Debug, thiserror::Error)]
#[error("{} belongs to {owner}, who could not read what root makes there\nhint: runuser -u {owner} -- {again}", .directory.display())]
pub struct NotOwner {
    directory: PathBuf,
    owner: String,
    /// What was asked for, to be asked for as the owner.
    again: String,
}

/// Anybody but root is told by the kernel. A directory that is not there yet is whose makes it.
pub fn must_not_be_roots_doing(directory: &Path, again: &str) -> Result<(), NotOwner> {
    must_be(geteuid(), directory, again)
}

fn must_be(user: Uid, directory: &Path, again: &str) -> Result<(), NotOwner> {
    let Ok(about) = directory.metadata() else {
        return Ok(());
    };
    let owner = Uid::from_raw(about.uid());
    if !user.is_root() || owner == user {
        return Ok(());
    }
    let name = User::from_uid(owner).ok().flatten().map(|user| user.name);
    Err(NotOwner {
        directory: directory.to_owned(),
        owner: name.unwrap_or_else(|| owner.to_string()),
        again: again.to_owned(),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn root_is_kept_from_what_is_somebody_elses() {
        let directory = tempfile::tempdir().unwrap();
        let own = Uid::from_raw(directory.path().metadata().unwrap().uid());
        let root = Uid::from_raw(0);
        assert!(must_be(own, directory.path(), "").is_ok());
        assert!(must_be(root, Path::new("/nowhere"), "").is_ok());
        if !geteuid().is_root() {
            assert!(must_be(root, directory.path(), "").is_err());
            return;
        }
        std::os::unix::fs::chown(directory.path(), Some(3_999_999), None).unwrap();
        let error = must_be(root, directory.path(), "fleet-coordinator init").unwrap_err();
        let message = error.to_string();
        assert!(
            message.ends_with("hint: runuser -u 3999999 -- fleet-coordinator init"),
            "{message}"
        );
    }
}
