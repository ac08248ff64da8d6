//! Backups: made before `up`, kept whole or not at all.

use std::path::{Path, PathBuf};

use fleet_proto::release::Backup;
use fleet_proto::session::FailureClass;
use fleet_proto::time::Timestamp;

use super::Job;
use crate::boundary::{Boundary, boundary};
use crate::durable::{self, FileError, failed};
use crate::effects::{Failed, chain, failure};
use crate::process::end::End;

impl Job {
    /// Of this release.
    pub(super) fn newest_backup(&self) -> Option<PathBuf> {
        newest(&self.backups(), &self.suffix())
    }

    pub(super) fn back_up(&mut self, backup: &Backup) -> Result<PathBuf, Failed> {
        let disk = |error: FileError| {
            failure(
                FailureClass::Infrastructure,
                format!("no backup: {}", chain(&error)),
            )
        };
        let directory = self.backups();
        durable::create_directory(&directory).map_err(disk)?;
        durable::keep_private(&directory).map_err(disk)?;
        forget_halves(&directory);
        // What a failed `up` has left is no state to come back to.
        let newest = self.newest_backup();
        if let Some(path) = newest.filter(|path| self.is_of_this_rollout(path)) {
            forget_older(&directory, &path, backup.keep);
            return Ok(path);
        }
        let name = format!("{}-{}{}", Timestamp::now().0, self.order.0.0, self.suffix());
        let path = directory.join(name);
        let part = durable::beside(&path, "part");
        self.let_in(&directory, &part).map_err(disk)?;
        self.words.backup = Some(part.clone());
        boundary(Boundary::BackupBegun);
        let end = self.errand("backup", &backup.command, backup.timeout)?;
        boundary(Boundary::BackupMade);
        if end != End::Exited(0) {
            let _is_of_no_use = durable::remove(&part);
            return Err(self.told("backup", &end));
        }
        if std::fs::metadata(&part).map_or(0, |about| about.len()) == 0 {
            let why = "the backup's command succeeded, and there is nothing in ${backup}";
            return Err(failure(FailureClass::Release, why));
        }
        keep(&part, &path).map_err(disk)?;
        self.words.backup = Some(path.clone());
        boundary(Boundary::BackupKept);
        // One that an earlier agent had begun may have gone on until this one began.
        forget_halves(&directory);
        forget_older(&directory, &path, backup.keep);
        tracing::info!(app = %self.converge.app, backup = %path.display(), "the database was backed up");
        Ok(path)
    }

    /// Somebody else's command writes it: it is theirs until it is whole.
    fn let_in(&self, directory: &Path, part: &Path) -> Result<(), FileError> {
        let Some(name) = &self.migrations.user else {
            return Ok(());
        };
        durable::write_new(part, b"", 0o600)?;
        if let Ok(Some(user)) = nix::unistd::User::from_name(name) {
            nix::unistd::chown(part, Some(user.uid), Some(user.gid))
                .map_err(|errno| failed("hand over", part)(errno.into()))?;
            durable::let_pass(directory)?;
            durable::let_pass(&self.converge.layout.app(&self.converge.app))?;
        }
        Ok(())
    }

    fn backups(&self) -> PathBuf {
        self.converge.layout.backups(&self.converge.app)
    }

    /// How the names of this release's backups end.
    fn suffix(&self) -> String {
        format!("-{}", self.release.version)
    }

    fn is_of_this_rollout(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = name.split('-').nth(1).and_then(|number| number.parse().ok());
        number == Some(self.order.0.0)
    }
}

/// Whole and on the disk before it has its name.
fn keep(part: &Path, path: &Path) -> Result<(), FileError> {
    let file = std::fs::File::open(part).map_err(failed("open", part))?;
    file.sync_all().map_err(failed("sync", part))?;
    // Whoever has written it may read it: going down may need it.
    durable::keep_unchanged(part)?;
    std::fs::rename(part, path).map_err(failed("rename", part))?;
    durable::sync_directory(durable::parent(path))
}

/// Newest last: their names begin with the time. Then those that never became whole.
fn all(directory: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    all.sort();
    all.into_iter()
        .partition(|path| path.extension().is_none_or(|suffix| suffix != "part"))
}

fn newest(directory: &Path, suffix: &str) -> Option<PathBuf> {
    let (mut all, _) = all(directory);
    all.retain(|path| path.to_string_lossy().ends_with(suffix));
    all.pop()
}

/// Never the one that is needed now, whatever the clock said when it was made.
fn forget_older(directory: &Path, needed: &Path, keep: u32) {
    let (mut others, _) = all(directory);
    others.retain(|path| path != needed);
    let excess = (others.len() + 1).saturating_sub(keep.max(1) as usize);
    forget(&others[..excess.min(others.len())]);
}

/// What was being written when the agent or the machine went: it would take the room of a
/// backup for good, for the next one has another name.
fn forget_halves(directory: &Path) {
    forget(&all(directory).1);
}

fn forget(backups: &[PathBuf]) {
    for path in backups {
        if let Err(error) = durable::remove(path) {
            tracing::warn!(error = chain(&error), "an old backup stays");
        }
    }
}
