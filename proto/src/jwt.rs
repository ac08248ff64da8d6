//! JSON web tokens, as a cluster signs them for its pods: read, and believed only with a key
//! of that cluster. Two algorithms, each with its own kind of key, and nothing else: a token
//! does not choose how it is checked.

mod keys;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

pub use keys::{KEYS_BYTES_MAX, Keys, KeysError};

use keys::Key;

/// Ten times what clusters make.
pub const TOKEN_BYTES_MAX: usize = 16 << 10;
const KEY_ID_BYTES_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    #[error("it is no token: {0}")]
    Shape(&'static str),
    #[error("it is signed by `{found}`; expected RS256 or ES256")]
    Algorithm { found: String },
    #[error("it is signed with key `{0}`, which is none of the cluster's keys")]
    UnknownKey(String),
    #[error("it is signed by {found}, and the key `{key}` is for {expected}")]
    OtherAlgorithm {
        key: String,
        found: Algorithm,
        expected: Algorithm,
    },
    #[error("its signature is not of the cluster's key `{0}`")]
    Signature(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Es256,
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        })
    }
}

/// A token in its parts. Nothing in it is believed yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Unverified<'a> {
    algorithm: Algorithm,
    key: String,
    signed: &'a str,
    signature: Vec<u8>,
    claims: Vec<u8>,
}

/// More than this it has no reason to say: another place to look for keys, say, or an
/// extension that has to be understood.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: Option<String>,
}

impl<'a> Unverified<'a> {
    pub fn parse(text: &'a str) -> Result<Self, JwtError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(JwtError::Shape("it is longer than 16 KiB"));
        }
        let (signed, signature) = text
            .rsplit_once('.')
            .ok_or(JwtError::Shape("it has no three parts"))?;
        let (header, claims) = signed
            .split_once('.')
            .filter(|(_, claims)| !claims.contains('.'))
            .ok_or(JwtError::Shape("it has no three parts"))?;
        let header: Header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| JwtError::Shape("its header is not {alg, kid, typ}"))?;
        if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err(JwtError::Shape("its type is not JWT"));
        }
        if header.kid.is_empty()
            || header.kid.len() > KEY_ID_BYTES_MAX
            || header.kid.chars().any(char::is_control)
        {
            return Err(JwtError::Shape("its key has no name, or an odd one"));
        }
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::Rs256,
            "ES256" => Algorithm::Es256,
            other => {
                let found = other.chars().filter(|c| !c.is_control()).take(16).collect();
                return Err(JwtError::Algorithm { found });
            }
        };
        Ok(Self {
            algorithm,
            key: header.kid,
            signed,
            signature: decode(signature)?,
            claims: decode(claims)?,
        })
    }

    /// For the token's owner, and to find out whose key it should be verified with.
    pub fn claims(&self) -> &[u8] {
        &self.claims
    }

    /// What the owner of one of the keys says.
    pub fn verify(&self, keys: &Keys) -> Result<&[u8], JwtError> {
        let key = keys
            .get(&self.key)
            .ok_or_else(|| JwtError::UnknownKey(self.key.clone()))?;
        if key.algorithm() != self.algorithm {
            return Err(JwtError::OtherAlgorithm {
                key: self.key.clone(),
                found: self.algorithm,
                expected: key.algorithm(),
            });
        }
        let signed = self.signed.as_bytes();
        let verified = match key {
            Key::Rsa { modulus, exponent } => RsaPublicKeyComponents {
                n: modulus,
                e: exponent,
            }
            .verify(&RSA_PKCS1_2048_8192_SHA256, signed, &self.signature),
            Key::P256 { point } => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, &self.signature)
            }
        };
        verified.map_err(|_| JwtError::Signature(self.key.clone()))?;
        Ok(&self.claims)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| JwtError::Shape("a part of it is not in base64url"))
}
