//! The public keys of a cluster, as it publishes them: a JWKS file.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::Algorithm;

/// Clusters have two or three keys, of half a kilobyte each.
pub const KEYS_BYTES_MAX: usize = 256 << 10;
const KEYS_MAX: usize = 64;
/// A coordinate on P-256.
const COORDINATE_BYTES: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    #[error("there are more than {KEYS_BYTES_MAX} bytes of it")]
    TooLarge,
    #[error("it is not a set of keys: {0}")]
    Shape(String),
    #[error("there are {0} keys, the limit is {KEYS_MAX}")]
    TooMany(usize),
    #[error("two keys have the name `{0}`")]
    Twice(String),
    #[error("key `{0}` cannot be read: {1}")]
    Key(String, &'static str),
    #[error("key `{0}` is a private one, which nobody but the cluster may have")]
    Private(String),
    #[error(
        "no key in it is for RS256 or ES256\nhint: `kubectl get --raw /openid/v1/jwks` prints the cluster's keys"
    )]
    None,
}

/// By their names. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, Key>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256 { point: Vec<u8> },
}

impl Key {
    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256 { .. } => Algorithm::Es256,
        }
    }
}

#[derive(Deserialize)]
struct Written {
    keys: Vec<WrittenKey>,
}

/// What else is said of a key is not needed here.
#[derive(Deserialize)]
struct WrittenKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde_json::Value>,
}

impl Keys {
    /// Keys of other kinds, and for other purposes, are left out.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeysError> {
        if bytes.len() > KEYS_BYTES_MAX {
            return Err(KeysError::TooLarge);
        }
        let written: Written =
            serde_json::from_slice(bytes).map_err(|error| KeysError::Shape(error.to_string()))?;
        if written.keys.len() > KEYS_MAX {
            return Err(KeysError::TooMany(written.keys.len()));
        }
        let mut keys = BTreeMap::new();
        for written in &written.keys {
            let Some(id) = written.kid.as_ref().filter(|id| !id.is_empty()) else {
                continue;
            };
            if written.d.is_some() {
                return Err(KeysError::Private(id.clone()));
            }
            let Some(key) = key(id, written)? else { continue };
            if keys.insert(id.clone(), key).is_some() {
                return Err(KeysError::Twice(id.clone()));
            }
        }
        if keys.is_empty() {
            return Err(KeysError::None);
        }
        Ok(Self(keys))
    }

    pub(super) fn get(&self, id: &str) -> Option<&Key> {
        self.0.get(id)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn key(id: &str, written: &WrittenKey) -> Result<Option<Key>, KeysError> {
    if written.purpose.as_ref().is_some_and(|purpose| purpose != "sig") {
        return Ok(None);
    }
    let part = |part: &Option<String>, missing: &'static str| {
        let text = part.as_ref().ok_or(KeysError::Key(id.to_owned(), missing))?;
        URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| KeysError::Key(id.to_owned(), "it is not in base64url"))
    };
    let key = match (written.kty.as_str(), written.crv.as_deref()) {
        ("RSA", _) => Key::Rsa {
            modulus: part(&written.n, "it has no `n`")?,
            exponent: part(&written.e, "it has no `e`")?,
        },
        ("EC", Some("P-256")) => {
            let (x, y) = (
                part(&written.x, "it has no `x`")?,
                part(&written.y, "it has no `y`")?,
            );
            if x.len() != COORDINATE_BYTES || y.len() != COORDINATE_BYTES {
                return Err(KeysError::Key(id.to_owned(), "it is no point of P-256"));
            }
            // Uncompressed, as it is verified with.
            let point = [vec![4], x, y].concat();
            Key::P256 { point }
        }
        _ => return Ok(None),
    };
    let named = written.alg.as_deref();
    Ok(named
        .is_none_or(|named| named == key.algorithm().to_string())
        .then_some(key))
}
