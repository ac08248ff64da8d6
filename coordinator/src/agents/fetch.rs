//! Blobs to an agent: all of them in one stream, a bounded part of them in memory.

use std::collections::VecDeque;

use fleet_proto::digest::Digest;
use fleet_proto::wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::artifacts::{ArtifactError, Artifacts, Blob};
use crate::refusal;

/// Pieces that are read and not yet sent.
const PIECES_AHEAD: usize = 4;

pub(crate) type Wanted = VecDeque<(Digest, u64)>;

pub(crate) fn wanted(request: wire::BlobsRequest) -> Result<Wanted, Status> {
    request
        .blobs
        .into_iter()
        .map(|blob| {
            let digest = Digest::from_slice(&blob.digest).map_err(refusal::usage)?;
            Ok((digest, blob.offset))
        })
        .collect()
}

pub(crate) fn stream(
    artifacts: Artifacts,
    wanted: Wanted,
) -> ReceiverStream<Result<wire::BlobPiece, Status>> {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(async move {
        let mut download = Download {
            artifacts,
            wanted,
            open: None,
        };
        loop {
            // One trip to the blocking threads reads a piece's worth, of one large
            // blob or of many small ones.
            let read = tokio::task::spawn_blocking(move || {
                let pieces = download.read_ahead();
                (download, pieces)
            });
            let pieces = match read.await {
                Ok((back, Ok(pieces))) => {
                    download = back;
                    pieces
                }
                Ok((_, Err(error))) => {
                    let _ = sender.send(Err(refusal::artifact(&error))).await;
                    return;
                }
                Err(error) => {
                    let _ = sender.send(Err(refusal::internal(&error))).await;
                    return;
                }
            };
            if pieces.is_empty() {
                return;
            }
            for piece in pieces {
                // The agent went away; it will ask for the rest.
                if sender.send(Ok(piece)).await.is_err() {
                    return;
                }
            }
        }
    });
    ReceiverStream::new(receiver)
}

struct Download {
    artifacts: Artifacts,
    wanted: Wanted,
    open: Option<Blob>,
}

impl Download {
    /// Empty when all is read.
    fn read_ahead(&mut self) -> Result<Vec<wire::BlobPiece>, ArtifactError> {
        let mut pieces = Vec::new();
        let mut bytes = 0;
        while bytes < wire::PIECE_BYTES {
            let mut blob = match self.open.take() {
                Some(blob) => blob,
                None => match self.wanted.pop_front() {
                    Some((digest, offset)) => self.artifacts.read(digest, offset)?,
                    None => break,
                },
            };
            let offset = blob.offset;
            let data = blob.next_piece(wire::PIECE_BYTES)?;
            bytes += data.len();
            self.artifacts.note_served(data.len());
            pieces.push(wire::BlobPiece {
                digest: blob.digest.as_bytes().to_vec(),
                offset,
                data,
                bytes: blob.bytes,
            });
            if !blob.is_at_end() {
                self.open = Some(blob);
            }
        }
        Ok(pieces)
    }
}
