//! Bytes from an operator: what is missing, and then just that.

use fleet_proto::digest::Digest;
use fleet_proto::tree::ENTRIES_MAX;
use fleet_proto::wire;
use tokio::sync::mpsc;
use tonic::{Response, Status, Streaming};

use super::{Answer, Operators};
use crate::artifacts::{ArtifactError, Upload};
use crate::refusal;

/// Pieces that came and are not yet written.
const PIECES_AHEAD: usize = 4;

impl Operators {
    pub(super) async fn missing(&self, mut lists: Streaming<wire::BlobList>) -> Answer<wire::BlobList> {
        let mut offered = 0;
        let mut missing = Vec::new();
        while let Some(list) = lists.message().await? {
            offered += list.digests.len();
            if offered > ENTRIES_MAX {
                return Err(Status::invalid_argument(format!(
                    "more than {ENTRIES_MAX} files were offered"
                )));
            }
            let digests = list
                .digests
                .iter()
                .map(|digest| Digest::from_slice(digest).map_err(refusal::usage))
                .collect::<Result<Vec<_>, _>>()?;
            let artifacts = self.artifacts.clone();
            let lacked = tokio::task::spawn_blocking(move || artifacts.missing(&digests))
                .await
                .map_err(|error| refusal::internal(&error))?;
            missing.extend(lacked.iter().map(|digest| digest.as_bytes().to_vec()));
        }
        Ok(Response::new(wire::BlobList { digests: missing }))
    }

    /// Acknowledged when everything is on disk for good.
    pub(super) async fn upload(&self, mut pieces: Streaming<wire::BlobPiece>) -> Answer<wire::Uploaded> {
        let _permit = self
            .uploads
            .acquire()
            .await
            .map_err(|error| refusal::internal(&error))?;
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        let upload = self.artifacts.upload();
        let writer = tokio::task::spawn_blocking(move || write(upload, receiver));
        let mut broke = None;
        loop {
            match pieces.message().await {
                // A writer that stopped has an error to tell.
                Ok(Some(piece)) => {
                    if sender.send(Some(piece)).await.is_err() {
                        break;
                    }
                }
                Ok(None) => {
                    let _ = sender.send(None).await;
                    break;
                }
                Err(status) => {
                    broke = Some(status);
                    break;
                }
            }
        }
        drop(sender);
        let written = writer.await.map_err(|error| refusal::internal(&error))?;
        if let Some(status) = broke {
            return Err(status);
        }
        let (blobs, bytes) = written.map_err(|error| refusal::artifact(&error))?;
        Ok(Response::new(wire::Uploaded { blobs, bytes }))
    }
}

/// `None` is the end of the upload; a queue that just closes is a broken connection.
fn write(
    mut upload: Upload,
    mut pieces: mpsc::Receiver<Option<wire::BlobPiece>>,
) -> Result<(u64, u64), ArtifactError> {
    loop {
        match pieces.blocking_recv() {
            Some(Some(piece)) => {
                let digest = Digest::from_slice(&piece.digest)?;
                upload.piece(digest, piece.bytes, piece.offset, &piece.data)?;
            }
            Some(None) => return upload.finish(),
            None => return Ok((0, 0)),
        }
    }
}
