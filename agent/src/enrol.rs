//! A node's way in: a key made here, a join token or the word of its cluster, a certificate.

pub mod at_start;

use std::sync::Arc;

use arc_swap::ArcSwap;
use fleet_proto::authority::{AuthorityError, KeyAndRequest, fingerprint};
use fleet_proto::digest::Digest;
use fleet_proto::identity::Peer;
use fleet_proto::release::Platform;
use fleet_proto::tls::{Credentials, TlsError, enrolment_client_config};
use fleet_proto::token::JoinToken;
use fleet_proto::wire::EnrolRequest;
use fleet_proto::wire::enrolment_client::EnrolmentClient;
use tonic::{Code, Status};

use crate::config::Config;
use crate::durable::{self, FileError, create_directory};
use crate::identity::{self, IdentityError};
use crate::layout::Layout;

const ANSWER_DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Key(#[from] AuthorityError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the coordinator refused to enrol this node: {why}")]
    Refused { why: String },
    #[error(
        "no coordinator could be reached: {tried}\nhint: is one running there, and can this node connect to it?"
    )]
    Unreachable { tried: String },
    #[error("the coordinator's authority is not the one that the token, or `authority` in agent.toml, names")]
    Authority,
}

/// Why this node should be let in, and whom it lets tell it so.
pub enum Proof {
    Token(JoinToken),
    /// What the cluster says of this pod, and the authority that the configuration pins.
    ServiceAccount {
        token: String,
        authority: Digest,
    },
}

impl From<JoinToken> for Proof {
    fn from(token: JoinToken) -> Self {
        Self::Token(token)
    }
}

impl Proof {
    fn authority(&self) -> Digest {
        match self {
            Self::Token(token) => token.authority,
            Self::ServiceAccount { authority, .. } => *authority,
        }
    }

    fn request(&self, config: &Config, key: &KeyAndRequest) -> EnrolRequest {
        let (token, service_account_token) = match self {
            Self::Token(token) => (token.to_string(), String::new()),
            Self::ServiceAccount { token, .. } => (String::new(), token.clone()),
        };
        EnrolRequest {
            token,
            service_account_token,
            node: config.node.to_string(),
            certificate_request: key.request_der.clone(),
            platform: Platform::here().to_string(),
        }
    }
}

/// Tries each coordinator until one answers. An answer, even a refusal, is final.
pub async fn enrol(config: &Config, layout: &Layout, proof: &Proof) -> Result<Peer, EnrolError> {
    create_directory(layout.root())?;
    let key = key_of_this_attempt(layout)?;
    let client_config = Arc::new(ArcSwap::from_pointee(enrolment_client_config(proof.authority())?));
    let mut tried = Vec::new();
    for address in &config.coordinators {
        let channel = fleet_proto::tls::channel(address, client_config.clone())?;
        let request = proof.request(config, &key);
        let asked = tokio::time::timeout(ANSWER_DEADLINE, EnrolmentClient::new(channel).enrol(request)).await;
        let status = match asked {
            Ok(Ok(answer)) => return accept(config, layout, proof.authority(), &key, &answer.into_inner()),
            Ok(Err(status)) if is_refusal(&status) => {
                return Err(EnrolError::Refused {
                    why: status.message().to_owned(),
                });
            }
            Ok(Err(status)) => status.message().to_owned(),
            Err(_) => format!("no answer within {}s", ANSWER_DEADLINE.as_secs()),
        };
        tried.push(format!("{address}: {status}"));
    }
    Err(EnrolError::Unreachable {
        tried: tried.join("; "),
    })
}

/// Kept until there is a certificate for it: an answer that is lost on the way can be
/// asked for again, by the same key and nobody else.
fn key_of_this_attempt(layout: &Layout) -> Result<KeyAndRequest, EnrolError> {
    let path = layout.enrolment_key();
    if let Ok(pem) = std::fs::read_to_string(&path)
        && let Ok(known) = KeyAndRequest::again(&pem)
    {
        return Ok(known);
    }
    let key = KeyAndRequest::generate()?;
    durable::replace(&path, key.key_pem.as_bytes(), 0o600)?;
    Ok(key)
}

fn is_refusal(status: &Status) -> bool {
    !matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled | Code::Internal
    )
}

/// What came must fit the key that was made and the node that this is, before it
/// replaces anything.
fn accept(
    config: &Config,
    layout: &Layout,
    authority: Digest,
    key: &KeyAndRequest,
    answer: &fleet_proto::wire::Credentials,
) -> Result<Peer, EnrolError> {
    if fingerprint(&answer.authority)? != authority {
        return Err(EnrolError::Authority);
    }
    let credentials = Credentials::from_pem(&answer.certificate_chain, &key.key_pem, &answer.authority)?;
    credentials.client_config()?;
    let peer = credentials.peer()?;
    identity::must_be(&peer, &config.node)?;
    identity::write(layout, &answer.certificate_chain, &key.key_pem, &answer.authority)?;
    durable::remove(&layout.enrolment_key())?;
    Ok(peer)
}
