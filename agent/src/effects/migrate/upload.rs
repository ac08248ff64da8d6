//! A backup's way to the coordinator, before anything is changed: a node's disk may be the
//! database's own.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use fleet_proto::digest::{Digest, Hasher};
use fleet_proto::quantity::Span;
use fleet_proto::session::FailureClass;
use fleet_proto::wire::agent_client::AgentClient;
use fleet_proto::wire::{BackupPiece, BlobPiece, PIECE_BYTES};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::Job;
use crate::durable::{FileError, failed};
use crate::effects::download::may_pass;
use crate::effects::{Failed, chain, failure};
use crate::link::backoff::Backoff;

/// Pieces that are read and not yet sent.
const PIECES_AHEAD: usize = 4;

impl Job {
    /// As often as it takes, within the time that the backup itself has.
    pub(super) fn upload(&self, path: &Path, within: Span) -> Result<(), Failed> {
        let wrong = |why: String| {
            let why =
                format!("the backup cannot be brought to the coordinator, and nothing was changed: {why}");
            failure(FailureClass::Infrastructure, why)
        };
        let (digest, bytes) = digest_of(path).map_err(|error| wrong(chain(&error)))?;
        let sending = async {
            let mut backoff = Backoff::default();
            while let Err(status) = self.send(path, digest, bytes).await {
                if !may_pass(&status) {
                    return Err(status.message().to_owned());
                }
                tracing::info!(
                    why = status.message(),
                    "the backup is not with the coordinator yet"
                );
                tokio::time::sleep(backoff.pause()).await;
            }
            Ok(())
        };
        tokio::runtime::Handle::current()
            .block_on(tokio::time::timeout(within.as_duration(), sending))
            .unwrap_or_else(|_| Err(format!("it took longer than {within}")))
            .map_err(wrong)?;
        tracing::info!(app = %self.converge.app, bytes, "the coordinator keeps the backup too");
        Ok(())
    }

    async fn send(&self, path: &Path, digest: Digest, bytes: u64) -> Result<(), Status> {
        let (pieces, sent) = mpsc::channel(PIECES_AHEAD);
        let (app, rollout) = (self.converge.app.to_string(), self.order.0.0);
        let file = File::open(path).map_err(|error| Status::failed_precondition(error.to_string()))?;
        let reading = tokio::task::spawn_blocking(move || read(file, &pieces, digest, bytes, &app, rollout));
        // A connection of its own: a slow disk over there must not hold up the session.
        let channel = self.reach.new_channel();
        let mut client =
            AgentClient::new(channel.map_err(|error| Status::failed_precondition(chain(&error)))?);
        client.keep_backup(ReceiverStream::new(sent)).await?;
        reading
            .await
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::failed_precondition(error.to_string()))
    }
}

/// Ends early when nobody takes any more of it: whoever asked then knows why.
fn read(
    mut file: File,
    pieces: &mpsc::Sender<BackupPiece>,
    digest: Digest,
    bytes: u64,
    app: &str,
    rollout: u64,
) -> std::io::Result<()> {
    let mut offset = 0;
    loop {
        let mut data = Vec::with_capacity(PIECE_BYTES);
        (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut data)?;
        let read = data.len() as u64;
        let piece = BlobPiece {
            digest: digest.as_bytes().to_vec(),
            offset,
            data,
            bytes,
        };
        let piece = BackupPiece {
            app: app.to_owned(),
            rollout,
            piece: Some(piece),
        };
        offset += read;
        if read == 0 || pieces.blocking_send(piece).is_err() || offset >= bytes {
            return Ok(());
        }
    }
}

fn digest_of(path: &Path) -> Result<(Digest, u64), FileError> {
    let mut file = File::open(path).map_err(failed("open", path))?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut buffer).map_err(failed("read", path))? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}
