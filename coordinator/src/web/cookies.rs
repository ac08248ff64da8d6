//! Sessions of browsers: a cookie that says whose it is and until when, under a key that
//! only this coordinator has. Nothing is kept of it here, so a restart logs nobody out; it
//! is short, and renewed by use.

use std::path::{Path, PathBuf};

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fleet_proto::ids::{OperatorName, TokenId};
use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::visitor::Visitor;
use crate::durable;

pub const KEY_FILE: &str = "session.key";
/// A browser that is closed for longer asks for a login again.
const LIFE: Span = Span::from_secs(3600);
/// Not with each of many requests.
const RENEW_AFTER: Span = Span::from_secs(600);
/// Without a token behind it that ends it, a working day.
const LIFE_WITHOUT_TOKEN: Span = Span::from_secs(12 * 3600);
/// On TLS: a name that no other host may set, and no plain page.
const NAME_TLS: &str = "__Host-fleet";
const NAME_PLAIN: &str = "fleet";
const COOKIE_BYTES_MAX: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    pub operator: OperatorName,
    /// That it was begun with.
    pub token: Option<TokenId>,
    pub begun_at: Timestamp,
    pub issued_at: Timestamp,
    /// However much it is used.
    pub until: Timestamp,
}

impl Session {
    pub fn begin(operator: OperatorName, token: Option<(TokenId, Timestamp)>, now: Timestamp) -> Self {
        Self {
            operator,
            until: token
                .as_ref()
                .map_or(now.plus(LIFE_WITHOUT_TOKEN), |(_, expires_at)| *expires_at),
            token: token.map(|(token, _)| token),
            begun_at: now,
            issued_at: now,
        }
    }

    pub fn expires_at(&self) -> Timestamp {
        self.issued_at.plus(LIFE).min(self.until)
    }
}

pub struct Cookies {
    key: [u8; 32],
}

#[derive(Debug, thiserror::Error)]
pub enum CookieError {
    #[error("cannot read {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is not a key of 32 bytes\nhint: remove it; a new one logs every browser out", .0.display())]
    Key(PathBuf),
    #[error("cannot write {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the machine gave no randomness for the key of sessions")]
    Randomness,
}

impl Cookies {
    /// Makes the key where there is none yet.
    pub fn open(state: &Path) -> Result<Self, CookieError> {
        let path = state.join(KEY_FILE);
        match std::fs::read(&path) {
            Ok(bytes) => {
                let key = bytes.try_into().map_err(|_| CookieError::Key(path))?;
                Ok(Self { key })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut key = [0; 32];
                rustls::crypto::aws_lc_rs::default_provider()
                    .secure_random
                    .fill(&mut key)
                    .map_err(|_| CookieError::Randomness)?;
                let written = durable::write_file(&path, &key);
                written.map_err(|source| CookieError::Write { path, source })?;
                Ok(Self { key })
            }
            Err(source) => Err(CookieError::Read { path, source }),
        }
    }

    /// `payload.mac`, each in an alphabet that needs no quoting.
    fn sign(&self, session: &Session) -> Option<String> {
        let payload = serde_json::to_vec(session).ok()?;
        let mac = blake3::keyed_hash(&self.key, &payload);
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        Some(format!("{}.{}", encode(&payload), encode(mac.as_bytes())))
    }

    pub fn read(&self, text: &str, now: Timestamp) -> Option<Session> {
        if text.len() > COOKIE_BYTES_MAX {
            return None;
        }
        let (payload, mac) = text.split_once('.')?;
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        let (payload, mac) = (decode(payload)?, decode(mac)?);
        let mac: [u8; 32] = mac.try_into().ok()?;
        // Compared in constant time.
        if blake3::keyed_hash(&self.key, &payload) != mac {
            return None;
        }
        let session: Session = serde_json::from_slice(&payload).ok()?;
        (session.expires_at() > now).then_some(session)
    }

    pub fn set(&self, session: &Session, is_tls: bool, now: Timestamp) -> Option<HeaderValue> {
        let value = self.sign(session)?;
        let seconds = session.expires_at().since(now).as_millis() / 1000;
        cookie(&value, seconds, is_tls)
    }

    /// Ends it in the browser that has it.
    pub fn clear(is_tls: bool) -> Option<HeaderValue> {
        cookie("", 0, is_tls)
    }

    /// For whoever has used theirs for a while.
    pub fn renewed(&self, visitor: &Visitor, now: Timestamp) -> Option<HeaderValue> {
        let session = visitor.session.as_ref()?;
        if session.issued_at.plus(RENEW_AFTER) > now {
            return None;
        }
        let renewed = Session {
            issued_at: now,
            ..session.clone()
        };
        self.set(&renewed, visitor.way.is_tls(), now)
    }
}

fn cookie(value: &str, seconds: u64, is_tls: bool) -> Option<HeaderValue> {
    let (name, secure) = match is_tls {
        true => (NAME_TLS, "; Secure"),
        false => (NAME_PLAIN, ""),
    };
    let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).ok()
}

/// What the browser has sent of ours.
pub fn sent(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let mut pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(name, _)| [NAME_TLS, NAME_PLAIN].contains(name))
        .map(|(_, value)| value)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_770_897_600_000);

    fn session() -> Session {
        Session::begin("dora".parse().unwrap(), None, NOW)
    }

    #[test]
    fn nobody_else_can_make_one() {
        let directory = tempfile::tempdir().unwrap();
        let cookies = Cookies::open(directory.path()).unwrap();
        let text = cookies.sign(&session()).unwrap();
        assert_eq!(cookies.read(&text, NOW), Some(session()));
        // The key is the same after a restart.
        let again = Cookies::open(directory.path()).unwrap();
        assert_eq!(again.read(&text, NOW), Some(session()));
        let elsewhere = tempfile::tempdir().unwrap();
        let other = Cookies::open(elsewhere.path()).unwrap();
        assert_eq!(other.read(&text, NOW), None);
        let (payload, mac) = text.split_once('.').unwrap();
        let ada = Session {
            operator: "admin".parse().unwrap(),
            ..session()
        };
        let forged = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&ada).unwrap());
        for bad in [
            format!("{forged}.{mac}"),
            format!("{payload}."),
            payload.to_owned(),
            String::new(),
            "a".repeat(5000),
        ] {
            assert_eq!(cookies.read(&bad, NOW), None, "{bad}");
        }
    }

    #[test]
    fn it_is_short_and_lives_by_use_but_not_for_ever() {
        let hours = |hours: u64| NOW.plus(Span::from_secs(hours * 3600));
        assert_eq!(session().expires_at(), hours(1));
        let used = Session {
            issued_at: hours(11),
            ..session()
        };
        assert_eq!(used.expires_at(), hours(12));
        let token = Some(("t1".parse().unwrap(), hours(2)));
        let with_token = Session::begin("wall".parse().unwrap(), token, NOW);
        let used = Session {
            issued_at: hours(1),
            ..with_token
        };
        assert_eq!(used.expires_at(), hours(2));
    }

    #[test]
    fn a_cookie_is_for_this_site_and_no_script() {
        let directory = tempfile::tempdir().unwrap();
        let cookies = Cookies::open(directory.path()).unwrap();
        let set = cookies.set(&session(), true, NOW).unwrap();
        let set = set.to_str().unwrap();
        assert!(set.starts_with("__Host-fleet="), "{set}");
        for word in [
            "; Path=/; ",
            "; Max-Age=3600; ",
            "; HttpOnly; ",
            "; SameSite=Strict; ",
            "; Secure",
        ] {
            assert!(set.contains(word), "{set}");
        }
        let value = set.split(';').next().unwrap().to_owned();
        let headers: HeaderMap = [(header::COOKIE, format!("other=1; {value}").parse().unwrap())]
            .into_iter()
            .collect();
        assert_eq!(cookies.read(sent(&headers).unwrap(), NOW), Some(session()));
    }
}
