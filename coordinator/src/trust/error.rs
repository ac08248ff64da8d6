//! What can go wrong with certificates.

use std::path::PathBuf;

use fleet_proto::authority::AuthorityError;
use fleet_proto::ids::NameError;
use fleet_proto::tls::TlsError;

#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error(
        "cannot read {}\nhint: `fleet-coordinator init --dir DIR` makes an authority; a lost one can only come back from a backup",
        .path.display()
    )]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Name(#[from] NameError),
}
