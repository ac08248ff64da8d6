//! Reading a blob piece by piece, from anywhere in it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use fleet_proto::digest::Digest;

use super::error::{ArtifactError, file};
use super::{Artifacts, BLOB_BYTES_MAX};

/// An open blob and where reading stands.
pub struct Blob {
    file: File,
    path: PathBuf,
    pub digest: Digest,
    pub bytes: u64,
    pub offset: u64,
}

impl Artifacts {
    /// Opens the blob for reading from `offset` on, where an interrupted download
    /// stood. Its end is a valid place: nothing is left to read there.
    pub fn read(&self, digest: Digest, offset: u64) -> Result<Blob, ArtifactError> {
        let path = self.path(&digest);
        let mut opened = match File::open(&path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ArtifactError::Unknown { digest });
            }
            Err(error) => return Err(file("open", path)(error)),
        };
        let bytes = opened.metadata().map_err(file("measure", &path))?.len();
        if offset > bytes {
            return Err(ArtifactError::BeyondEnd { offset, bytes });
        }
        opened
            .seek(SeekFrom::Start(offset))
            .map_err(file("read", &path))?;
        Ok(Blob {
            file: opened,
            path,
            digest,
            bytes,
            offset,
        })
    }

    /// The whole blob, for what is read by the coordinator itself: manifests and trees.
    pub fn read_whole(&self, digest: Digest, limit: u64) -> Result<Vec<u8>, ArtifactError> {
        let mut blob = self.read(digest, 0)?;
        let limit = limit.min(BLOB_BYTES_MAX);
        if blob.bytes > limit {
            return Err(ArtifactError::TooLarge {
                bytes: blob.bytes,
                limit,
            });
        }
        let mut bytes = Vec::new();
        blob.file
            .read_to_end(&mut bytes)
            .map_err(file("read", &blob.path))?;
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(ArtifactError::WrongDigest {
                expected: digest,
                found,
            });
        }
        Ok(bytes)
    }
}

impl Blob {
    pub fn is_at_end(&self) -> bool {
        self.offset >= self.bytes
    }

    /// The next piece; empty at the end.
    pub fn next_piece(&mut self, bytes_max: usize) -> Result<Vec<u8>, ArtifactError> {
        let mut piece = Vec::new();
        (&mut self.file)
            .take(bytes_max as u64)
            .read_to_end(&mut piece)
            .map_err(file("read", &self.path))?;
        self.offset += piece.len() as u64;
        Ok(piece)
    }
}
