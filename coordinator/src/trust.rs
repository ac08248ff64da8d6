//! The authority and the coordinator's own identity: who is issued what, and with
//! which certificate this process itself shows up.

mod error;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use fleet_proto::authority::{Authority, Issued, KeyAndRequest, fingerprint};
use fleet_proto::digest::Digest;
use fleet_proto::identity::Who;
use fleet_proto::ids::{CoordinatorId, NodeId, OperatorName};
use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::{AUTHORITY_FILE, CERTIFICATE_FILE, Credentials, KEY_FILE};
use rustls::ServerConfig;

use crate::config::Config;
use crate::durable;

pub use error::TrustError;

pub const AUTHORITY_KEY_FILE: &str = "ca-key.pem";
/// Renewed by the coordinator itself after two thirds, and at start when it was off.
const COORDINATOR_CERTIFICATE_LIFE: Span = Span::from_secs(30 * 86_400);
/// Fleet has one coordinator until it has standbys.
const COORDINATOR: &str = "c1";

/// What a connection is answered with.
pub struct ServerTls {
    /// For who has a certificate.
    pub member: Arc<ServerConfig>,
    /// For who has a join token.
    pub newcomer: Arc<ServerConfig>,
    renew_at: Timestamp,
    expires_at: Timestamp,
}

pub struct Trust {
    authority: Authority,
    authority_expires_at: Timestamp,
    fingerprint: Digest,
    identity: PathBuf,
    node_life: Span,
    operator_life: Span,
    tls: ArcSwap<ServerTls>,
}

impl Trust {
    pub fn open(config: &Config, now: Timestamp) -> Result<Self, TrustError> {
        let certificate = read(&config.authority.join(AUTHORITY_FILE))?;
        let key = read(&config.authority.join(AUTHORITY_KEY_FILE))?;
        let authority = Authority::load(&config.trust_domain, &certificate, &key)?;
        let current = Credentials::read(&config.identity).and_then(|own| Ok((own.peer()?, own)));
        let own = match current {
            Ok((peer, own)) if peer.renew_at() > now => own,
            // Away for too long, or lost: the authority is here, so make a new one.
            _ => issue_own(&authority, &config.identity, now)?,
        };
        Ok(Self {
            fingerprint: fingerprint(&certificate)?,
            authority_expires_at: authority.expires_at()?,
            authority,
            identity: config.identity.clone(),
            node_life: config.node_certificate_life,
            operator_life: config.operator_certificate_life,
            tls: ArcSwap::from_pointee(server_tls(&own)?),
        })
    }

    /// As of this moment; a renewal shows in the next connection.
    pub fn tls(&self) -> Arc<ServerTls> {
        self.tls.load_full()
    }

    pub fn trust_domain(&self) -> &str {
        self.authority.trust_domain()
    }

    /// What a join token pins.
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// Of the certificate that this process shows.
    pub fn expires_at(&self) -> Timestamp {
        self.tls().expires_at
    }

    pub fn authority_expires_at(&self) -> Timestamp {
        self.authority_expires_at
    }

    pub fn authority_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    pub fn issue_node(&self, request: &[u8], node: &NodeId, now: Timestamp) -> Result<Issued, TrustError> {
        let who = Who::Node(node.clone());
        Ok(self.authority.issue(request, &who, self.node_life, now)?)
    }

    pub fn issue_operator(
        &self,
        request: &[u8],
        operator: &OperatorName,
        now: Timestamp,
    ) -> Result<Issued, TrustError> {
        let who = Who::Operator(operator.clone());
        Ok(self.authority.issue(request, &who, self.operator_life, now)?)
    }

    /// For browsers: a chain and its key, in PEM.
    pub fn issue_site(
        &self,
        names: &[String],
        life: Span,
        now: Timestamp,
    ) -> Result<(String, String), TrustError> {
        Ok(self.authority.issue_site(names, life, now)?)
    }

    /// Live connections keep the certificate they began with; that one is still valid.
    pub fn renew_if_due(&self, now: Timestamp) -> Result<bool, TrustError> {
        if self.tls().renew_at > now {
            return Ok(false);
        }
        let own = issue_own(&self.authority, &self.identity, now)?;
        self.tls.store(Arc::new(server_tls(&own)?));
        Ok(true)
    }
}

fn read(path: &Path) -> Result<String, TrustError> {
    std::fs::read_to_string(path).map_err(|source| TrustError::Read {
        path: path.to_owned(),
        source,
    })
}

fn server_tls(own: &Credentials) -> Result<ServerTls, TrustError> {
    let peer = own.peer()?;
    Ok(ServerTls {
        member: Arc::new(own.server_config()?),
        newcomer: Arc::new(own.enrolment_server_config()?),
        renew_at: peer.renew_at(),
        expires_at: peer.not_after,
    })
}

fn issue_own(authority: &Authority, directory: &Path, now: Timestamp) -> Result<Credentials, TrustError> {
    let id: CoordinatorId = COORDINATOR.parse()?;
    issue_into(
        authority,
        directory,
        &Who::Coordinator(id),
        COORDINATOR_CERTIFICATE_LIFE,
        now,
    )
}

/// Makes a key and its certificate as `cert.pem`, `key.pem` and `ca.pem`.
pub fn issue_into(
    authority: &Authority,
    directory: &Path,
    who: &Who,
    life: Span,
    now: Timestamp,
) -> Result<Credentials, TrustError> {
    let made = KeyAndRequest::generate()?;
    let issued = authority.issue(&made.request_der, who, life, now)?;
    let credentials = Credentials::from_pem(&issued.chain_pem, &made.key_pem, authority.certificate_pem())?;
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        durable::write_file(&path, text.as_bytes()).map_err(|source| TrustError::Write { path, source })
    };
    durable::create_directory(directory).map_err(|source| TrustError::Write {
        path: directory.to_owned(),
        source,
    })?;
    write(KEY_FILE, &made.key_pem)?;
    write(CERTIFICATE_FILE, &issued.chain_pem)?;
    write(AUTHORITY_FILE, authority.certificate_pem())?;
    Ok(credentials)
}
