//! Certificates renew themselves, long before they expire, with a new key. The session
//! that is open goes on; the next connection uses the new one.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use fleet_proto::authority::{AuthorityError, KeyAndRequest};
use fleet_proto::identity::Peer;
use fleet_proto::ids::NodeId;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::{Credentials, TlsError};
use fleet_proto::wire::RenewRequest;
use fleet_proto::wire::agent_client::AgentClient;
use rustls::ClientConfig;
use tokio::sync::watch;
use tonic::Status;

use crate::effects::chain;
use crate::identity::{self, IdentityError};
use crate::layout::Layout;
use crate::link::Reach;
use crate::link::backoff::jittered;

const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// A clock can jump: how late that is noticed at most.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Between attempts: a twentieth of what is left, within these bounds.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(600);

#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error(transparent)]
    Key(#[from] AuthorityError),
    #[error("the coordinator said: {}", .0.message())]
    Status(#[from] Status),
    #[error("no answer within {}s", ANSWER_DEADLINE.as_secs())]
    NoAnswer,
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the new certificate was not written down")]
    Unwritten(#[from] tokio::task::JoinError),
}

pub struct Renewal {
    pub layout: Layout,
    pub node: NodeId,
    pub reach: Reach,
    pub client_config: Arc<ArcSwap<ClientConfig>>,
    /// Who the certificate says that this is, and until when.
    pub peer: watch::Sender<Peer>,
}

impl Renewal {
    pub async fn run(self) {
        loop {
            let due = self.peer.borrow().renew_at();
            let wait = due.since(Timestamp::now()).as_duration();
            if wait > Duration::ZERO {
                tokio::time::sleep(wait.min(LOOK_EVERY)).await;
                continue;
            }
            let pause = match self.renew().await {
                Ok(peer) => {
                    tracing::info!(until = %peer.not_after, "certificate renewed");
                    self.peer.send_replace(peer);
                    RETRY_MIN
                }
                Err(error) => {
                    let not_after = self.peer.borrow().not_after;
                    tracing::warn!(error = chain(&error), expires = %not_after, "cannot renew the certificate yet");
                    let left = not_after.since(Timestamp::now()).as_duration();
                    (left / 20).clamp(RETRY_MIN, RETRY_MAX)
                }
            };
            tokio::time::sleep(jittered(pause)).await;
        }
    }

    async fn renew(&self) -> Result<Peer, RenewError> {
        let key = KeyAndRequest::generate()?;
        let request = RenewRequest {
            certificate_request: key.request_der.clone(),
        };
        let mut client = AgentClient::new(self.reach.channel());
        let answer = tokio::time::timeout(ANSWER_DEADLINE, client.renew(request))
            .await
            .map_err(|_| RenewError::NoAnswer)??
            .into_inner();
        let credentials = Credentials::from_pem(&answer.certificate_chain, &key.key_pem, &answer.authority)?;
        let config = credentials.client_config()?;
        let peer = credentials.peer()?;
        identity::must_be(&peer, &self.node)?;
        let layout = self.layout.clone();
        let written = tokio::task::spawn_blocking(move || {
            identity::write(
                &layout,
                &answer.certificate_chain,
                &key.key_pem,
                &answer.authority,
            )
        });
        written.await??;
        self.client_config.store(Arc::new(config));
        Ok(peer)
    }
}
