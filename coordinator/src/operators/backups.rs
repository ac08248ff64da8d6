//! What nodes backed up before they migrated.

use fleet_proto::ids::{OperatorName, RolloutNumber};
use fleet_proto::view::BackupView;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::documents::answer;
use super::{Answer, Operators};
use crate::agents::fetch;
use crate::backups::{BackupError, Backups};
use crate::refusal;

impl Operators {
    pub(super) async fn show_backups(&self, app: String) -> Answer {
        let mut all = self.read_backups(Backups::all).await?;
        all.retain(|backup| app.is_empty() || backup.app.as_str() == app);
        answer(&all)
    }

    pub(super) async fn send_backup(
        &self,
        by: &OperatorName,
        rollout: u64,
    ) -> Answer<ReceiverStream<Result<fleet_proto::wire::BlobPiece, Status>>> {
        let number = RolloutNumber(rollout);
        let found = self.read_backups(move |backups| backups.of(number)).await?;
        let Some(BackupView { digest, .. }) = found else {
            return Err(Status::not_found(format!(
                "no backup is kept of the migration of rollout {number}\nhint: `fleetctl backups` lists those that are"
            )));
        };
        tracing::info!(operator = %by, rollout = %number, "fetches a backup");
        let wanted = [(digest, 0)].into();
        Ok(Response::new(fetch::stream(self.backups.blobs().clone(), wanted)))
    }

    async fn read_backups<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Backups) -> Result<T, BackupError> + Send + 'static,
    ) -> Result<T, Status> {
        let backups = self.backups.clone();
        tokio::task::spawn_blocking(move || read(&backups))
            .await
            .map_err(|error| refusal::internal(&error))?
            .map_err(|error| refusal::backup(&error))
    }
}
