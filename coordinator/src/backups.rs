//! Backups that nodes made before they migrated: bytes by their digest, as artifacts are, and
//! beside them a record of each.
//!
//! ```text
//!  blobs/ab/abcdef…   the bytes
//!  records/42.json    whose they are: of the migration of rollout 42
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fleet_proto::ids::{AppName, RolloutNumber};
use fleet_proto::view::BackupView;

use crate::artifacts::{ArtifactError, Artifacts};
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

    /// Its bytes are there. Of the app's others only the newest stay, so that there are so many.
    pub fn keep(&self, record: &BackupView, keep: u32) -> Result<(), BackupError> {
        let _one_at_a_time = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.record(record.rollout);
        let text = serde_json::to_vec(record).unwrap_or_default();
        durable::write_file(&path, &text).map_err(file("write", &path))?;
        self.forget_older(&record.app, keep)
    }

    fn forget_older(&self, app: &AppName, keep: u32) -> Result<(), BackupError> {
        let all = self.all()?;
        let of_app: Vec<&BackupView> = all.iter().filter(|record| record.app == *app).collect();
        let excess = of_app.len().saturating_sub(keep.max(1) as usize);
        let (old, _) = of_app.split_at(excess);
        for record in old {
            let path = self.record(record.rollout);
            std::fs::remove_file(&path).map_err(file("remove", &path))?;
            let stays = |other: &&BackupView| !old.contains(other) && other.digest == record.digest;
            if !all.iter().any(|other| stays(&other)) {
                self.blobs.remove(&record.digest)?;
            }
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

    fn record(backups: &Backups, app: &str, rollout: u64, bytes: &[u8]) -> BackupView {
        BackupView {
            app: app.parse().unwrap(),
            rollout: RolloutNumber(rollout),
            release: ReleaseRef {
                version: "v1.0.0".parse().unwrap(),
                digest: Digest::of(b"release"),
            },
            node: "n01".parse().unwrap(),
            at: Timestamp(rollout),
            digest: backups.blobs().put(bytes).unwrap(),
            bytes: bytes.len() as u64,
        }
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
        let first = record(&backups, "shop", 1, b"one");
        backups.keep(&first, 2).unwrap();
        let other = record(&backups, "till", 2, b"till");
        backups.keep(&other, 2).unwrap();
        // The same bytes as before.
        let third = record(&backups, "shop", 3, b"one");
        backups.keep(&third, 2).unwrap();
        let fourth = record(&backups, "shop", 10, b"two");
        backups.keep(&fourth, 2).unwrap();
        assert_eq!(numbers(&backups), [2, 3, 10]);
        assert!(
            backups.blobs().holds(&first.digest),
            "the third has the same bytes"
        );
        let fifth = record(&backups, "shop", 11, b"three");
        backups.keep(&fifth, 2).unwrap();
        assert_eq!(numbers(&backups), [2, 10, 11]);
        assert!(!backups.blobs().holds(&first.digest));
        let again = Backups::open(directory.path()).unwrap();
        assert_eq!(again.of(RolloutNumber(10)).unwrap(), Some(fourth));
        assert_eq!(again.of(RolloutNumber(3)).unwrap(), None);
    }

    #[test]
    fn a_record_that_cannot_be_read_hides_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let backups = Backups::open(directory.path()).unwrap();
        let first = record(&backups, "shop", 1, b"one");
        backups.keep(&first, 2).unwrap();
        std::fs::write(directory.path().join("records/2.json"), "{").unwrap();
        assert_eq!(numbers(&backups), [1]);
    }
}
