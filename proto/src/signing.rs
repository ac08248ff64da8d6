//! Release keys: who may say what runs on the fleet.
//!
//! A release key signs the manifest's exact bytes under a prefix of its own, so that
//! a signature over anything else can never pass for one over a release.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

const SIGNED_PREFIX: &[u8] = b"fleet release manifest v1\n";
const PUBLIC_PREFIX: &str = "fleet-release-key:";
const SECRET_PREFIX: &str = "fleet-release-secret:";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(
        "not a public release key; expected {PUBLIC_PREFIX} and 44 characters, as `fleetctl key new` prints it"
    )]
    Public,
    #[error("not a secret release key; expected the file that `fleetctl key new` wrote")]
    Secret,
    #[error("the machine gave no randomness for a new key")]
    Generate,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error(
        "signed by {valid} of the {threshold} release keys that this node asks for (pinned: {pinned}; signatures given: {given})"
    )]
    TooFew {
        valid: usize,
        threshold: usize,
        pinned: String,
        given: String,
    },
    #[error("no release key is pinned on this node, so it can run nothing")]
    NothingPinned,
}

/// A public release key, as it is pinned in an agent's configuration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// A short name for messages.
    pub fn id(&self) -> String {
        crate::digest::Digest::of(&self.0).short()
    }

    fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "release key {}", self.id())
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        text.trim()
            .strip_prefix(PUBLIC_PREFIX)
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or(KeyError::Public)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

/// The secret half. It has no `Debug` and no `Display`: it is written to its file and
/// nowhere else.
pub struct SecretKey {
    pair: Ed25519KeyPair,
    seed: [u8; 32],
}

impl SecretKey {
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed).map_err(|_| KeyError::Generate)?;
        Self::from_seed(seed)
    }

    fn from_seed(seed: [u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Secret)?;
        Ok(Self { pair, seed })
    }

    /// What `fleetctl key new` writes to the key's file.
    pub fn to_file_text(&self) -> String {
        format!("{SECRET_PREFIX}{}\n", STANDARD.encode(self.seed))
    }

    pub fn from_file_text(text: &str) -> Result<Self, KeyError> {
        text.trim()
            .strip_prefix(SECRET_PREFIX)
            .and_then(|encoded| STANDARD.decode(encoded).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(KeyError::Secret)
            .and_then(Self::from_seed)
    }

    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(bytes)
    }

    pub fn sign(&self, manifest: &[u8]) -> Signature {
        let signed = self.pair.sign(&signed_bytes(manifest));
        Signature {
            key: self.public(),
            bytes: STANDARD.encode(signed.as_ref()),
        }
    }
}

/// One key's signature over a manifest's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    pub key: PublicKey,
    pub bytes: String,
}

fn signed_bytes(manifest: &[u8]) -> Vec<u8> {
    [SIGNED_PREFIX, manifest].concat()
}

/// Which keys must have signed, and how many of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    pub release_keys: BTreeSet<PublicKey>,
    #[serde(default = "one")]
    pub threshold: usize,
}

fn one() -> usize {
    1
}

impl Pinned {
    /// Counts distinct pinned keys, so that one key that signed twice counts once.
    pub fn verify(&self, manifest: &[u8], signatures: &[Signature]) -> Result<(), SignatureError> {
        if self.release_keys.is_empty() {
            return Err(SignatureError::NothingPinned);
        }
        let message = signed_bytes(manifest);
        let valid: BTreeSet<&PublicKey> = signatures
            .iter()
            .filter(|signature| self.release_keys.contains(&signature.key))
            .filter(|signature| {
                STANDARD
                    .decode(&signature.bytes)
                    .is_ok_and(|bytes| signature.key.accepts(&message, &bytes))
            })
            .map(|signature| &signature.key)
            .collect();
        let threshold = self.threshold.max(1);
        if valid.len() >= threshold {
            return Ok(());
        }
        let names = |keys: &mut dyn Iterator<Item = &PublicKey>| {
            keys.take(8).map(PublicKey::id).collect::<Vec<_>>().join(", ")
        };
        Err(SignatureError::TooFew {
            valid: valid.len(),
            threshold,
            pinned: names(&mut self.release_keys.iter()),
            given: names(&mut signatures.iter().map(|signature| &signature.key)),
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn pinned(keys: &[&SecretKey], threshold: usize) -> Pinned {
        Pinned {
            release_keys: keys.iter().map(|key| key.public()).collect(),
            threshold,
        }
    }

    #[test]
    fn only_a_pinned_key_over_these_very_bytes_counts() {
        let (ours, foreign) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        let pinned = pinned(&[&ours], 1);
        let good = ours.sign(b"manifest");
        assert!(pinned.verify(b"manifest", std::slice::from_ref(&good)).is_ok());
        assert!(pinned.verify(b"manifesT", &[good]).is_err());
        assert!(pinned.verify(b"manifest", &[foreign.sign(b"manifest")]).is_err());
        assert!(pinned.verify(b"manifest", &[]).is_err());
        let forged = Signature {
            key: ours.public(),
            ..foreign.sign(b"manifest")
        };
        assert!(pinned.verify(b"manifest", &[forged]).is_err());
    }

    #[test]
    fn two_of_three_means_two_different_keys() {
        let keys = [(); 3].map(|()| SecretKey::generate().unwrap());
        let pinned = pinned(&[&keys[0], &keys[1], &keys[2]], 2);
        let sign = |i: usize| keys[i].sign(b"m");
        assert!(pinned.verify(b"m", &[sign(0), sign(0)]).is_err());
        assert!(pinned.verify(b"m", &[sign(0), sign(2)]).is_ok());
    }

    #[test]
    fn nothing_pinned_runs_nothing() {
        let error = pinned(&[], 0).verify(b"m", &[]).unwrap_err();
        assert_eq!(error, SignatureError::NothingPinned);
    }

    #[test]
    fn keys_read_back_from_their_files() {
        let key = SecretKey::generate().unwrap();
        let again = SecretKey::from_file_text(&key.to_file_text()).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(key.public().to_string().parse(), Ok(key.public()));
        assert!("fleet-release-key:AAAA".parse::<PublicKey>().is_err());
        assert!(SecretKey::from_file_text("hello").is_err());
    }
}
