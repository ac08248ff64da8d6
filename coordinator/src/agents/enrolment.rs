//! The way in: a join token against a certificate.

use std::sync::Arc;

use fleet_proto::identity::Who;
use fleet_proto::ids::NodeId;
use fleet_proto::release::Platform;
use fleet_proto::time::Timestamp;
use fleet_proto::token::JoinToken;
use fleet_proto::wire;
use fleet_proto::wire::enrolment_server::Enrolment;
use tonic::{Request, Response, Status};

use crate::driver::Handle;
use crate::listener::Live;
use crate::refusal;
use crate::rollout::input::Request as Order;
use crate::trust::Trust;

/// The only service at the newcomers' door.
#[derive(Clone)]
pub struct Newcomers {
    pub handle: Handle,
    pub trust: Arc<Trust>,
    pub live: Arc<Live>,
}

#[tonic::async_trait]
impl Enrolment for Newcomers {
    async fn enrol(
        &self,
        request: Request<wire::EnrolRequest>,
    ) -> Result<Response<wire::Credentials>, Status> {
        let asked = request.into_inner();
        let token: JoinToken = asked.token.parse().map_err(refusal::usage)?;
        let node: NodeId = asked.node.parse().map_err(refusal::name)?;
        let platform: Platform = asked.platform.parse().map_err(refusal::usage)?;
        // Made before the token is used, so that a malformed request costs no use of
        // it; handed out after, when the use is durable.
        let issued = self
            .trust
            .issue_node(&asked.certificate_request, &node, Timestamp::now())
            .map_err(|error| refusal::certificate(&error))?;
        let order = Order::Enrol {
            token: token.id.clone(),
            secret_hash: token.secret_hash(),
            node: node.clone(),
            key: issued.key,
            certificates_from: issued.not_before,
            platform,
        };
        let was_known = self.handle.read(|state| state.nodes.contains_key(&node));
        self.handle
            .submit(&format!("node/{node}"), order)
            .await
            .map_err(|refused| {
                tracing::warn!(%node, token = %token.id, why = %refused, "refused an enrolment");
                refusal::status(&refused)
            })?;
        if was_known {
            // Whoever had the name before has it no more.
            self.live.cut(&Who::Node(node.clone()));
        }
        tracing::info!(%node, token = %token.id, serial = issued.serial, "enrolled");
        Ok(Response::new(wire::Credentials {
            certificate_chain: issued.chain_pem,
            authority: self.trust.authority_pem().to_owned(),
        }))
    }
}
