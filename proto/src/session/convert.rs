//! Session messages from and to the wire, one file a direction: the one place that
//! knows both. Here is what both directions use.

mod drift;
mod from_agent;
mod question;
mod to_agent;

pub use question::{lines_from_wire, lines_to_wire};

use crate::digest::{Digest, DigestError};
use crate::fence::Fence;
use crate::ids::{NameError, RolloutNumber};
use crate::release::{PlatformError, ReleaseRef, SignedManifest};
use crate::session::WordError;
use crate::signing::{KeyError, Signature};
use crate::version::VersionError;
use crate::wire;

/// Text that comes from another machine is cut to this before it is kept.
const TEXT_BYTES_MAX: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("the message has no `{0}`")]
    Missing(&'static str),
    #[error("the message has a `{0}` that is none")]
    Wrong(&'static str),
    #[error("the message has more than {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Version(#[from] VersionError),
    #[error(transparent)]
    Digest(#[from] DigestError),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error(transparent)]
    Word(#[from] WordError),
    #[error(transparent)]
    Key(#[from] KeyError),
}

fn need<T>(field: Option<T>, name: &'static str) -> Result<T, WireError> {
    field.ok_or(WireError::Missing(name))
}

fn none_if_empty(text: String) -> Option<String> {
    Some(cut(text)).filter(|text| !text.is_empty())
}

/// Short, and harmless where it is shown: no escape code, no line of its own.
fn cut(mut text: String) -> String {
    if text.contains(char::is_control) {
        text = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
    }
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
    }
    text
}

impl From<Fence> for wire::Fence {
    fn from(fence: Fence) -> Self {
        Self {
            term: fence.term,
            rollout: fence.rollout.0,
            generation: fence.generation,
        }
    }
}

impl From<wire::Fence> for Fence {
    fn from(fence: wire::Fence) -> Self {
        Self {
            term: fence.term,
            rollout: RolloutNumber(fence.rollout),
            generation: fence.generation,
        }
    }
}

impl From<&ReleaseRef> for wire::ReleaseRef {
    fn from(release: &ReleaseRef) -> Self {
        Self {
            version: release.version.to_string(),
            digest: release.digest.to_string(),
        }
    }
}

impl TryFrom<wire::ReleaseRef> for ReleaseRef {
    type Error = WireError;
    fn try_from(release: wire::ReleaseRef) -> Result<Self, WireError> {
        Ok(Self {
            version: release.version.parse()?,
            digest: release.digest.parse::<Digest>()?,
        })
    }
}

fn release_if_any(release: Option<wire::ReleaseRef>) -> Result<Option<ReleaseRef>, WireError> {
    release.map(ReleaseRef::try_from).transpose()
}

impl From<&SignedManifest> for wire::SignedRelease {
    fn from(signed: &SignedManifest) -> Self {
        Self {
            manifest: signed.bytes.clone(),
            signatures: signed
                .signatures
                .iter()
                .map(|signature| wire::ReleaseSignature {
                    key: signature.key.to_string(),
                    signature: signature.bytes.clone(),
                })
                .collect(),
        }
    }
}

impl TryFrom<wire::SignedRelease> for SignedManifest {
    type Error = WireError;
    fn try_from(signed: wire::SignedRelease) -> Result<Self, WireError> {
        const SIGNATURES_MAX: usize = 32;
        if signed.signatures.len() > SIGNATURES_MAX {
            return Err(WireError::TooMany {
                what: "signatures",
                limit: SIGNATURES_MAX,
            });
        }
        let signatures = signed
            .signatures
            .into_iter()
            .map(|signature| {
                Ok(Signature {
                    key: signature.key.parse()?,
                    bytes: cut(signature.signature),
                })
            })
            .collect::<Result<_, WireError>>()?;
        Ok(Self {
            bytes: signed.manifest,
            signatures,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests;
