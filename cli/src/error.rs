//! Everything that can go wrong, with its exit code and the command that helps.

use std::path::PathBuf;

use fleet_proto::authority::AuthorityError;
use fleet_proto::config::ConfigError;
use fleet_proto::ids::{ComponentName, NameError};
use fleet_proto::labels::LabelError;
use fleet_proto::release::ReleaseError;
use fleet_proto::signing::KeyError;
use fleet_proto::tls::TlsError;
use fleet_proto::version::VersionError;

use crate::exit::Exit;
use crate::pack::PackError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The coordinator, or a check before it, said no.
    #[error("{message}")]
    Refused { message: String, hint: Option<String> },
    /// What was asked about is not there.
    #[error("{message}")]
    NotFound { message: String, hint: Option<String> },
    #[error("{message}")]
    Usage { message: String, hint: Option<String> },
    #[error("cannot reach the coordinator at {address}: {why}")]
    Unreachable { address: String, why: String },
    /// The coordinator is there, and the node that was asked is not.
    #[error("{message}")]
    NodeAway { message: String, hint: Option<String> },
    #[error("{message}")]
    NotAllowed { message: String, hint: Option<String> },
    #[error("{what}")]
    File {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot use the operator's certificate in {}", .directory.display())]
    Identity {
        directory: PathBuf,
        #[source]
        source: TlsError,
    },
    #[error("{} is no release key", .path.display())]
    Key {
        path: PathBuf,
        #[source]
        source: KeyError,
    },
    #[error(transparent)]
    NewKey(#[from] KeyError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Version(#[from] VersionError),
    #[error(transparent)]
    Label(#[from] LabelError),
    #[error(transparent)]
    Release(#[from] ReleaseError),
    #[error("component `{component}` cannot be packed")]
    Pack {
        component: ComponentName,
        #[source]
        source: PackError,
    },
    #[error("cannot make a request for a certificate")]
    CertificateRequest(#[from] AuthorityError),
    #[error("the coordinator's answer cannot be read: {0}")]
    Answer(String),
}

impl Error {
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    pub fn file(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::File { what, source }
    }

    pub const fn exit(&self) -> Exit {
        match self {
            Self::Refused { .. }
            | Self::NotFound { .. }
            | Self::File { .. }
            | Self::CertificateRequest(_)
            | Self::NewKey(_) => Exit::Failed,
            Self::Usage { .. }
            | Self::Key { .. }
            | Self::Config(_)
            | Self::Name(_)
            | Self::Label(_)
            | Self::Version(_)
            | Self::Release(_)
            | Self::Pack { .. } => Exit::Usage,
            Self::Unreachable { .. }
            | Self::NodeAway { .. }
            | Self::NotAllowed { .. }
            | Self::Identity { .. } => Exit::Unreachable,
            Self::Answer(_) => Exit::Failed,
        }
    }

    /// A command that works when pasted, or what to write instead.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { hint, .. }
            | Self::NotFound { hint, .. }
            | Self::Usage { hint, .. }
            | Self::NodeAway { hint, .. }
            | Self::NotAllowed { hint, .. } => hint.clone(),
            Self::Unreachable { .. } => Some(
                "is it running? `fleet-coordinator run --config /etc/fleet/coordinator.toml` starts it; \
                 --coordinator https://host:7443 names another one"
                    .to_owned(),
            ),
            Self::Identity {
                source: TlsError::Expired { .. },
                ..
            } => Some(
                "`fleet-coordinator operator admin --out DIR`, on the coordinator's machine, writes new credentials; \
                 --identity DIR (or FLEET_IDENTITY) names them"
                    .to_owned(),
            ),
            Self::Identity { .. } => Some(
                "--identity DIR (or FLEET_IDENTITY) names the directory with cert.pem, key.pem and ca.pem that \
                 `fleet-coordinator init` wrote"
                    .to_owned(),
            ),
            Self::Pack { source, .. } => source.hint(),
            Self::Key { .. } => Some("`fleetctl key new release.key` makes one".to_owned()),
            Self::Answer(_) => {
                Some("compare `fleetctl --version` with the coordinator's version".to_owned())
            }
            _ => None,
        }
    }
}
