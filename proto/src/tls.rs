//! TLS 1.3, mutual, with identities that are checked in place of host names.
//!
//! Sessions are never resumed: a resumed one would skip the verifier.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::digest::Digest;
use crate::identity::{IdentityError, Peer, Who};
use crate::quantity::Span;
use crate::time::Timestamp;

/// The application protocol by which a node without a certificate asks to enrol.
pub const ALPN_ENROL: &[u8] = b"fleet-enrol/1";
const ALPN_HTTP2: &[u8] = b"h2";

const CONNECT_DEADLINE: Span = Span::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{what} is not what it should be")]
    Pem {
        what: &'static str,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("cannot set up TLS")]
    Rustls(#[from] rustls::Error),
    #[error("cannot set up the verification of certificates")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("`{0}` is not an address; write it as https://host:7443")]
    Address(String),
    #[error("the certificate of {who} expired at {expired_at}")]
    Expired { who: String, expired_at: Timestamp },
    #[error("there is no certificate in it")]
    Empty,
}

/// A certificate chain, its key and the authority: all that one side needs. As files:
/// `cert.pem`, `key.pem` and `ca.pem` in one directory.
pub struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authority: CertificateDer<'static>,
}

pub const CERTIFICATE_FILE: &str = "cert.pem";
pub const KEY_FILE: &str = "key.pem";
pub const AUTHORITY_FILE: &str = "ca.pem";

fn pem(what: &'static str) -> impl FnOnce(rustls::pki_types::pem::Error) -> TlsError {
    move |source| TlsError::Pem { what, source }
}

impl Credentials {
    pub fn from_pem(chain: &str, key: &str, authority: &str) -> Result<Self, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(pem("the certificate"))?;
        if chain.is_empty() {
            return Err(TlsError::Empty);
        }
        Ok(Self {
            chain,
            key: PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(pem("the key"))?,
            authority: CertificateDer::from_pem_slice(authority.as_bytes())
                .map_err(pem("the authority's certificate"))?,
        })
    }

    pub fn read(directory: &Path) -> Result<Self, TlsError> {
        let file = |name: &str| {
            let path = directory.join(name);
            std::fs::read_to_string(&path).map_err(|source| TlsError::Read { path, source })
        };
        Self::from_pem(&file(CERTIFICATE_FILE)?, &file(KEY_FILE)?, &file(AUTHORITY_FILE)?)
    }

    /// Who these credentials say one is.
    pub fn peer(&self) -> Result<Peer, TlsError> {
        let leaf = self.chain.first().ok_or(TlsError::Empty)?;
        Ok(Peer::of_certificate(leaf)?)
    }

    /// Better said before a connection is tried than as a TLS alert after it.
    pub fn must_be_valid_at(&self, now: Timestamp) -> Result<(), TlsError> {
        let peer = self.peer()?;
        if peer.not_after <= now {
            return Err(TlsError::Expired {
                who: peer.identity.who.to_string(),
                expired_at: peer.not_after,
            });
        }
        Ok(())
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone())?;
        Ok(roots)
    }

    /// For the coordinator's main service: no client without a certificate of ours.
    pub fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()?), crypto()).build()?;
        let mut config = ServerConfig::builder_with_provider(crypto())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        never_resume(&mut config);
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        Ok(config)
    }

    /// For enrolment alone, whose clients have nothing but a token. The chain goes out
    /// with the authority's certificate, which the token pins.
    pub fn enrolment_server_config(&self) -> Result<ServerConfig, TlsError> {
        let mut config = ServerConfig::builder_with_provider(crypto())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        never_resume(&mut config);
        config.alpn_protocols = vec![ALPN_ENROL.to_vec()];
        Ok(config)
    }

    pub fn client_config(&self) -> Result<ClientConfig, TlsError> {
        let verifier = CoordinatorVerifier {
            trust: Trust::Authority(self.roots()?),
            trust_domain: Some(self.peer()?.identity.trust_domain),
        };
        let mut config = ClientConfig::builder_with_provider(crypto())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        Ok(config)
    }
}

/// For a node that has only a join token: trusts the one authority with that fingerprint.
pub fn enrolment_client_config(authority: Digest) -> Result<ClientConfig, TlsError> {
    let verifier = CoordinatorVerifier {
        trust: Trust::Fingerprint(authority),
        trust_domain: None,
    };
    let mut config = ClientConfig::builder_with_provider(crypto())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ALPN_ENROL.to_vec()];
    Ok(config)
}

fn crypto() -> Arc<CryptoProvider> {
    Arc::new(provider::default_provider())
}

fn never_resume(config: &mut ServerConfig) {
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
}

#[derive(Debug)]
enum Trust {
    Authority(RootCertStore),
    Fingerprint(Digest),
}

/// Accepts who is a coordinator by certificate, wherever it is reached: identity is in
/// the certificate, and addresses change.
#[derive(Debug)]
struct CoordinatorVerifier {
    trust: Trust,
    /// One's own: an authority may stand for several fleets. Who enrols has none yet.
    trust_domain: Option<String>,
}

impl CoordinatorVerifier {
    fn roots_for(&self, intermediates: &[CertificateDer<'_>]) -> Result<RootCertStore, rustls::Error> {
        match &self.trust {
            Trust::Authority(roots) => Ok(roots.clone()),
            Trust::Fingerprint(fingerprint) => {
                let authority = intermediates
                    .iter()
                    .find(|certificate| Digest::of(certificate) == *fingerprint)
                    .ok_or_else(|| {
                        rustls::Error::General(
                            "the coordinator's authority is not the one that the join token names".into(),
                        )
                    })?;
                let mut roots = RootCertStore::empty();
                roots.add(authority.clone().into_owned())?;
                Ok(roots)
            }
        }
    }
}

impl ServerCertVerifier for CoordinatorVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let roots = self.roots_for(intermediates)?;
        let algorithms = provider::default_provider().signature_verification_algorithms;
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &roots,
            intermediates,
            now,
            algorithms.all,
        )?;
        let peer =
            Peer::of_certificate(end_entity).map_err(|error| rustls::Error::General(error.to_string()))?;
        let theirs = peer.identity.trust_domain;
        if let Some(ours) = self.trust_domain.as_ref().filter(|ours| **ours != theirs) {
            return Err(rustls::Error::General(format!(
                "expected a coordinator of {ours}, found one of {theirs}"
            )));
        }
        match peer.identity.who {
            Who::Coordinator(_) => Ok(ServerCertVerified::assertion()),
            other => Err(rustls::Error::General(format!(
                "expected a coordinator, found {other}"
            ))),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Connects with the configuration of the moment, so that a renewed certificate is
/// used from the next connection on.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ArcSwap<ClientConfig>>,
}

impl Connector {
    pub fn new(config: Arc<ArcSwap<ClientConfig>>) -> Self {
        Self { config }
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let config = self.config.load_full();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let port = uri.port_u16().unwrap_or(DEFAULT_PORT);
            let attempt = async {
                let stream = TcpStream::connect((host.as_str(), port)).await?;
                stream.set_nodelay(true)?;
                // The name is not checked (see CoordinatorVerifier); TLS wants one.
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| std::io::Error::other(format!("`{host}` is not a host name")))?;
                let stream = tokio_rustls::TlsConnector::from(config)
                    .connect(name, stream)
                    .await?;
                Ok(TokioIo::new(stream))
            };
            tokio::time::timeout(CONNECT_DEADLINE.as_duration(), attempt)
                .await
                .unwrap_or_else(|_| {
                    Err(std::io::Error::new(
                        std::io::ErrorKind::TimedOut,
                        format!("no answer within {CONNECT_DEADLINE}"),
                    ))
                })
        })
    }
}

pub const DEFAULT_PORT: u16 = 7443;

/// A channel to the coordinator at `https://host:port` that connects when it is used.
pub fn channel(address: &str, config: Arc<ArcSwap<ClientConfig>>) -> Result<Channel, TlsError> {
    let bad = || TlsError::Address(address.to_owned());
    let origin: Uri = address.parse().map_err(|_| bad())?;
    if origin.scheme_str() != Some("https") || origin.host().is_none() {
        return Err(bad());
    }
    // The connector speaks TLS itself, and tonic wants a plain scheme with it.
    let endpoint = Endpoint::from_shared(address.replacen("https://", "http://", 1))
        .map_err(|_| bad())?
        .origin(origin)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(2 << 20)
        .http2_keep_alive_interval(std::time::Duration::from_secs(15))
        .keep_alive_timeout(std::time::Duration::from_secs(10))
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_with_connector_lazy(Connector::new(config)))
}
