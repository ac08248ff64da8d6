//! Reading a blob piece by piece, from anywhere in it. One that is not what its name says
//! is set aside: it is missing from then on, and the next push brings it again.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use fleet_proto::digest::{Digest, Hasher};

use super::error::{ArtifactError, file};
use super::{Artifacts, BLOB_BYTES_MAX};

/// An open blob and where reading stands.
pub struct Blob {
    file: File,
    path: PathBuf,
    pub digest: Digest,
    pub bytes: u64,
    pub offset: u64,
    /// Of what was read; only where reading began at the beginning.
    hasher: Option<Hasher>,
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
            hasher: (offset == 0).then(Hasher::default),
        })
    }

    /// Reads it all, and says whether it is what its name says.
    pub fn verify(&self, digest: Digest) -> Result<(), ArtifactError> {
        const PIECE_BYTES: usize = 1 << 20;
        let mut blob = self.read(digest, 0)?;
        // One without bytes has an end to look at too.
        loop {
            blob.next_piece(PIECE_BYTES)?;
            if blob.is_at_end() {
                return Ok(());
            }
        }
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
        if Digest::of(&bytes) != digest {
            return Err(blob.set_aside());
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
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&piece);
        }
        let was_cut_short = piece.is_empty() && !self.is_at_end();
        let is_wrong = self.is_at_end()
            && self
                .hasher
                .take()
                .is_some_and(|hasher| hasher.finish().0 != self.digest);
        if was_cut_short || is_wrong {
            return Err(self.set_aside());
        }
        Ok(piece)
    }

    /// Kept for whoever wants to know what happened to it.
    fn set_aside(&self) -> ArtifactError {
        // By now another reader may have done so, and a push have brought it again.
        let inode = |about: std::io::Result<std::fs::Metadata>| about.ok().map(|about| about.ino());
        if inode(self.file.metadata()) != inode(std::fs::metadata(&self.path)) {
            return ArtifactError::Damaged { digest: self.digest };
        }
        let aside = self.path.with_extension("damaged");
        match std::fs::rename(&self.path, &aside) {
            Ok(()) => tracing::error!(kept = %aside.display(), "an artifact is damaged and was set aside"),
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "an artifact is damaged and cannot be set aside");
            }
        }
        ArtifactError::Damaged { digest: self.digest }
    }
}
