//! Signed manifests: the bytes are a blob like any other, the signatures lie beside.

use std::sync::PoisonError;

use fleet_proto::digest::Digest;
use fleet_proto::release::{MANIFEST_BYTES_MAX, SignedManifest};
use fleet_proto::signing::Signature;

use super::Artifacts;
use super::error::{ArtifactError, file};
use crate::durable;

const SIGNATURES_EXTENSION: &str = "sig";

impl Artifacts {
    /// The signatures first: a manifest that is here has them. Those that it has already
    /// stay: another key's push takes nothing away from the first one's.
    pub fn put_signed(&self, signed: &SignedManifest) -> Result<Digest, ArtifactError> {
        let _one_at_a_time = self.signing.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = signed.digest();
        let path = self.path(&digest).with_extension(SIGNATURES_EXTENSION);
        let mut signatures = match self.read_signed(digest) {
            Ok(known) => known.signatures,
            Err(_) => vec![],
        };
        for signature in &signed.signatures {
            if !signatures.contains(signature) {
                signatures.push(signature.clone());
            }
        }
        let bytes = serde_json::to_vec(&signatures).map_err(|error| file("write", &path)(error.into()))?;
        durable::write_file(&path, &bytes).map_err(file("write", &path))?;
        self.put(&signed.bytes)
    }

    pub fn read_signed(&self, digest: Digest) -> Result<SignedManifest, ArtifactError> {
        let bytes = self.read_whole(digest, MANIFEST_BYTES_MAX as u64)?;
        let path = self.path(&digest).with_extension(SIGNATURES_EXTENSION);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            // A blob, and not a release.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ArtifactError::Unknown { digest });
            }
            Err(error) => return Err(file("read", path)(error)),
        };
        let signatures: Vec<Signature> =
            serde_json::from_slice(&text).map_err(|error| ArtifactError::Signatures {
                digest,
                why: error.to_string(),
            })?;
        Ok(SignedManifest { bytes, signatures })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use fleet_proto::signing::SecretKey;

    #[test]
    fn a_signed_manifest_comes_back_byte_for_byte() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(directory.path()).unwrap();
        let bytes = b"{\"any\": \"bytes\"}".to_vec();
        let signatures = vec![SecretKey::generate().unwrap().sign(&bytes)];
        let signed = SignedManifest { bytes, signatures };
        let digest = artifacts.put_signed(&signed).unwrap();
        assert_eq!(artifacts.read_signed(digest).unwrap(), signed);
        let other = SignedManifest {
            bytes: signed.bytes.clone(),
            signatures: vec![SecretKey::generate().unwrap().sign(&signed.bytes)],
        };
        artifacts.put_signed(&other).unwrap();
        let both = artifacts.read_signed(digest).unwrap().signatures;
        assert_eq!(both, [signed.signatures, other.signatures].concat());
        let blob = artifacts.put(b"a blob").unwrap();
        assert!(matches!(
            artifacts.read_signed(blob),
            Err(ArtifactError::Unknown { .. })
        ));
    }
}
