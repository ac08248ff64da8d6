//! What a node backed up before it migrates.

use std::time::Duration;

use fleet_proto::digest::Digest;
use fleet_proto::ids::{AppName, EnvironmentName, NodeId, RolloutNumber};
use fleet_proto::migration::MigrationAct;
use fleet_proto::release::{Manifest, ReleaseRef};
use fleet_proto::time::Timestamp;
use fleet_proto::view::BackupView;
use fleet_proto::wire::BackupPiece;
use tonic::{Status, Streaming};

use super::Agents;
use crate::refusal;

/// The node reads it from its own disk.
const PIECE_WITHIN: Duration = Duration::from_secs(60);

impl Agents {
    /// Acknowledged when it is on the disk for good.
    pub(super) async fn take_backup(
        &self,
        node: NodeId,
        mut pieces: Streaming<BackupPiece>,
    ) -> Result<(), Status> {
        let Some(first) = next_piece(&mut pieces).await? else {
            return Err(refusal::usage("a backup has at least one piece"));
        };
        let number = RolloutNumber(first.rollout);
        let release = self.migrates(&node, number, &first.app)?;
        // Only those take another's place that were told to come. Nobody waits here: what is
        // sent and not read would be in the way of all else that the node says.
        let _permit = self.backups_coming.try_acquire().map_err(|_| {
            Status::resource_exhausted("other backups come in at the moment; it is tried again")
        })?;
        let keep = self.kept_of(&release).await?;
        let mut upload = self.backups.blobs().upload();
        let mut next = Some(first);
        let mut whole = None;
        while let Some(piece) = next {
            let piece = piece.piece.unwrap_or_default();
            let digest = Digest::from_slice(&piece.digest).map_err(refusal::usage)?;
            if whole
                .replace((digest, piece.bytes))
                .is_some_and(|before| before != (digest, piece.bytes))
            {
                return Err(refusal::usage("a backup is one file"));
            }
            // A disk may keep one waiting.
            let writing = move || {
                upload
                    .piece(digest, piece.bytes, piece.offset, &piece.data)
                    .map(|()| upload)
            };
            let written = tokio::task::spawn_blocking(writing).await;
            upload = written
                .map_err(|error| refusal::internal(&error))?
                .map_err(|error| refusal::artifact(&error))?;
            next = next_piece(&mut pieces).await?;
        }
        let Some((digest, bytes)) = whole else {
            return Err(refusal::usage("a backup has at least one piece"));
        };
        let record = BackupView {
            app: release.app,
            environment: release.environment,
            rollout: number,
            release: release.release,
            node,
            at: Timestamp::now(),
            digest,
            bytes,
        };
        let backups = self.backups.clone();
        let keeping = move || {
            backups.keep(upload, &record, keep)?;
            Ok(record)
        };
        let kept = tokio::task::spawn_blocking(keeping).await;
        let kept: BackupView = kept
            .map_err(|error| refusal::internal(&error))?
            .map_err(|error| refusal::backup(&error))?;
        tracing::info!(node = %kept.node, rollout = %kept.rollout, bytes = kept.bytes, "keeps a backup");
        Ok(())
    }

    /// Whoever was not told to migrate has nothing to keep here.
    fn migrates(&self, node: &NodeId, number: RolloutNumber, app: &str) -> Result<Migrates, Status> {
        self.handle
            .read(|state| {
                let rollout = state.rollouts.get(&number)?;
                let run = rollout.migration.as_ref()?;
                let is_its = run.node == *node && run.act == MigrationAct::Up && !run.stand.is_settled();
                (is_its && rollout.plan.app.as_str() == app).then(|| Migrates {
                    app: rollout.plan.app.clone(),
                    environment: rollout.plan.environment.clone(),
                    release: run.release.clone(),
                })
            })
            .ok_or_else(|| {
                tracing::warn!(%node, %number, app, "refused a backup");
                Status::permission_denied(format!(
                    "{node} has not been told to migrate {app} in rollout {number}"
                ))
            })
    }

    /// As the release says, and not whoever sends it.
    async fn kept_of(&self, migrates: &Migrates) -> Result<u32, Status> {
        let (artifacts, digest) = (self.artifacts.clone(), migrates.release.digest);
        let signed = tokio::task::spawn_blocking(move || artifacts.read_signed(digest))
            .await
            .map_err(|error| refusal::internal(&error))?
            .map_err(|error| refusal::artifact(&error))?;
        let manifest: Manifest = signed.read().map_err(|error| refusal::internal(&error))?;
        let backup = manifest.migrations.and_then(|migrations| migrations.backup);
        backup
            .filter(|backup| backup.upload)
            .map(|backup| backup.keep)
            .ok_or_else(|| Status::permission_denied("its release does not say that a backup is uploaded"))
    }
}

/// One that sends nothing keeps nobody from sending.
async fn next_piece(pieces: &mut Streaming<BackupPiece>) -> Result<Option<BackupPiece>, Status> {
    tokio::time::timeout(PIECE_WITHIN, pieces.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no piece of the backup came for a minute"))?
}

struct Migrates {
    app: AppName,
    environment: EnvironmentName,
    release: ReleaseRef,
}
