//! Why the coordinator does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::artifacts::ArtifactError;
use crate::clusters::ClusterKeysError;
use crate::driver::{DriverError, TakeOverError};
use crate::journal::JournalError;
use crate::trust::TrustError;
use crate::web::cookies::CookieError;
use crate::web::tls::WebTlsError;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("cannot open the journal")]
    Journal(#[from] JournalError),
    #[error("cannot open the backups")]
    Backups(#[from] crate::backups::BackupError),
    #[error("cannot open the artifacts")]
    Artifacts(#[from] ArtifactError),
    #[error(transparent)]
    Clusters(#[from] ClusterKeysError),
    #[error(transparent)]
    TakeOver(#[from] TakeOverError),
    #[error(transparent)]
    Cookies(#[from] CookieError),
    #[error(transparent)]
    WebTls(#[from] WebTlsError),
    #[error("cannot take charge")]
    Driver(#[from] DriverError),
    #[error(
        "cannot listen on {address}\nhint: is it another program's? `{key}` in the configuration chooses another one"
    )]
    Bind {
        key: &'static str,
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {}", .path.display())]
    Endpoints {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}
