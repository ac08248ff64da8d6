//! The operators' side: what `fleetctl` asks and orders. Every call is answered with
//! the documents of `fleet_proto::view`.

mod backups;
mod documents;
mod drift;
mod events;
mod fleet;
mod intent;
mod logs;
mod releases;
mod rollouts;
mod uploads;

use std::sync::Arc;

use fleet_proto::ids::OperatorName;
use fleet_proto::time::Timestamp;
use fleet_proto::wire;
use fleet_proto::wire::operator_server::Operator;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::artifacts::Artifacts;
use crate::backups::Backups;
use crate::driver::Handle;
use crate::listener::Live;
use crate::questions::Questions;
use crate::rollout::input::{Reply, Request as Order};
use crate::trust::Trust;
use crate::{caller, refusal};

type Answer<T = wire::Document> = Result<Response<T>, Status>;
type Documents = ReceiverStream<Result<wire::Document, Status>>;

/// Uploads write to one disk; more at once would only be slower each.
const UPLOADS_MAX: usize = 8;

#[derive(Clone)]
pub struct Operators {
    handle: Handle,
    artifacts: Artifacts,
    backups: Backups,
    trust: Arc<Trust>,
    live: Arc<Live>,
    stopping: CancellationToken,
    uploads: Arc<Semaphore>,
    questions: Arc<Questions>,
}

impl Operators {
    pub fn new(
        handle: Handle,
        artifacts: Artifacts,
        backups: Backups,
        trust: Arc<Trust>,
        live: Arc<Live>,
        questions: Arc<Questions>,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            handle,
            artifacts,
            backups,
            trust,
            live,
            stopping,
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            questions,
        }
    }

    async fn submit(&self, by: &OperatorName, order: Order) -> Result<Reply, Status> {
        let what = order_name(&order);
        let answer = self.handle.submit(by.as_str(), order).await;
        match &answer {
            Ok(_) => tracing::info!(operator = %by, what, "ordered"),
            Err(why) => tracing::info!(operator = %by, what, %why, "refused an order"),
        }
        answer.map_err(|refused| refusal::status(&refused))
    }
}

fn order_name(order: &Order) -> &'static str {
    match order {
        Order::StartRollout(_) => "rollout",
        Order::Pause { .. } => "pause",
        Order::Resume { .. } => "resume",
        Order::Abort { .. } => "abort",
        Order::RollBack(_) => "rollback",
        Order::Retry(_) => "retry",
        Order::ResolveMigration { .. } => "say how a migration stands",
        Order::Halt { .. } => "halt",
        Order::Unhalt { .. } => "unhalt",
        Order::PushRelease(_) => "push",
        Order::CreateToken { .. } => "create a token",
        Order::RevokeToken { .. } => "revoke a token",
        Order::Enrol { .. } | Order::EnrolPod { .. } => "enrol",
        Order::LabelNode { .. } => "label a node",
        Order::RevokeNode { .. } => "revoke a node",
        Order::CordonNode { .. } => "cordon a node",
        Order::UncordonNode { .. } => "uncordon a node",
        Order::DrainNode { .. } => "drain a node",
        Order::UndrainNode { .. } => "undrain a node",
    }
}

/// Who may call is asked here, once for each call; what the call does is in the files
/// below.
#[tonic::async_trait]
impl Operator for Operators {
    type WatchRolloutStream = Documents;
    type EventsStream = Documents;
    type FetchBackupStream = ReceiverStream<Result<wire::BlobPiece, Status>>;
    type LogsStream = logs::Lines;
    type DriftStream = Documents;

    async fn plan(&self, request: Request<wire::RolloutIntent>) -> Answer {
        caller::operator(&request)?;
        self.show_plan(request.into_inner())
    }

    async fn start_rollout(&self, request: Request<wire::RolloutIntent>) -> Answer {
        let by = caller::operator(&request)?;
        self.start(&by, request.into_inner()).await
    }

    async fn act(&self, request: Request<wire::ActRequest>) -> Answer {
        let by = caller::operator(&request)?;
        self.act_on(&by, request.into_inner()).await
    }

    async fn watch_rollout(&self, request: Request<wire::RolloutQuery>) -> Answer<Documents> {
        caller::operator(&request)?;
        self.watch(request.into_inner())
    }

    async fn rollout(&self, request: Request<wire::RolloutQuery>) -> Answer {
        caller::operator(&request)?;
        self.show_rollout(request.into_inner().number)
    }

    async fn status(&self, request: Request<wire::StatusQuery>) -> Answer {
        caller::operator(&request)?;
        self.show_status(&request.into_inner())
    }

    async fn events(&self, request: Request<wire::EventsQuery>) -> Answer<Documents> {
        caller::operator(&request)?;
        self.tell_events(request.into_inner())
    }

    async fn nodes(&self, request: Request<wire::NodesQuery>) -> Answer {
        caller::operator(&request)?;
        self.show_nodes(&request.into_inner().select)
    }

    async fn node(&self, request: Request<wire::NodeQuery>) -> Answer {
        caller::operator(&request)?;
        self.show_node(&request.into_inner().node)
    }

    async fn revoke_node(&self, request: Request<wire::NodeQuery>) -> Answer {
        let by = caller::operator(&request)?;
        self.revoke(&by, request.into_inner()).await
    }

    async fn label_node(&self, request: Request<wire::LabelNodeRequest>) -> Answer {
        let by = caller::operator(&request)?;
        self.label(&by, request.into_inner()).await
    }

    async fn cordon_node(&self, request: Request<wire::NodeQuery>) -> Answer {
        let by = caller::operator(&request)?;
        self.cordon(&by, request.into_inner()).await
    }

    async fn uncordon_node(&self, request: Request<wire::NodeQuery>) -> Answer {
        let by = caller::operator(&request)?;
        self.uncordon(&by, &request.into_inner().node).await
    }

    async fn drain_node(&self, request: Request<wire::DrainNodeRequest>) -> Answer {
        let by = caller::operator(&request)?;
        self.drain(&by, request.into_inner()).await
    }

    async fn undrain_node(&self, request: Request<wire::NodeQuery>) -> Answer {
        let by = caller::operator(&request)?;
        self.undrain(&by, &request.into_inner().node).await
    }

    async fn logs(&self, request: Request<wire::LogsQuery>) -> Answer<Self::LogsStream> {
        let by = caller::operator(&request)?;
        self.tell_logs(&by, request.into_inner())
    }

    async fn drift(&self, request: Request<wire::DriftQuery>) -> Answer<Documents> {
        let by = caller::operator(&request)?;
        self.tell_drift(&by, &request.into_inner())
    }

    async fn halt(&self, request: Request<wire::HaltRequest>) -> Answer {
        let by = caller::operator(&request)?;
        self.stop_all(&by, request.into_inner()).await
    }

    async fn unhalt(&self, request: Request<wire::HaltRequest>) -> Answer {
        let by = caller::operator(&request)?;
        self.let_go_on(&by, &request.into_inner().environment).await
    }

    async fn create_token(&self, request: Request<wire::CreateTokenRequest>) -> Answer<wire::TokenCreated> {
        let by = caller::operator(&request)?;
        self.new_token(&by, request.into_inner()).await
    }

    async fn list_tokens(&self, request: Request<wire::Nothing>) -> Answer {
        caller::operator(&request)?;
        self.show_tokens()
    }

    async fn revoke_token(&self, request: Request<wire::TokenQuery>) -> Answer {
        let by = caller::operator(&request)?;
        self.end_token(&by, &request.into_inner().id).await
    }

    async fn missing_blobs(&self, request: Request<Streaming<wire::BlobList>>) -> Answer<wire::BlobList> {
        caller::operator(&request)?;
        self.missing(request.into_inner()).await
    }

    async fn upload_blobs(&self, request: Request<Streaming<wire::BlobPiece>>) -> Answer<wire::Uploaded> {
        caller::operator(&request)?;
        self.upload(request.into_inner()).await
    }

    async fn push_release(&self, request: Request<wire::SignedRelease>) -> Answer {
        let by = caller::operator(&request)?;
        self.push(&by, request.into_inner()).await
    }

    async fn list_releases(&self, request: Request<wire::ReleasesQuery>) -> Answer {
        caller::operator(&request)?;
        self.show_releases(&request.into_inner().app)
    }

    async fn read_release(&self, request: Request<wire::ReleaseQuery>) -> Answer<wire::SignedRelease> {
        caller::operator(&request)?;
        self.send_release(request.into_inner()).await
    }

    async fn backups(&self, request: Request<wire::BackupsQuery>) -> Answer {
        caller::operator(&request)?;
        self.show_backups(request.into_inner().app).await
    }

    async fn fetch_backup(&self, request: Request<wire::BackupQuery>) -> Answer<Self::FetchBackupStream> {
        let by = caller::operator(&request)?;
        self.send_backup(&by, request.into_inner().rollout).await
    }

    async fn renew_operator(&self, request: Request<wire::RenewRequest>) -> Answer<wire::Credentials> {
        let operator = caller::operator(&request)?;
        let issued = self
            .trust
            .issue_operator(
                &request.into_inner().certificate_request,
                &operator,
                Timestamp::now(),
            )
            .map_err(|error| refusal::certificate(&error))?;
        tracing::info!(%operator, serial = issued.serial, "renewed a certificate");
        Ok(Response::new(wire::Credentials {
            certificate_chain: issued.chain_pem,
            authority: self.trust.authority_pem().to_owned(),
        }))
    }
}
