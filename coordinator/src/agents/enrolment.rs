//! The way in: a join token, or the word of a cluster, against a certificate.

use std::fmt;
use std::sync::Arc;

use fleet_proto::authority::Issued;
use fleet_proto::identity::Who;
use fleet_proto::ids::NodeId;
use fleet_proto::release::Platform;
use fleet_proto::time::Timestamp;
use fleet_proto::token::JoinToken;
use fleet_proto::wire;
use fleet_proto::wire::enrolment_server::Enrolment;
use tonic::{Request, Response, Status};

use crate::clusters::{Clusters, Vouched};
use crate::driver::Handle;
use crate::listener::Live;
use crate::refusal;
use crate::rollout::input::{Author, Request as Order};
use crate::trust::Trust;

/// The only service at the newcomers' door.
#[derive(Clone)]
pub struct Newcomers {
    pub handle: Handle,
    pub trust: Arc<Trust>,
    pub live: Arc<Live>,
    pub clusters: Arc<Clusters>,
}

/// By what a newcomer is let in.
enum Proof {
    Token(JoinToken),
    Cluster(Vouched),
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(token) => write!(f, "join token {}", token.id),
            Self::Cluster(vouched) => write!(f, "cluster {}", vouched.cluster),
        }
    }
}

impl Proof {
    fn order(self, node: &NodeId, issued: &Issued, platform: Platform) -> Order {
        let (node, key, certificates_from) = (node.clone(), issued.key, issued.not_before);
        match self {
            Self::Token(token) => Order::Enrol {
                token: token.id.clone(),
                secret_hash: token.secret_hash(),
                node,
                key,
                certificates_from,
                platform,
            },
            Self::Cluster(vouched) => Order::EnrolPod {
                cluster: vouched.cluster,
                labels: vouched.labels,
                naming: vouched.naming,
                node,
                key,
                certificates_from,
                platform,
            },
        }
    }
}

impl Newcomers {
    async fn proof(&self, asked: &wire::EnrolRequest, node: &NodeId) -> Result<Proof, Status> {
        if asked.service_account_token.is_empty() {
            return asked.token.parse().map(Proof::Token).map_err(refusal::usage);
        }
        if !asked.token.is_empty() {
            return Err(Status::invalid_argument(
                "one proof is enough: a join token, or a service account's",
            ));
        }
        let clusters = self.clusters.clone();
        let (token, asked_for) = (asked.service_account_token.clone(), node.clone());
        let looked =
            tokio::task::spawn_blocking(move || clusters.vouch_for(&token, &asked_for, Timestamp::now()));
        let vouched = looked.await.map_err(|error| refusal::internal(&error))?;
        vouched.map(Proof::Cluster).map_err(|refused| {
            tracing::warn!(%node, why = %refused, "refused an enrolment");
            Status::permission_denied(refused.to_string())
        })
    }
}

#[tonic::async_trait]
impl Enrolment for Newcomers {
    async fn enrol(
        &self,
        request: Request<wire::EnrolRequest>,
    ) -> Result<Response<wire::Credentials>, Status> {
        let asked = request.into_inner();
        let node: NodeId = asked.node.parse().map_err(refusal::name)?;
        let platform: Platform = asked.platform.parse().map_err(refusal::usage)?;
        let proof = self.proof(&asked, &node).await?;
        // Made before the token is used, so that a malformed request costs no use of
        // it; handed out after, when the use is durable.
        let issued = self
            .trust
            .issue_node(&asked.certificate_request, &node, Timestamp::now())
            .map_err(|error| refusal::certificate(&error))?;
        let by_whose_word = proof.to_string();
        let order = proof.order(&node, &issued, platform);
        let was_known = self.handle.read(|state| state.nodes.contains_key(&node));
        self.handle
            .submit(Author::Newcomer(node.clone()), order)
            .await
            .map_err(|refused| {
                tracing::warn!(%node, by_whose_word, why = %refused, "refused an enrolment");
                refusal::status(&refused)
            })?;
        if was_known {
            // Whoever had the name before has it no more.
            self.live.cut(&Who::Node(node.clone()));
        }
        tracing::info!(%node, by_whose_word, serial = issued.serial, "enrolled");
        Ok(Response::new(wire::Credentials {
            certificate_chain: issued.chain_pem,
            authority: self.trust.authority_pem().to_owned(),
        }))
    }
}
