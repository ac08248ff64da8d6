//! A manifest's bytes and who stands for them.

use super::{MANIFEST_BYTES_MAX, MANIFEST_FORMAT, Manifest};
use crate::digest::Digest;
use crate::signing::{Pinned, SecretKey, Signature, SignatureError};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    #[error("the manifest weighs {0} bytes, the limit is {MANIFEST_BYTES_MAX}")]
    TooLarge(usize),
    #[error("the manifest is malformed: {0}")]
    Malformed(String),
    #[error("the manifest has format {0}; this build reads format {MANIFEST_FORMAT}")]
    Format(u32),
    #[error("the manifest makes no sense: {0}")]
    Senseless(String),
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// A manifest's exact bytes and who signed them. The bytes are kept as they were
/// signed and never written anew: their digest is the release's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    pub bytes: Vec<u8>,
    pub signatures: Vec<Signature>,
}

impl SignedManifest {
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// Reads without asking who signed: for showing, and for the coordinator, which
    /// cannot be trusted with this question anyway.
    pub fn read(&self) -> Result<Manifest, ReleaseError> {
        if self.bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ReleaseError::TooLarge(self.bytes.len()));
        }
        let manifest: Manifest = serde_json::from_slice(&self.bytes)
            .map_err(|error| ReleaseError::Malformed(error.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The only way in which an agent gets at a manifest.
    pub fn verify(&self, pinned: &Pinned) -> Result<Manifest, ReleaseError> {
        pinned.verify(&self.bytes, &self.signatures)?;
        self.read()
    }
}

impl Manifest {
    pub fn sign(&self, keys: &[SecretKey]) -> Result<SignedManifest, ReleaseError> {
        self.check()?;
        let bytes = serde_json::to_vec(self).map_err(|error| ReleaseError::Malformed(error.to_string()))?;
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ReleaseError::TooLarge(bytes.len()));
        }
        let signatures = keys.iter().map(|key| key.sign(&bytes)).collect();
        Ok(SignedManifest { bytes, signatures })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use crate::release::sample;

    #[test]
    fn a_signed_manifest_reads_back_and_any_changed_byte_is_refused() {
        let key = SecretKey::generate().unwrap();
        let pinned = Pinned {
            release_keys: [key.public()].into(),
            threshold: 1,
        };
        let signed = sample().sign(&[key]).unwrap();
        assert_eq!(signed.verify(&pinned).unwrap(), sample());
        for at in [0, signed.bytes.len() / 2, signed.bytes.len() - 1] {
            let mut tampered = signed.clone();
            tampered.bytes[at] ^= 1;
            assert!(matches!(
                tampered.verify(&pinned),
                Err(ReleaseError::Signature(_))
            ));
        }
    }
}
