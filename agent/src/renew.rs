//! Certificates renew themselves, long before they expire, with a new key. The session
//! that is open goes on; the next connection uses the new one.
//!
//! What cannot be renewed any more, for its time is over or the node was given up, is
//! replaced as the first one was got, where the node is told how to get in by itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use fleet_proto::authority::{AuthorityError, KeyAndRequest};
use fleet_proto::identity::Peer;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::{Credentials, TlsError};
use fleet_proto::wire::RenewRequest;
use fleet_proto::wire::agent_client::AgentClient;
use rustls::ClientConfig;
use tokio::sync::watch;
use tonic::Status;

use crate::config::{Config, EnrolAtStart};
use crate::effects::chain;
use crate::enrol::at_start::{self, AtStartError};
use crate::identity::{self, IdentityError};
use crate::layout::Layout;
use crate::link::Reach;
use crate::link::backoff::jittered;

const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// A clock can jump: how late that is noticed at most.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Whoever was refused a new identity is refused it again for a while.
const ENROL_EVERY: Duration = Duration::from_secs(30);
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

#[derive(Debug, thiserror::Error)]
enum AnewError {
    #[error(transparent)]
    Enrol(#[from] AtStartError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

pub struct Renewal {
    pub layout: Layout,
    pub config: Arc<Config>,
    pub reach: Reach,
    pub client_config: Arc<ArcSwap<ClientConfig>>,
    /// Who the certificate says that this is, and until when.
    pub peer: watch::Sender<Peer>,
    /// A coordinator would let this node in as a new one only.
    pub is_shut_out: watch::Receiver<()>,
}

impl Renewal {
    pub async fn run(mut self) {
        let config = self.config.clone();
        let how = config.enrol.as_ref();
        loop {
            let (due, not_after) = {
                let peer = self.peer.borrow();
                (peer.renew_at(), peer.not_after)
            };
            let now = Timestamp::now();
            let is_shut_out = self.is_shut_out.has_changed().unwrap_or(false);
            if let Some(how) = how.filter(|_| is_shut_out || not_after <= now) {
                self.enrol_anew(how).await;
                continue;
            }
            let wait = due.since(now).as_duration();
            if wait > Duration::ZERO {
                self.sleep_unless_shut_out(wait.min(LOOK_EVERY)).await;
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

    async fn enrol_anew(&mut self, how: &EnrolAtStart) {
        match self.get_in(how).await {
            Ok(()) => tracing::info!("the node is in again, as a new one"),
            Err(error) => {
                tracing::warn!(error = chain(&error), "the node does not get in again yet");
                tokio::time::sleep(jittered(ENROL_EVERY)).await;
            }
        }
        // What was said meanwhile was said to the one that it was before.
        self.is_shut_out.mark_unchanged();
    }

    async fn sleep_unless_shut_out(&self, time: Duration) {
        let mut knocks = self.is_shut_out.clone();
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            Ok(()) = knocks.changed() => {}
        }
    }

    async fn get_in(&self, how: &EnrolAtStart) -> Result<(), AnewError> {
        at_start::enrol_patiently(&self.config, &self.layout, how).await?;
        let (credentials, peer) = identity::read(&self.layout, Path::new(""), &self.config.node)?;
        self.client_config.store(Arc::new(credentials.client_config()?));
        self.reach.begin_anew()?;
        self.peer.send_replace(peer);
        Ok(())
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
        identity::must_be(&peer, &self.config.node)?;
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
