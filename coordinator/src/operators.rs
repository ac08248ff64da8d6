//! The operators' side: what `fleetctl` asks and orders. Every call is answered with
//! the documents of `fleet_proto::view`.

mod backups;
mod documents;
mod drift;
mod events;
mod fleet;
mod intent;
mod logs;
mod people;
mod releases;
mod rollouts;
mod uploads;

use std::sync::Arc;

use fleet_proto::ids::{OperatorName, RolloutNumber};
use fleet_proto::time::Timestamp;
use fleet_proto::wire;
use fleet_proto::wire::operator_server::Operator;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::access::Access;
use crate::artifacts::Artifacts;
use crate::backups::Backups;
use crate::driver::Handle;
use crate::listener::Live;
use crate::questions::Questions;
use crate::rollout::access::Question;
use crate::rollout::input::{Author, Reply, Request as Order};
use crate::trust::Trust;
use crate::{caller, refusal};

type Answer<T = wire::Document> = Result<Response<T>, Status>;
type Documents = ReceiverStream<Result<wire::Document, Status>>;

/// Uploads write to one disk; more at once would only be slower each.
const UPLOADS_MAX: usize = 8;

#[derive(Clone)]
pub struct Operators {
    handle: Handle,
    access: Access,
    /// Where people find it, if anywhere but on loopback.
    dashboard: String,
    artifacts: Artifacts,
    backups: Backups,
    trust: Arc<Trust>,
    live: Arc<Live>,
    stopping: CancellationToken,
    uploads: Arc<Semaphore>,
    questions: Arc<Questions>,
}

/// What the operators' side works with.
pub struct Parts {
    pub handle: Handle,
    pub access: Access,
    pub dashboard: String,
    pub artifacts: Artifacts,
    pub backups: Backups,
    pub trust: Arc<Trust>,
    pub live: Arc<Live>,
    pub questions: Arc<Questions>,
    pub stopping: CancellationToken,
}

impl Operators {
    pub fn new(parts: Parts) -> Self {
        Self {
            handle: parts.handle,
            access: parts.access,
            dashboard: parts.dashboard,
            artifacts: parts.artifacts,
            backups: parts.backups,
            trust: parts.trust,
            live: parts.live,
            questions: parts.questions,
            stopping: parts.stopping,
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
        }
    }

    /// Whoever orders; the driver says whether they may.
    fn ordering<T>(&self, request: &Request<T>) -> Result<OperatorName, Status> {
        let peer = caller::peer(request)?;
        let operator = self.access.by_certificate(&peer);
        operator.map_err(|refused| refusal::status(&refused))
    }

    /// Whoever asks for what orders nothing, if they may.
    fn asking<T>(&self, request: &Request<T>, question: Question<'_>) -> Result<OperatorName, Status> {
        let operator = self.ordering(request)?;
        let may = self.access.may_ask(&operator, question);
        may.map_err(|refused| refusal::status(&refused))?;
        Ok(operator)
    }

    async fn submit(&self, by: &OperatorName, order: Order) -> Result<Reply, Status> {
        let what = order_name(&order);
        let answer = self.handle.submit(Author::Operator(by.clone()), order).await;
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
        Order::AddOperator { .. } => "add an operator",
        Order::RemoveOperator { .. } => "remove an operator",
        Order::CreateAccessToken { .. } => "create an access token",
        Order::RevokeAccessToken { .. } => "revoke an access token",
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
        self.asking(&request, Question::View)?;
        self.show_plan(request.into_inner())
    }

    async fn start_rollout(&self, request: Request<wire::RolloutIntent>) -> Answer {
        let by = self.ordering(&request)?;
        self.start(&by, request.into_inner()).await
    }

    async fn act(&self, request: Request<wire::ActRequest>) -> Answer {
        let by = self.ordering(&request)?;
        self.act_on(&by, request.into_inner()).await
    }

    async fn watch_rollout(&self, request: Request<wire::RolloutQuery>) -> Answer<Documents> {
        self.asking(&request, Question::View)?;
        self.watch(request.into_inner())
    }

    async fn rollout(&self, request: Request<wire::RolloutQuery>) -> Answer {
        self.asking(&request, Question::View)?;
        self.show_rollout(request.into_inner().number)
    }

    async fn status(&self, request: Request<wire::StatusQuery>) -> Answer {
        self.asking(&request, Question::View)?;
        self.show_status(&request.into_inner())
    }

    async fn events(&self, request: Request<wire::EventsQuery>) -> Answer<Documents> {
        self.asking(&request, Question::View)?;
        self.tell_events(request.into_inner())
    }

    async fn nodes(&self, request: Request<wire::NodesQuery>) -> Answer {
        self.asking(&request, Question::View)?;
        self.show_nodes(&request.into_inner().select)
    }

    async fn node(&self, request: Request<wire::NodeQuery>) -> Answer {
        self.asking(&request, Question::View)?;
        self.show_node(&request.into_inner().node)
    }

    async fn revoke_node(&self, request: Request<wire::NodeQuery>) -> Answer {
        let by = self.ordering(&request)?;
        self.revoke(&by, request.into_inner()).await
    }

    async fn label_node(&self, request: Request<wire::LabelNodeRequest>) -> Answer {
        let by = self.ordering(&request)?;
        self.label(&by, request.into_inner()).await
    }

    async fn cordon_node(&self, request: Request<wire::NodeQuery>) -> Answer {
        let by = self.ordering(&request)?;
        self.cordon(&by, request.into_inner()).await
    }

    async fn uncordon_node(&self, request: Request<wire::NodeQuery>) -> Answer {
        let by = self.ordering(&request)?;
        self.uncordon(&by, &request.into_inner().node).await
    }

    async fn drain_node(&self, request: Request<wire::DrainNodeRequest>) -> Answer {
        let by = self.ordering(&request)?;
        self.drain(&by, request.into_inner()).await
    }

    async fn undrain_node(&self, request: Request<wire::NodeQuery>) -> Answer {
        let by = self.ordering(&request)?;
        self.undrain(&by, &request.into_inner().node).await
    }

    async fn logs(&self, request: Request<wire::LogsQuery>) -> Answer<Self::LogsStream> {
        let node = request.get_ref().node.parse().map_err(refusal::name)?;
        let by = self.asking(&request, Question::Logs(&node))?;
        self.tell_logs(&by, request.into_inner())
    }

    async fn drift(&self, request: Request<wire::DriftQuery>) -> Answer<Documents> {
        let by = self.asking(&request, Question::View)?;
        self.tell_drift(&by, &request.into_inner())
    }

    async fn halt(&self, request: Request<wire::HaltRequest>) -> Answer {
        let by = self.ordering(&request)?;
        self.stop_all(&by, request.into_inner()).await
    }

    async fn unhalt(&self, request: Request<wire::HaltRequest>) -> Answer {
        let by = self.ordering(&request)?;
        self.let_go_on(&by, &request.into_inner().environment).await
    }

    async fn create_token(&self, request: Request<wire::CreateTokenRequest>) -> Answer<wire::TokenCreated> {
        let by = self.ordering(&request)?;
        self.new_token(&by, request.into_inner()).await
    }

    async fn list_tokens(&self, request: Request<wire::Nothing>) -> Answer {
        self.asking(&request, Question::View)?;
        self.show_tokens()
    }

    async fn revoke_token(&self, request: Request<wire::TokenQuery>) -> Answer {
        let by = self.ordering(&request)?;
        self.end_token(&by, &request.into_inner().id).await
    }

    async fn add_operator(&self, request: Request<wire::AddOperatorRequest>) -> Answer<wire::OperatorAdded> {
        let by = self.ordering(&request)?;
        self.add_person(&by, request.into_inner()).await
    }

    async fn remove_operator(&self, request: Request<wire::RemoveOperatorRequest>) -> Answer {
        let by = self.ordering(&request)?;
        self.remove_person(&by, request.into_inner()).await
    }

    async fn list_operators(&self, request: Request<wire::Nothing>) -> Answer {
        self.asking(&request, Question::View)?;
        self.show_people()
    }

    async fn create_access_token(
        &self,
        request: Request<wire::AccessTokenRequest>,
    ) -> Answer<wire::TokenCreated> {
        let by = self.ordering(&request)?;
        self.new_access_token(&by, request.into_inner()).await
    }

    async fn revoke_access_token(&self, request: Request<wire::TokenQuery>) -> Answer {
        let by = self.ordering(&request)?;
        self.end_access_token(&by, &request.into_inner().id).await
    }

    async fn open_dashboard(&self, request: Request<wire::Nothing>) -> Answer<wire::DashboardOpened> {
        let by = self.asking(&request, Question::View)?;
        self.begin_dashboard(&by)
    }

    async fn missing_blobs(&self, request: Request<Streaming<wire::BlobList>>) -> Answer<wire::BlobList> {
        self.asking(&request, Question::Upload)?;
        self.missing(request.into_inner()).await
    }

    async fn upload_blobs(&self, request: Request<Streaming<wire::BlobPiece>>) -> Answer<wire::Uploaded> {
        self.asking(&request, Question::Upload)?;
        self.upload(request.into_inner()).await
    }

    async fn push_release(&self, request: Request<wire::SignedRelease>) -> Answer {
        let by = self.ordering(&request)?;
        self.push(&by, request.into_inner()).await
    }

    async fn list_releases(&self, request: Request<wire::ReleasesQuery>) -> Answer {
        self.asking(&request, Question::View)?;
        self.show_releases(&request.into_inner().app)
    }

    async fn read_release(&self, request: Request<wire::ReleaseQuery>) -> Answer<wire::SignedRelease> {
        self.asking(&request, Question::View)?;
        self.send_release(request.into_inner()).await
    }

    async fn backups(&self, request: Request<wire::BackupsQuery>) -> Answer {
        self.asking(&request, Question::View)?;
        self.show_backups(request.into_inner().app).await
    }

    async fn fetch_backup(&self, request: Request<wire::BackupQuery>) -> Answer<Self::FetchBackupStream> {
        let rollout = request.get_ref().rollout;
        let by = self.asking(&request, Question::Backup(RolloutNumber(rollout)))?;
        self.send_backup(&by, rollout).await
    }

    async fn renew_operator(&self, request: Request<wire::RenewRequest>) -> Answer<wire::Credentials> {
        let operator = self.asking(&request, Question::View)?;
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
