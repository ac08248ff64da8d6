//! Blobs on their way to the coordinator: only what it lacks, in one stream, and
//! hashed once more as they are read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fleet_proto::digest::{Digest, Hasher};
use fleet_proto::wire::{BlobPiece, PIECE_BYTES};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::operator::Operator;
use crate::pack::Source;

/// Enough to keep the line busy while the next piece is read.
const PIECES_IN_FLIGHT: usize = 8;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uploaded {
    /// Without the lists of files, which travel as blobs too.
    pub files: u64,
    pub bytes: u64,
}

/// Sends what the coordinator lacks of these.
pub async fn upload(operator: &mut Operator, blobs: &BTreeMap<Digest, Source>) -> Result<Uploaded, Error> {
    let digests: Vec<Vec<u8>> = blobs.keys().map(|digest| digest.as_bytes().to_vec()).collect();
    let missing = operator.missing_blobs(&digests).await?;
    let mut wanted = Vec::with_capacity(missing.len());
    for bytes in missing {
        let digest = Digest::from_slice(&bytes).map_err(|error| Error::Answer(error.to_string()))?;
        let source = blobs
            .get(&digest)
            .ok_or_else(|| Error::Answer(format!("it lacks {}, which was not offered", digest.short())))?;
        wanted.push((digest, source.clone()));
    }
    if wanted.is_empty() {
        return Ok(Uploaded::default());
    }
    send(operator, wanted).await
}

async fn send(operator: &mut Operator, wanted: Vec<(Digest, Source)>) -> Result<Uploaded, Error> {
    let (pieces, receiver) = mpsc::channel(PIECES_IN_FLIGHT);
    let reader = tokio::task::spawn_blocking(move || read_all(&wanted, &pieces));
    let answer = operator.upload_blobs(receiver).await;
    let read = reader
        .await
        .map_err(|error| Error::file("the reader of files stopped")(io::Error::other(error)))?;
    // A file that changed is why the coordinator refused, so that is said first.
    match (read, answer) {
        (Err(Stopped::ByFile(error)), _) => Err(error),
        (_, Err(refused)) => Err(refused),
        (Err(Stopped::ByReceiver), Ok(_)) => Err(Error::Answer(
            "it stopped taking files before the last one".to_owned(),
        )),
        (Ok(sent), Ok(_)) => Ok(sent),
    }
}

enum Stopped {
    ByFile(Error),
    /// The call ended first, and says why itself.
    ByReceiver,
}

fn read_all(wanted: &[(Digest, Source)], pieces: &mpsc::Sender<BlobPiece>) -> Result<Uploaded, Stopped> {
    let mut sent = Uploaded::default();
    for (digest, source) in wanted {
        sent.bytes += match source {
            Source::Memory(bytes) => read_one(*digest, bytes.len() as u64, bytes.as_slice(), None, pieces)?,
            Source::File { path, bytes } => {
                let file = File::open(path).map_err(|error| unreadable(path, error))?;
                sent.files += 1;
                read_one(*digest, *bytes, file, Some(path), pieces)?
            }
        };
    }
    Ok(sent)
}

/// The last piece goes out only after the whole was found to be what it was.
fn read_one(
    digest: Digest,
    bytes: u64,
    mut reader: impl Read,
    path: Option<&PathBuf>,
    pieces: &mpsc::Sender<BlobPiece>,
) -> Result<u64, Stopped> {
    let path = path.map_or(Path::new("memory"), PathBuf::as_path);
    let mut hasher = Hasher::default();
    let mut offset = 0;
    loop {
        let wanted = (bytes - offset).min(PIECE_BYTES as u64);
        let mut data = Vec::with_capacity(PIECE_BYTES);
        reader
            .by_ref()
            .take(wanted)
            .read_to_end(&mut data)
            .map_err(|error| unreadable(path, error))?;
        hasher.update(&data);
        let next = offset + data.len() as u64;
        let is_last = next == bytes;
        let cut_short = data.len() as u64 != wanted;
        let grew = is_last
            && reader
                .by_ref()
                .take(1)
                .read(&mut [0])
                .map_err(|error| unreadable(path, error))?
                != 0;
        if cut_short || grew || (is_last && std::mem::take(&mut hasher).finish().0 != digest) {
            return Err(Stopped::ByFile(changed(path)));
        }
        let piece = BlobPiece {
            digest: digest.as_bytes().to_vec(),
            offset,
            data,
            bytes,
        };
        pieces.blocking_send(piece).map_err(|_| Stopped::ByReceiver)?;
        if is_last {
            return Ok(bytes);
        }
        offset = next;
    }
}

fn unreadable(path: &Path, source: io::Error) -> Stopped {
    Stopped::ByFile(Error::file(format!("cannot read {}", path.display()))(source))
}

fn changed(path: &Path) -> Error {
    Error::refused(
        format!("{} changed while it was being pushed", path.display()),
        "push again when nothing writes to it any more",
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn pieces_of(bytes: &[u8], claimed: Digest, size: u64) -> (Result<u64, String>, Vec<BlobPiece>) {
        let (sender, mut receiver) = mpsc::channel(64);
        let sent = read_one(claimed, size, bytes, None, &sender).map_err(|stopped| match stopped {
            Stopped::ByFile(error) => error.to_string(),
            Stopped::ByReceiver => "stopped".to_owned(),
        });
        drop(sender);
        let mut pieces = Vec::new();
        while let Some(piece) = receiver.blocking_recv() {
            pieces.push(piece);
        }
        (sent, pieces)
    }

    #[test]
    fn a_blob_travels_in_pieces_and_an_empty_one_in_one() {
        let bytes = vec![7; PIECE_BYTES * 2 + 5];
        let (sent, pieces) = pieces_of(&bytes, Digest::of(&bytes), bytes.len() as u64);
        assert_eq!(sent.unwrap(), bytes.len() as u64);
        let sizes: Vec<usize> = pieces.iter().map(|piece| piece.data.len()).collect();
        assert_eq!(sizes, [PIECE_BYTES, PIECE_BYTES, 5]);
        assert_eq!(pieces[2].offset, PIECE_BYTES as u64 * 2);
        let (sent, pieces) = pieces_of(b"", Digest::of(b""), 0);
        assert_eq!((sent.unwrap(), pieces.len()), (0, 1));
    }

    #[test]
    fn a_file_that_changed_is_noticed_before_its_last_piece() {
        for (now, size) in [(&b"other"[..], 5), (b"shrt", 5), (b"longer", 5)] {
            let (sent, pieces) = pieces_of(now, Digest::of(b"fleet"), size);
            assert!(sent.unwrap_err().contains("changed while it was being pushed"));
            assert!(pieces.is_empty());
        }
    }
}
