//! The node's key and certificate on the disk, replaced as one.

use std::io;
use std::path::{Path, PathBuf};

use fleet_proto::identity::{Identity, Peer, Who};
use fleet_proto::ids::NodeId;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::{AUTHORITY_FILE, CERTIFICATE_FILE, Credentials, KEY_FILE, TlsError};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::durable::{self, FileError, failed};
use crate::layout::Layout;

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(
        "this node has no identity yet: {} is not there\nhint: `fleet-agent enrol --config {} --token-file FILE`; `fleetctl token create` makes a token", .directory.display(), .config.display()
    )]
    None { directory: PathBuf, config: PathBuf },
    #[error("the node's identity cannot be read")]
    Tls(#[from] TlsError),
    #[error(
        "the certificate is for {found}, agent.toml says node {expected}\nhint: enrol again: `fleet-agent enrol --token-file FILE`"
    )]
    Other { found: Identity, expected: NodeId },
    #[error(
        "the certificate of this node expired at {expired_at}; no coordinator will accept it\nhint: enrol again: `fleet-agent enrol --token-file FILE`; `fleetctl token create --node NAME` makes a token for it"
    )]
    Expired { expired_at: Timestamp },
    #[error(transparent)]
    File(#[from] FileError),
}

/// Reads it, finishing a replacement that a power cut interrupted.
pub fn read(layout: &Layout, config: &Path, node: &NodeId) -> Result<(Credentials, Peer), IdentityError> {
    let directory = layout.identity();
    let new = durable::beside(&directory, "new");
    if !directory.is_dir() && Credentials::read(&new).is_ok() {
        std::fs::rename(&new, &directory).map_err(failed("rename", &new))?;
    }
    match directory.metadata() {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(IdentityError::None {
                directory,
                config: config.to_owned(),
            });
        }
        // Whoever may not look cannot say that there is none.
        Err(error) => return Err(failed("read", &directory)(error).into()),
    }
    let credentials = Credentials::read(&directory)?;
    let peer = credentials.peer()?;
    must_be(&peer, node)?;
    Ok((credentials, peer))
}

pub fn must_be(peer: &Peer, node: &NodeId) -> Result<(), IdentityError> {
    match &peer.identity.who {
        Who::Node(found) if found == node => Ok(()),
        _ => Err(IdentityError::Other {
            found: peer.identity.clone(),
            expected: node.clone(),
        }),
    }
}

pub fn must_be_valid(peer: &Peer, now: Timestamp) -> Result<(), IdentityError> {
    if peer.not_after <= now {
        return Err(IdentityError::Expired {
            expired_at: peer.not_after,
        });
    }
    Ok(())
}

/// Key and certificate belong together: the directory is exchanged whole, so that no
/// instant has one without the other.
pub fn write(layout: &Layout, chain: &str, key: &str, authority: &str) -> Result<(), IdentityError> {
    const PRIVATE: u32 = 0o600;
    let directory = layout.identity();
    let new = durable::beside(&directory, "new");
    durable::remove(&new)?;
    std::fs::create_dir_all(&new).map_err(failed("create", &new))?;
    durable::keep_private(&new)?;
    for (name, text) in [
        (CERTIFICATE_FILE, chain),
        (KEY_FILE, key),
        (AUTHORITY_FILE, authority),
    ] {
        durable::write_new(&new.join(name), text.as_bytes(), PRIVATE)?;
    }
    durable::sync_directory(&new)?;
    if directory.is_dir() {
        renameat2(AT_FDCWD, &new, AT_FDCWD, &directory, RenameFlags::RENAME_EXCHANGE)
            .map_err(|errno| failed("exchange", &directory)(errno.into()))?;
    } else {
        std::fs::rename(&new, &directory).map_err(failed("rename", &new))?;
    }
    durable::sync_directory(layout.root())?;
    durable::remove(&new)?;
    Ok(())
}
