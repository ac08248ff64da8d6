//! Taking in many blobs that come one after the other in pieces.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use fleet_proto::digest::{Digest, Hasher};

use super::error::{ArtifactError, file};
use super::{Artifacts, BLOB_BYTES_MAX, room};
use crate::durable;

/// Two uploads of the same blob write to files of their own.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// One upload. Its blobs are there when [`Upload::finish`] returned, and not before.
pub struct Upload {
    artifacts: Artifacts,
    current: Option<Partial>,
    /// Whole and checked, waiting for the sync.
    whole: Vec<(PathBuf, PathBuf)>,
    blobs: u64,
    bytes: u64,
}

struct Partial {
    digest: Digest,
    bytes: u64,
    received: u64,
    hasher: Hasher,
    file: File,
    path: PathBuf,
}

impl Artifacts {
    pub fn upload(&self) -> Upload {
        Upload {
            artifacts: self.clone(),
            current: None,
            whole: Vec::new(),
            blobs: 0,
            bytes: 0,
        }
    }

    /// Keeps one blob that is in memory.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, ArtifactError> {
        let digest = Digest::of(bytes);
        if !self.holds(&digest) {
            room::must_be_there(&self.directory, bytes.len() as u64)?;
            let path = self.path(&digest);
            durable::write_file(&path, bytes).map_err(file("write", &path))?;
        }
        Ok(digest)
    }
}

impl Upload {
    /// Takes the next piece. A blob ends with the piece that completes it, so that one
    /// without bytes is one empty piece.
    pub fn piece(
        &mut self,
        digest: Digest,
        bytes: u64,
        offset: u64,
        data: &[u8],
    ) -> Result<(), ArtifactError> {
        if bytes > BLOB_BYTES_MAX {
            return Err(ArtifactError::TooLarge {
                bytes,
                limit: BLOB_BYTES_MAX,
            });
        }
        let mut partial = match self.current.take() {
            Some(partial) if partial.digest == digest && partial.bytes == bytes => partial,
            Some(partial) => return Err(partial.cut_short()),
            None => self.begin(digest, bytes)?,
        };
        if offset != partial.received {
            let expected = partial.received;
            partial.discard();
            return Err(ArtifactError::OutOfOrder {
                expected,
                found: offset,
            });
        }
        if partial.received + data.len() as u64 > bytes {
            partial.discard();
            return Err(ArtifactError::TooLarge {
                bytes: offset + data.len() as u64,
                limit: bytes,
            });
        }
        room::must_be_there(&self.artifacts.directory, data.len() as u64)?;
        if let Err(error) = partial.file.write_all(data) {
            let path = partial.path.clone();
            partial.discard();
            return Err(file("write", path)(error));
        }
        partial.hasher.update(data);
        partial.received += data.len() as u64;
        if partial.received == bytes {
            self.complete(partial)
        } else {
            self.current = Some(partial);
            Ok(())
        }
    }

    /// Syncs once for all, gives the blobs their names, and makes those durable too.
    /// Returns how many blobs and bytes came.
    pub fn finish(mut self) -> Result<(u64, u64), ArtifactError> {
        if let Some(partial) = self.current.take() {
            return Err(partial.cut_short());
        }
        self.sync()?;
        for (partial, path) in std::mem::take(&mut self.whole) {
            fs::rename(&partial, &path).map_err(file("rename", &partial))?;
        }
        self.sync()?;
        Ok((self.blobs, self.bytes))
    }

    fn begin(&self, digest: Digest, bytes: u64) -> Result<Partial, ArtifactError> {
        room::must_be_there(&self.artifacts.directory, bytes)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self.artifacts.path(&digest);
        let path = durable::partial_path(&path.with_extension(number.to_string()));
        let created = durable::create_private(&path).map_err(file("create", &path))?;
        Ok(Partial {
            digest,
            bytes,
            received: 0,
            hasher: Hasher::default(),
            file: created,
            path,
        })
    }

    fn complete(&mut self, partial: Partial) -> Result<(), ArtifactError> {
        let (found, bytes) = partial.hasher.finish();
        if found != partial.digest {
            // Swept at the next start if it cannot be removed now.
            let _ = fs::remove_file(&partial.path);
            return Err(ArtifactError::WrongDigest {
                expected: partial.digest,
                found,
            });
        }
        self.whole
            .push((partial.path, self.artifacts.path(&partial.digest)));
        self.blobs += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// One call for any number of files: the directory's file system as a whole.
    fn sync(&self) -> Result<(), ArtifactError> {
        let directory = &self.artifacts.directory;
        let handle = File::open(directory).map_err(file("open", directory))?;
        nix::unistd::syncfs(handle).map_err(|errno| file("sync", directory)(errno.into()))
    }
}

impl Partial {
    fn cut_short(self) -> ArtifactError {
        let error = ArtifactError::CutShort {
            digest: self.digest,
            found: self.received,
            expected: self.bytes,
        };
        self.discard();
        error
    }

    /// What stays behind all the same is swept at the next start.
    fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// An upload that broke off leaves nothing: its blobs were promised to nobody.
impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(partial) = self.current.take() {
            partial.discard();
        }
        for (partial, _) in &self.whole {
            let _ = fs::remove_file(partial);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn files(directory: &std::path::Path) -> usize {
        fs::read_dir(directory)
            .unwrap()
            .flat_map(|shelf| fs::read_dir(shelf.unwrap().path()).unwrap())
            .count()
    }

    #[test]
    fn what_is_uploaded_can_be_read_from_anywhere() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(directory.path()).unwrap();
        let (large, empty) = (Digest::of(b"hello world"), Digest::of(b""));
        let mut upload = artifacts.upload();
        upload.piece(large, 11, 0, b"hello ").unwrap();
        upload.piece(large, 11, 6, b"world").unwrap();
        upload.piece(empty, 0, 0, b"").unwrap();
        assert_eq!(artifacts.missing(&[large, empty]), [large, empty]);
        assert_eq!(upload.finish().unwrap(), (2, 11));
        assert_eq!(artifacts.missing(&[large, empty]), []);

        let mut blob = artifacts.read(large, 6).unwrap();
        assert_eq!(blob.next_piece(3).unwrap(), b"wor");
        assert_eq!(blob.next_piece(3).unwrap(), b"ld");
        assert!(blob.is_at_end() && blob.next_piece(3).unwrap().is_empty());
        assert!(artifacts.read(large, 12).is_err());
        assert_eq!(artifacts.read_whole(empty, 10).unwrap(), b"");
        assert!(artifacts.read_whole(large, 10).is_err());
    }

    #[test]
    fn what_is_wrong_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(directory.path()).unwrap();
        let digest = Digest::of(b"right");

        let mut upload = artifacts.upload();
        let error = upload.piece(digest, 5, 0, b"wrong").unwrap_err();
        assert!(matches!(error, ArtifactError::WrongDigest { .. }), "{error}");
        drop(upload);

        let mut upload = artifacts.upload();
        upload.piece(digest, 5, 0, b"ri").unwrap();
        let error = upload.piece(digest, 5, 3, b"ht").unwrap_err();
        assert!(
            matches!(
                error,
                ArtifactError::OutOfOrder {
                    expected: 2,
                    found: 3
                }
            ),
            "{error}"
        );

        let mut upload = artifacts.upload();
        upload.piece(digest, 5, 0, b"ri").unwrap();
        let error = upload.finish().unwrap_err();
        assert!(matches!(error, ArtifactError::CutShort { .. }), "{error}");
        assert!(artifacts.upload().piece(digest, u64::MAX, 0, b"").is_err());
        assert_eq!((files(directory.path()), artifacts.holds(&digest)), (0, false));
    }

    #[test]
    fn a_start_sweeps_what_a_crash_left() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(directory.path()).unwrap();
        let mut upload = artifacts.upload();
        upload.piece(Digest::of(b"right"), 5, 0, b"ri").unwrap();
        std::mem::forget(upload);
        let kept = artifacts.put(b"kept").unwrap();
        let artifacts = Artifacts::open(directory.path()).unwrap();
        assert_eq!(files(directory.path()), 1);
        assert!(artifacts.holds(&kept));
    }
}
