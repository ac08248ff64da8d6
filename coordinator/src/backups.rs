//! Backups that nodes made before they migrated: bytes by their digest, as artifacts are, and
//! beside them a record of each.
//!
//! ```text
//!  blobs/ab/abcdef…   the bytes
//!  records/42.json    whose they are: of the migration of rollout 42
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fleet_proto::ids::RolloutNumber;
use fleet_proto::view::BackupView;

use crate::artifacts::{ArtifactError, Artifacts, Upload};
use crate::durable;

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("cannot {what} {}", .path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

#[derive(Debug, Clone)]
pub struct Backups {
    records: PathBuf,
    blobs: Artifacts,
    /// Held while records come and go.
    keeping: Arc<Mutex<()>>,
}

impl Backups {
    pub fn open(directory: &Path) -> Result<Self, BackupError> {
        let records = directory.join("records");
        durable::create_directory(&records).map_err(file("create", &records))?;
        Ok(Self {
            blobs: Artifacts::open(&directory.join("blobs"))?,
            records,
            keeping: Arc::default(),
        })
    }

    pub fn blobs(&self) -> &Artifacts {
        &self.blobs
    }

    /// The newest last.
    pub fn all(&self) -> Result<Vec<BackupView>, BackupError> {
        let mut all = Vec::new();
        let entries = std::fs::read_dir(&self.records).map_err(file("list", &self.records))?;
        for entry in entries {
            let path = entry.map_err(file("list", &self.records))?.path();
            if path.extension().is_none_or(|suffix| suffix != "json") {
                continue;
            }
            let text = std::fs::read(&path).map_err(file("read", &path))?;
            match serde_json::from_slice::<BackupView>(&text) {
                Ok(record) => all.push(record),
                // Its bytes stay; whoever lists the others is not kept from them.
                Err(error) => {
                    tracing::error!(path = %path.display(), %error, "a backup's record cannot be read");
                }
            }
        }
        all.sort_by_key(|record| record.rollout);
        Ok(all)
    }

    pub fn of(&self, rollout: RolloutNumber) -> Result<Option<BackupView>, BackupError> {
        Ok(self.all()?.into_iter().find(|record| record.rollout == rollout))
    }

    /// Its bytes are there. Of the others of this app and environment only the newest stay, so
    /// that there are so many.
    pub fn keep(&self, upload: Upload, record: &BackupView, keep: u32) -> Result<(), BackupError> {
        let _one_at_a_time = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        upload.finish()?;
        let replaced = self.of(record.rollout)?;
        let path = self.record(record.rollout);
        let text = serde_json::to_vec(record).map_err(|error| file("encode", &path)(error.into()))?;
        durable::write_file(&path, &text).map_err(file("write", &path))?;
        // What has come is kept, whatever becomes of the others.
        let forgotten = self.forget_older(record, keep);
        let replaced = replaced.map_or(Ok(()), |replaced| self.forget_bytes(&replaced));
        if let Err(error) = forgotten.and(replaced) {
            tracing::warn!(%error, "an old backup stays");
        }
        Ok(())
    }

    /// Unless another record names them.
    fn forget_bytes(&self, gone: &BackupView) -> Result<(), BackupError> {
        if !self.all()?.iter().any(|record| record.digest == gone.digest) {
            self.blobs.remove(&gone.digest)?;
        }
        Ok(())
    }

    /// Never the one that has just come: a rollout with a higher number may have been quicker.
    fn forget_older(&self, newest: &BackupView, keep: u32) -> Result<(), BackupError> {
        let all = self.all()?;
        let of_database = |record: &&BackupView| {
            (&record.app, &record.environment) == (&newest.app, &newest.environment)
                && record.rollout != newest.rollout
        };
        let others: Vec<&BackupView> = all.iter().filter(of_database).collect();
        let excess = others.len().saturating_sub((keep as usize).saturating_sub(1));
        let (old, _) = others.split_at(excess);
        for record in old {
            let path = self.record(record.rollout);
            std::fs::remove_file(&path).map_err(file("remove", &path))?;
            // A record must not come back without its bytes.
            durable::sync_directory(&self.records).map_err(file("sync", &self.records))?;
            self.forget_bytes(record)?;
        }
        Ok(())
    }

    fn record(&self, rollout: RolloutNumber) -> PathBuf {
        self.records.join(format!("{}.json", rollout.0))
    }
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { what, path, source }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use fleet_proto::digest::Digest;
    use fleet_proto::release::ReleaseRef;
    use fleet_proto::time::Timestamp;

    use super::*;

    fn record(app: &str, rollout: u64, bytes: &[u8]) -> BackupView {
        BackupView {
            app: app.parse().unwrap(),
            environment: "production".parse().unwrap(),
            rollout: RolloutNumber(rollout),
            release: ReleaseRef {
                version: "v1.0.0".parse().unwrap(),
                digest: Digest::of(b"release"),
            },
            node: "n01".parse().unwrap(),
            at: Timestamp(rollout),
            digest: Digest::of(bytes),
            bytes: bytes.len() as u64,
        }
    }

    fn keep(backups: &Backups, record: &BackupView, bytes: &[u8], keep: u32) {
        let mut upload = backups.blobs().upload();
        let size = bytes.len() as u64;
        upload.piece(record.digest, size, 0, bytes).unwrap();
        backups.keep(upload, record, keep).unwrap();
    }

    fn numbers(backups: &Backups) -> Vec<u64> {
        backups
            .all()
            .unwrap()
            .iter()
            .map(|record| record.rollout.0)
            .collect()
    }

    #[test]
    fn the_newest_of_each_app_stay_and_so_do_their_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let backups = Backups::open(directory.path()).unwrap();
        let first = record("shop", 1, b"one");
        keep(&backups, &first, b"one", 2);
        let other = record("till", 2, b"till");
        keep(&backups, &other, b"till", 2);
        // The same bytes as before.
        let third = record("shop", 3, b"one");
        keep(&backups, &third, b"one", 2);
        let fourth = record("shop", 10, b"two");
        keep(&backups, &fourth, b"two", 2);
        assert_eq!(numbers(&backups), [2, 3, 10]);
        assert!(
            backups.blobs().holds(&first.digest),
            "the third has the same bytes"
        );
        let fifth = record("shop", 11, b"three");
        keep(&backups, &fifth, b"three", 2);
        assert_eq!(numbers(&backups), [2, 10, 11]);
        assert!(!backups.blobs().holds(&first.digest));
        let again = Backups::open(directory.path()).unwrap();
        assert_eq!(again.of(RolloutNumber(10)).unwrap(), Some(fourth));
        assert_eq!(again.of(RolloutNumber(3)).unwrap(), None);
    }

    #[test]
    fn what_has_just_come_stays_and_other_environments_are_apart() {
        let directory = tempfile::tempdir().unwrap();
        let backups = Backups::open(directory.path()).unwrap();
        let mut staging = record("shop", 42, b"staging");
        staging.environment = "staging".parse().unwrap();
        keep(&backups, &staging, b"staging", 1);
        let quick = record("shop", 43, b"quick");
        keep(&backups, &quick, b"quick", 1);
        // It took longer.
        let slow = record("shop", 41, b"slow");
        keep(&backups, &slow, b"slow", 1);
        assert_eq!(numbers(&backups), [41, 42]);
    }

    #[test]
    fn a_record_that_cannot_be_read_hides_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let backups = Backups::open(directory.path()).unwrap();
        let first = record("shop", 1, b"one");
        keep(&backups, &first, b"one", 2);
        std::fs::write(directory.path().join("records/2.json"), "{").unwrap();
        assert_eq!(numbers(&backups), [1]);
    }
}
