//! Clusters whose word is taken for their pods: which there are, and their keys, which they
//! change from time to time.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use fleet_proto::ids::{ClusterName, NodeId};
use fleet_proto::jwt::{KEYS_BYTES_MAX, Keys, KeysError};
use fleet_proto::labels::Labels;
use fleet_proto::service_account::{Claims, Expected, ProofError, verify};
use fleet_proto::time::Timestamp;

use crate::config::Cluster;
use crate::rollout::input::Naming;

#[derive(Debug, thiserror::Error)]
pub enum ClusterKeysError {
    #[error("cannot read the keys of cluster {cluster} in {}", .path.display())]
    Read {
        cluster: ClusterName,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the keys of cluster {cluster} in {} cannot be used", .path.display())]
    Keys {
        cluster: ClusterName,
        path: PathBuf,
        #[source]
        source: KeysError,
    },
}

/// Why somebody who shows a cluster's token is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotVouchedFor {
    #[error("no cluster vouches for pods here\nhint: `[[cluster]]` in coordinator.toml names those that do")]
    NoCluster,
    #[error("the service account's token was refused: {0}")]
    Proof(#[from] ProofError),
    #[error("the service account's token is of a cluster that is not known here")]
    UnknownIssuer,
}

/// A pod that its cluster vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    pub cluster: ClusterName,
    pub labels: Labels,
    pub naming: Naming,
}

#[derive(Default)]
pub struct Clusters(Vec<Known>);

struct Known {
    cluster: Cluster,
    keys: Mutex<Loaded>,
}

#[derive(Clone)]
struct Loaded {
    version: FileVersion,
    keys: Keys,
}

/// Another one has another content; a mounted file is replaced and not written to.
type FileVersion = (Option<SystemTime>, u64, u64);

impl Clusters {
    pub fn open(clusters: &[Cluster]) -> Result<Self, ClusterKeysError> {
        let known = clusters.iter().map(|cluster| {
            Ok(Known {
                keys: Mutex::new(load(cluster)?),
                cluster: cluster.clone(),
            })
        });
        known.collect::<Result<_, _>>().map(Self)
    }

    /// Reads a file, perhaps: not for where nothing may block.
    pub fn vouch_for(&self, token: &str, asked: &NodeId, now: Timestamp) -> Result<Vouched, NotVouchedFor> {
        if self.0.is_empty() {
            return Err(NotVouchedFor::NoCluster);
        }
        // Which cluster it says that it is from decides by whose keys it is looked at, and
        // nothing else.
        let says = Claims::of_own(token)?;
        let known = self.0.iter().find(|known| known.cluster.issuer == says.issuer);
        let known = known.ok_or(NotVouchedFor::UnknownIssuer)?;
        let cluster = &known.cluster;
        let expected = Expected {
            issuer: &cluster.issuer,
            audience: &cluster.audience,
            accounts: &cluster.service_accounts,
        };
        let claims = verify(token, &expected, &known.keys(), asked, now)?;
        Ok(Vouched {
            cluster: cluster.name.clone(),
            labels: cluster.labels.clone(),
            naming: match claims.pod {
                Some(_) => Naming::Bound,
                None => Naming::Chosen,
            },
        })
    }
}

impl Known {
    /// As they are now; those of before where the file cannot be read any more.
    fn keys(&self) -> Keys {
        let mut loaded = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = version(&self.cluster.keys).is_ok_and(|version| version == loaded.version);
        if !is_same {
            match load(&self.cluster) {
                Ok(new) => {
                    tracing::info!(cluster = %self.cluster.name, keys = new.keys.len(), "read the cluster's keys anew");
                    *loaded = new;
                }
                Err(error) => {
                    let why = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(why, "{error}; going on with those of before");
                }
            }
        }
        loaded.keys.clone()
    }
}

fn version(path: &Path) -> std::io::Result<FileVersion> {
    use std::os::unix::fs::MetadataExt;
    let about = path.metadata()?;
    Ok((about.modified().ok(), about.len(), about.ino()))
}

fn load(cluster: &Cluster) -> Result<Loaded, ClusterKeysError> {
    let path = &cluster.keys;
    let read = || {
        // Before it is read: a file that changes meanwhile is read again the next time.
        let version = version(path)?;
        let mut bytes = Vec::new();
        File::open(path)?
            .take(KEYS_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok((version, bytes))
    };
    let (version, bytes) = read().map_err(|source| ClusterKeysError::Read {
        cluster: cluster.name.clone(),
        path: path.clone(),
        source,
    })?;
    let keys = Keys::parse(&bytes).map_err(|source| ClusterKeysError::Keys {
        cluster: cluster.name.clone(),
        path: path.clone(),
        source,
    })?;
    Ok(Loaded { version, keys })
}
