//! Views as bytes: made once for everybody who asks the same at the same position of the
//! journal, with a tag by which whoever has it already is not sent it again.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use fleet_proto::time::Timestamp;
use serde::Serialize;
use tokio::sync::{OnceCell, Semaphore};

use super::problem::Problem;

/// Kept for one position; whoever asks for more different things is answered all the same.
const KEPT_MAX: usize = 512;
/// Below this, compressing costs more than it saves.
const COMPRESS_FROM: usize = 1024;
/// Views read the state while the driver waits to write it: two at a time leave it room.
const AT_ONCE: usize = 2;

pub struct Answers {
    kept: Mutex<Kept>,
    room: Semaphore,
}

#[derive(Default)]
struct Kept {
    at: Moment,
    answers: HashMap<String, Arc<OnceCell<Arc<Answer>>>>,
}

/// Nothing that is shown changes within one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    pub position: u64,
    /// What waits for a time waits for less with each.
    second: u64,
}

impl Moment {
    pub fn new(position: u64, now: Timestamp) -> Self {
        Self {
            position,
            second: now.0 / 1000,
        }
    }
}

pub struct Answer {
    json: Bytes,
    tag: HeaderValue,
    compressed: OnceLock<Option<Bytes>>,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
        }
    }
}

impl Answers {
    /// The answer of this moment: `make` runs where nobody else has made it yet.
    pub async fn get<F, T>(&self, at: Moment, key: &str, make: F) -> Result<Arc<Answer>, Problem>
    where
        F: FnOnce() -> Result<T, Problem> + Send + 'static,
        T: Serialize,
    {
        let cell = self.cell(at, key);
        let made = cell.get_or_try_init(|| async {
            let _place = self.room.acquire().await;
            let made = tokio::task::spawn_blocking(move || Answer::of(&make()?));
            made.await
                .map_err(|error| Problem::internal(&error))?
                .map(Arc::new)
        });
        made.await.cloned()
    }

    fn cell(&self, at: Moment, key: &str) -> Arc<OnceCell<Arc<Answer>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.at != at {
            kept.at = at;
            kept.answers.clear();
        }
        if kept.answers.len() >= KEPT_MAX {
            return Arc::default();
        }
        kept.answers.entry(key.to_owned()).or_default().clone()
    }
}

impl Answer {
    pub fn of<T: Serialize>(view: &T) -> Result<Self, Problem> {
        let json = serde_json::to_vec(view).map_err(|error| Problem::internal(&error))?;
        let digest = blake3::hash(&json).to_hex();
        let tag = HeaderValue::from_str(&format!("\"{}\"", &digest[..24]))
            .map_err(|error| Problem::internal(&error))?;
        Ok(Self {
            json: Bytes::from(json),
            tag,
            compressed: OnceLock::new(),
        })
    }

    /// Nothing, to whoever has it; else all of it, compressed where that is understood.
    pub fn to(&self, headers: &HeaderMap) -> Response {
        let mut response = Response::new(Body::empty());
        let answered = response.headers_mut();
        answered.insert(header::ETAG, self.tag.clone());
        // Kept by whoever has asked, and asked about each time.
        answered.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        );
        answered.insert(
            header::VARY,
            HeaderValue::from_static("accept-encoding, cookie, authorization"),
        );
        if has_it(headers, &self.tag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        answered.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let compressed = takes_gzip(headers).then(|| self.compressed()).flatten();
        if compressed.is_some() {
            answered.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        *response.body_mut() = Body::from(compressed.unwrap_or_else(|| self.json.clone()));
        response
    }

    fn compressed(&self) -> Option<Bytes> {
        let compress = || {
            (self.json.len() >= COMPRESS_FROM)
                .then(|| gzip(&self.json))
                .flatten()
        };
        self.compressed.get_or_init(compress).clone()
    }
}

pub fn gzip(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

fn has_it(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let (Some(known), Ok(tag)) = (headers.get(header::IF_NONE_MATCH), tag.to_str()) else {
        return false;
    };
    let mut known = known.to_str().unwrap_or_default().split(',').map(str::trim);
    known.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING);
    let accepted = accepted.and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name == "gzip" || name == "*");
        is_gzip && !parts.any(|part| part.replace(' ', "").trim_end_matches(['0', '.']) == "q=")
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        [(name, HeaderValue::from_str(value).unwrap())]
            .into_iter()
            .collect()
    }

    #[test]
    fn gzip_is_sent_to_whoever_takes_it() {
        for (accepted, takes) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, gzip;q=0.8", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0", false),
            ("identity", false),
            ("*", true),
            ("", false),
        ] {
            assert_eq!(
                takes_gzip(&headers(header::ACCEPT_ENCODING, accepted)),
                takes,
                "{accepted}"
            );
        }
    }

    #[test]
    fn whoever_has_it_is_not_sent_it_again() {
        let answer = Answer::of(&vec!["a"; 1000]).unwrap();
        let first = answer.to(&HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        for known in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"x\", {tag}"),
            "*".into(),
        ] {
            let again = answer.to(&headers(header::IF_NONE_MATCH, &known));
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
        }
        let other = answer.to(&headers(header::IF_NONE_MATCH, "\"x\""));
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn it_is_made_once_for_a_moment() {
        let answers = Answers::default();
        let at = |position| Moment::new(position, Timestamp(1));
        let one = answers.get(at(1), "a", || Ok("first")).await.unwrap();
        let same = answers.get(at(1), "a", || Ok("second")).await.unwrap();
        assert!(Arc::ptr_eq(&one, &same));
        let later = answers.get(at(2), "a", || Ok("third")).await.unwrap();
        assert_ne!(one.tag, later.tag);
        // A mistake is not kept.
        let wrong = answers.get(at(2), "b", || Err::<(), _>(Problem::not_found("no")));
        assert!(wrong.await.is_err());
        assert!(answers.get(at(2), "b", || Ok("there now")).await.is_ok());
    }
}
