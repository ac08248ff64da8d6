//! The operator's certificate: checked before it is used, renewed before it expires.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use fleet_proto::authority::KeyAndRequest;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::{self, Credentials, TlsError};
use fleet_proto::wire::operator_client::OperatorClient;
use fleet_proto::wire::{Credentials as Issued, RenewRequest};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use tonic::transport::Channel;

use crate::error::Error;

/// A renewal is a courtesy on the way to something else: it may not hold that up.
const RENEWAL_DEADLINE: std::time::Duration = std::time::Duration::from_secs(5);

pub struct Identity {
    directory: PathBuf,
    credentials: Credentials,
}

impl Identity {
    /// Reads the certificate; one that has expired is an error here, and not a TLS
    /// alert later.
    pub fn read(directory: &Path, now: Timestamp) -> Result<Self, Error> {
        let unusable = |source: TlsError| Error::Identity {
            directory: directory.to_owned(),
            source,
        };
        let credentials = Credentials::read(directory).map_err(unusable)?;
        credentials.must_be_valid_at(now).map_err(unusable)?;
        Ok(Self {
            directory: directory.to_owned(),
            credentials,
        })
    }

    pub fn channel(&self, address: &str) -> Result<Channel, Error> {
        let unusable = |source: TlsError| match source {
            TlsError::Address(_) => {
                Error::usage(source.to_string(), "try --coordinator https://127.0.0.1:7443")
            }
            source => Error::Identity {
                directory: self.directory.clone(),
                source,
            },
        };
        let config = self.credentials.client_config().map_err(unusable)?;
        tls::channel(address, Arc::new(ArcSwap::from_pointee(config))).map_err(unusable)
    }

    pub fn wants_renewal(&self, now: Timestamp) -> bool {
        self.credentials.peer().is_ok_and(|peer| now >= peer.renew_at())
    }

    /// Asks for a new certificate with a new key. The old one stays good until it
    /// expires, so whatever fails here is worth a warning and no more.
    pub async fn renew(&self, client: &mut OperatorClient<Channel>) -> Result<(), Error> {
        let fresh = KeyAndRequest::generate()?;
        let request = RenewRequest {
            certificate_request: fresh.request_der,
        };
        let refused = |why: String| Error::Refused {
            message: why,
            hint: None,
        };
        let issued = tokio::time::timeout(RENEWAL_DEADLINE, client.renew_operator(request))
            .await
            .map_err(|_| refused("no answer in time".to_owned()))?
            .map_err(|status| refused(status.message().to_owned()))?
            .into_inner();
        self.store(&fresh.key_pem, &issued)
    }

    /// Certificate and key must change together, or a crash between them locks the
    /// operator out: a new directory is written beside the old one, and the two trade
    /// places in one step.
    fn store(&self, key_pem: &str, issued: &Issued) -> Result<(), Error> {
        Credentials::from_pem(&issued.certificate_chain, key_pem, &issued.authority)
            .and_then(|credentials| credentials.must_be_valid_at(Timestamp::now()))
            .map_err(|source| Error::Identity {
                directory: self.directory.clone(),
                source,
            })?;
        self.trade_places(&[
            (tls::CERTIFICATE_FILE, issued.certificate_chain.as_str()),
            (tls::KEY_FILE, key_pem),
            (tls::AUTHORITY_FILE, issued.authority.as_str()),
        ])
        .map_err(Error::file(format!(
            "cannot store the renewed certificate in {}",
            self.directory.display()
        )))
    }

    fn trade_places(&self, files: &[(&str, &str)]) -> std::io::Result<()> {
        let directory = self.directory.canonicalize()?;
        let parent = directory.parent().unwrap_or(&directory);
        let fresh = tempfile::Builder::new()
            .prefix(".fleet-identity-")
            .tempdir_in(parent)?;
        for (name, text) in files {
            write_private(&fresh.path().join(name), text)?;
        }
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            let target = fresh.path().join(entry.file_name());
            if entry.file_type()?.is_file() && !target.exists() {
                std::fs::copy(entry.path(), target)?;
            }
        }
        renameat2(
            AT_FDCWD,
            fresh.path(),
            AT_FDCWD,
            &directory,
            RenameFlags::RENAME_EXCHANGE,
        )?;
        // What `fresh` names now is the old directory, and goes with it.
        fresh.close()
    }
}

/// A file that only its owner reads, on disk when this returns.
pub fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
