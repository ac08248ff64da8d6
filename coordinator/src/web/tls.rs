//! The certificate that browsers are shown: files that somebody else renews, read again when
//! they change, or one of the fleet's own authority. Whoever has an operator's certificate may show it; nobody has to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

use super::Tls;
use crate::trust::{Trust, TrustError};

/// Certificates are renewed days before they end.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Browsers take no longer one for what anybody may visit.
const OWN_LIFE: Span = Span::from_secs(90 * 86_400);
const OWN_RENEWED_AFTER: Span = Span::from_secs(60 * 86_400);

#[derive(Debug, thiserror::Error)]
pub enum WebTlsError {
    #[error("cannot read {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is no {what} in PEM: {why}", .path.display())]
    Pem {
        path: PathBuf,
        what: &'static str,
        why: String,
    },
    #[error("the certificate in {} cannot be shown", .path.display())]
    Unusable {
        path: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error(transparent)]
    Own(#[from] TrustError),
    #[error("the authority's certificate cannot be used to verify operators: {0}")]
    Authority(String),
}

/// Where what browsers are shown comes from.
#[derive(Clone)]
pub enum Source {
    /// Of whoever signs for this name, and renews it.
    Files { certificate: PathBuf, key: PathBuf },
    /// Signed by the fleet's own authority, which browsers have to be told to trust.
    Own { names: Vec<String> },
}

#[derive(Clone)]
pub struct Site {
    pub source: Source,
    pub trust: Arc<Trust>,
}

/// By which it is seen that there is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edition {
    Changed(Option<SystemTime>, Option<SystemTime>),
    DueAt(Timestamp),
}

impl Site {
    fn read(&self, now: Timestamp) -> Result<(ServerConfig, Edition), WebTlsError> {
        match &self.source {
            Source::Files { certificate, key } => {
                let edition = changed(certificate, key);
                let (chain, secret) = (read(certificate)?, read(key)?);
                Ok((self.config(certificate, (&chain, &secret))?, edition))
            }
            Source::Own { names } => {
                let (chain, secret) = self.trust.issue_site(names, OWN_LIFE, now)?;
                let file = Path::new("the one of its own");
                let config = self.config(file, (chain.as_bytes(), secret.as_bytes()))?;
                Ok((config, Edition::DueAt(now.plus(OWN_RENEWED_AFTER))))
            }
        }
    }

    fn is_outdated(&self, edition: Edition, now: Timestamp) -> bool {
        match (&self.source, edition) {
            (Source::Files { certificate, key }, edition) => changed(certificate, key) != edition,
            (Source::Own { .. }, Edition::DueAt(due)) => now >= due,
            (Source::Own { .. }, Edition::Changed(..)) => true,
        }
    }

    fn config(&self, file: &Path, (chain, key): (&[u8], &[u8])) -> Result<ServerConfig, WebTlsError> {
        let pem = |what, error: &dyn std::fmt::Display| WebTlsError::Pem {
            path: file.to_owned(),
            what,
            why: error.to_string(),
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| pem("certificate", &error))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| pem("key", &error))?;
        let unusable = |source| WebTlsError::Unusable {
            path: file.to_owned(),
            source,
        };
        let provider = Arc::new(default_provider());
        let mut roots = RootCertStore::empty();
        let not_ours = |error: &dyn std::fmt::Display| WebTlsError::Authority(error.to_string());
        let authority = CertificateDer::from_pem_slice(self.trust.authority_pem().as_bytes());
        roots
            .add(authority.map_err(|error| not_ours(&error))?)
            .map_err(|error| not_ours(&error))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|error| not_ours(&error))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        // One that is resumed is not verified again.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn changed(certificate: &Path, key: &Path) -> Edition {
    let at = |path: &Path| std::fs::metadata(path).and_then(|found| found.modified()).ok();
    Edition::Changed(at(certificate), at(key))
}

fn read(path: &Path) -> Result<Vec<u8>, WebTlsError> {
    std::fs::read(path).map_err(|source| WebTlsError::Read {
        path: path.to_owned(),
        source,
    })
}

/// What is there now, and what will be there later.
pub fn follow(site: Site, stopping: CancellationToken) -> Result<Tls, WebTlsError> {
    let (config, mut edition) = site.read(Timestamp::now())?;
    let current = Arc::new(ArcSwap::from_pointee(config));
    let later = current.clone();
    let following = async move {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let now = Timestamp::now();
            if !site.is_outdated(edition, now) {
                continue;
            }
            match site.read(now) {
                Ok((config, next)) => {
                    tracing::info!("browsers are shown another certificate from now on");
                    later.store(Arc::new(config));
                    edition = next;
                }
                // Half of the pair may have been written so far.
                Err(error) => tracing::warn!(%error, "cannot use the certificate that has changed"),
            }
        }
    };
    tokio::spawn(async move {
        stopping.run_until_cancelled(following).await;
    });
    Ok(Arc::new(move || current.load_full()))
}
