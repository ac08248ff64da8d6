//! The agents' side: enrolment, the session, certificates, and what they fetch.

mod admission;
mod answer;
mod backup;
mod enrolment;
pub(crate) mod fetch;
mod outbound;
mod session;

use std::sync::Arc;

use fleet_proto::identity::Who;
use fleet_proto::ids::NodeId;
use fleet_proto::quantity::Span;
use fleet_proto::release::SignedManifest;
use fleet_proto::session::anew::may_enrol_anew;
use fleet_proto::time::Timestamp;
use fleet_proto::wire;
use fleet_proto::wire::agent_server::Agent;
use tokio::sync::{Mutex, Semaphore};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::artifacts::Artifacts;
use crate::backups::Backups;
use crate::driver::Handle;
use crate::listener::Live;
use crate::questions::Questions;
use crate::rollout::state::Step;
use crate::trust::Trust;
use crate::{caller, refusal};

use admission::Standing;

pub use admission::Admission;
pub use enrolment::Newcomers;
pub use outbound::Outbound;

#[derive(Clone)]
pub struct Agents {
    pub handle: Handle,
    pub artifacts: Artifacts,
    pub trust: Arc<Trust>,
    pub live: Arc<Live>,
    pub heartbeat: Span,
    pub stopping: CancellationToken,
    /// Held while a stream comes or goes, so that the driver hears of both in the
    /// order in which they happened.
    pub presence: Arc<Mutex<()>>,
    pub admission: Arc<Admission>,
    pub backups: Backups,
    pub backups_coming: Arc<Semaphore>,
    pub questions: Arc<Questions>,
}

/// Dumps are large, and the disk is one.
pub const BACKUPS_AT_ONCE: usize = 2;

impl Agents {
    /// The node that calls, if it is one of ours still.
    fn admit(&self, caller: &crate::listener::Caller) -> Result<NodeId, Status> {
        let admitted = self.is_ours(caller);
        if let Err(refusal) = &admitted {
            let why = refusal.message().lines().next().unwrap_or_default();
            tracing::warn!(address = %caller.address, why, "refused a node");
        }
        admitted
    }

    fn is_ours(&self, caller: &crate::listener::Caller) -> Result<NodeId, Status> {
        let node = caller::node(caller)?;
        self.handle.read(|state| match state.nodes.get(&node) {
            None => Err(Status::permission_denied(format!(
                "node {node} is not known here; the coordinator's state may be older than the node\nhint: `fleetctl token create --node {node}` lets it in again"
            ))),
            Some(known) if known.has_expired() => Err(may_enrol_anew(Status::permission_denied(format!(
                "node {node} was ephemeral, and has expired while it was gone\nhint: enrol it again; its name is free"
            )))),
            Some(known) if known.is_revoked() => Err(revoked(&node)),
            Some(known) if is_from_before(caller, known.certificates_from) => Err(Status::permission_denied(format!(
                "node {node} has enrolled anew since this certificate was issued\nhint: `fleetctl token create --node {node}` lets this machine in, in the place of the other"
            ))),
            Some(_) => Ok(()),
        })?;
        Ok(node)
    }

    /// A rollout waits for those in the middle of a step; nobody waits for the others.
    async fn wait_for_a_place(&self, node: &NodeId) -> Result<(), Status> {
        let in_step = self.handle.read(|state| {
            let mut active = state
                .active
                .iter()
                .filter_map(|number| state.rollouts.get(number));
            active.any(|rollout| rollout.steps.get(node).is_some_and(is_moving))
        });
        let standing = if in_step {
            Standing::InStep
        } else {
            Standing::Other
        };
        self.admission.wait(standing).await.map_err(|full| {
            Status::unavailable(format!(
                "many nodes come back at once; the queue is {} s long",
                full.0.as_secs()
            ))
        })
    }
}

/// A bake goes on by itself.
fn is_moving(step: &Step) -> bool {
    step.is_in_flight() && !step.is_good()
}

/// The certificate of a machine that another one has taken the place of.
fn is_from_before(caller: &crate::listener::Caller, certificates_from: Timestamp) -> bool {
    let begins = caller.peer.as_ref().map(|peer| peer.not_before);
    begins.is_none_or(|begins| begins < certificates_from)
}

pub(crate) fn revoked(node: &NodeId) -> Status {
    let who = Who::Node(node.clone());
    Status::permission_denied(format!(
        "the certificate of {who} was revoked\nhint: a revocation is for good; enrol the machine under another name"
    ))
}

#[tonic::async_trait]
impl Agent for Agents {
    type SessionStream = Outbound;
    type AnswerStream = answer::Taken;
    type FetchBlobsStream = ReceiverStream<Result<wire::BlobPiece, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<wire::FromAgent>>,
    ) -> Result<Response<Outbound>, Status> {
        let caller = caller::of(&request)?;
        let node = self.admit(&caller)?;
        self.wait_for_a_place(&node).await?;
        let outbound = session::open(self, node, caller, request.into_inner()).await?;
        Ok(Response::new(outbound))
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::Credentials>, Status> {
        let node = self.admit(&caller::of(&request)?)?;
        let issued = self
            .trust
            .issue_node(&request.into_inner().certificate_request, &node, Timestamp::now())
            .map_err(|error| refusal::certificate(&error))?;
        tracing::info!(%node, serial = issued.serial, "renewed a certificate");
        self.live.renewed(&Who::Node(node), issued.not_after);
        Ok(Response::new(wire::Credentials {
            certificate_chain: issued.chain_pem,
            authority: self.trust.authority_pem().to_owned(),
        }))
    }

    async fn reach(
        &self,
        request: Request<wire::ReachRequest>,
    ) -> Result<Response<wire::ReachReply>, Status> {
        self.admit(&caller::of(&request)?)?;
        Ok(Response::new(wire::ReachReply {}))
    }

    async fn fetch_release(
        &self,
        request: Request<wire::ReleaseRequest>,
    ) -> Result<Response<wire::SignedRelease>, Status> {
        self.admit(&caller::of(&request)?)?;
        let digest = request.into_inner().digest.parse().map_err(refusal::usage)?;
        let artifacts = self.artifacts.clone();
        let signed: SignedManifest = tokio::task::spawn_blocking(move || artifacts.read_signed(digest))
            .await
            .map_err(|error| refusal::internal(&error))?
            .map_err(|error| refusal::artifact(&error))?;
        Ok(Response::new((&signed).into()))
    }

    async fn keep_backup(
        &self,
        request: Request<Streaming<wire::BackupPiece>>,
    ) -> Result<Response<wire::BackupKept>, Status> {
        let node = self.admit(&caller::of(&request)?)?;
        self.take_backup(node, request.into_inner()).await?;
        Ok(Response::new(wire::BackupKept {}))
    }

    async fn fetch_blobs(
        &self,
        request: Request<wire::BlobsRequest>,
    ) -> Result<Response<Self::FetchBlobsStream>, Status> {
        self.admit(&caller::of(&request)?)?;
        let wanted = fetch::wanted(request.into_inner())?;
        Ok(Response::new(fetch::stream(self.artifacts.clone(), wanted)))
    }

    async fn answer(
        &self,
        request: Request<Streaming<wire::AnswerPiece>>,
    ) -> Result<Response<Self::AnswerStream>, Status> {
        let caller = caller::of(&request)?;
        let node = self.admit(&caller)?;
        let taken = answer::take(self, node, caller.ending, request.into_inner()).await?;
        Ok(Response::new(taken))
    }
}
