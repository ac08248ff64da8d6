//! What can go wrong with artifacts.

use std::io;
use std::path::PathBuf;

use fleet_proto::digest::Digest;
use fleet_proto::quantity::Bytes;
use fleet_proto::release::ReleaseError;

#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("cannot {what} {}", .path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the artifact {digest} is not here\nhint: push the release again: `fleetctl release push`")]
    Unknown { digest: Digest },
    #[error(transparent)]
    Digest(#[from] fleet_proto::digest::DigestError),
    #[error(
        "the artifact {} is damaged on the coordinator's disk, and was set aside\nhint: push the release again: `fleetctl release push` sends what is missing", .digest.short()
    )]
    Damaged { digest: Digest },
    #[error(
        "there is no room for {needed} more: {free} are free on the coordinator's disk, of which {reserve} are kept for its journal\nhint: free some, or move `state` in coordinator.toml to a larger disk"
    )]
    NoRoom {
        needed: Bytes,
        free: Bytes,
        reserve: Bytes,
    },
    #[error("the bytes sent as {expected} have the digest {found}")]
    WrongDigest { expected: Digest, found: Digest },
    #[error("a piece begins at {found}, expected {expected}; pieces of a blob follow each other")]
    OutOfOrder { expected: u64, found: u64 },
    #[error("the upload ended in the middle of {digest}: {found} of {expected} bytes came")]
    CutShort {
        digest: Digest,
        found: u64,
        expected: u64,
    },
    #[error("an artifact of {bytes} bytes is larger than the limit of {limit}")]
    TooLarge { bytes: u64, limit: u64 },
    #[error("a download cannot go on at {offset}: the artifact has {bytes} bytes")]
    BeyondEnd { offset: u64, bytes: u64 },
    #[error("the signatures of release {digest} cannot be read: {why}")]
    Signatures { digest: Digest, why: String },
    #[error("the stored release cannot be read")]
    Release(#[from] ReleaseError),
}

pub(super) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ArtifactError {
    let path = path.into();
    move |source| ArtifactError::File { what, path, source }
}
