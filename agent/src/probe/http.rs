//! `GET url`: the status, and JSON fields of the answer.

use std::collections::BTreeMap;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::http::uri::Authority;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::Miss;
use crate::secrets::redact::redact;

/// A health check's answer is small; more than this is not read.
const BODY_BYTES_MAX: usize = 256 << 10;

pub async fn get(url: &str, status: u16, json: &BTreeMap<String, Value>) -> Result<(), Miss> {
    let (found, body) = fetch(url).await?;
    if found != status {
        return Err(Miss::against(
            format!("answered {found}, expected {status}"),
            found.to_string(),
            status.to_string(),
        ));
    }
    if json.is_empty() {
        return Ok(());
    }
    let answer: Value =
        serde_json::from_slice(&body).map_err(|_| Miss::new("answered with something that is not JSON"))?;
    json.iter()
        .try_for_each(|(path, expected)| field(&answer, path, expected))
}

fn field(answer: &Value, path: &str, expected: &Value) -> Result<(), Miss> {
    let found = path.split('.').try_fold(answer, |value, name| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        _ => value.get(name),
    });
    match found {
        Some(found) if found == expected => Ok(()),
        Some(found) => {
            let shown: String = redact(&found.to_string()).chars().take(80).collect();
            Err(Miss::against(
                format!("answered `{path}` = {shown}, expected {expected}"),
                shown,
                expected.to_string(),
            ))
        }
        None => Err(Miss::against(
            format!("answered without `{path}`, expected {expected}"),
            "none",
            expected.to_string(),
        )),
    }
}

/// The connection's driver ends with the request that it was made for.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Continues a sentence that begins with the URL as it stands in the release: filled in
/// it may hold what the coordinator must not learn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("is not a URL")]
    Malformed,
    /// A check looks at what is on its own node, where TLS would protect nothing and
    /// an expired certificate would fail a release that is well.
    #[error(
        "asks for TLS, which checks do not speak\nhint: let the component answer without it on loopback: `http://127.0.0.1:PORT/PATH`; or check with a command, `kind = \"exec\"`"
    )]
    Tls,
    #[error("is not http://host:port/path")]
    NotHttp,
}

/// What may be asked.
pub fn parse(url: &str) -> Result<(Uri, Authority), UrlError> {
    let uri: Uri = url.parse().map_err(|_| UrlError::Malformed)?;
    if uri.scheme_str() == Some("https") {
        return Err(UrlError::Tls);
    }
    match uri.authority() {
        Some(authority) if uri.scheme_str() == Some("http") && is_complete(authority) => {
            let authority = authority.clone();
            Ok((uri, authority))
        }
        _ => Err(UrlError::NotHttp),
    }
}

/// A port that is no number reads as none, and would be 80.
fn is_complete(authority: &Authority) -> bool {
    let behind = authority
        .as_str()
        .rsplit_once(authority.host())
        .map_or("", |(_, behind)| behind);
    !authority.host().is_empty() && (behind.is_empty() || authority.port_u16().is_some())
}

pub(crate) async fn fetch(url: &str) -> Result<(u16, Bytes), Miss> {
    let (uri, authority) =
        parse(url).map_err(|error| Miss::new(format!("cannot be asked: its URL {error}")))?;
    let host = authority.host().trim_matches(['[', ']']);
    let port = authority.port_u16().unwrap_or(80);
    let no_answer = |error: &dyn std::error::Error| {
        Miss::new(format!("gave no answer: {}", crate::effects::chain(error)))
    };

    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| no_answer(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| no_answer(&error))?;
    let _driver = Driver(tokio::spawn(connection).abort_handle());
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header("host", authority.as_str())
        .header("user-agent", concat!("fleet-agent/", env!("CARGO_PKG_VERSION")))
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| no_answer(&error))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| no_answer(&error))?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), BODY_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| Miss::new(format!("broke off its answer: {error}")))?;
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_found_by_their_path() {
        let answer = json!({"status": "ok", "services": {"database": "connected"}, "list": [1, 2]});
        for (path, expected) in [
            ("status", json!("ok")),
            ("services.database", json!("connected")),
            ("list.1", json!(2)),
        ] {
            assert_eq!(field(&answer, path, &expected), Ok(()), "{path}");
        }
        let miss = field(&answer, "services.database", &json!("up")).unwrap_err();
        assert_eq!(
            miss.why,
            "answered `services.database` = \"connected\", expected \"up\""
        );
        let miss = field(&answer, "services.cache", &json!("up")).unwrap_err();
        assert_eq!(miss.why, "answered without `services.cache`, expected \"up\"");
    }

    async fn serve(answer: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _read = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        format!("http://{address}/health")
    }

    #[tokio::test]
    async fn the_status_decides() {
        let url = serve("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
        assert_eq!(get(&url, 200, &BTreeMap::new()).await, Ok(()));
        let url = serve("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await;
        let miss = get(&url, 200, &BTreeMap::new()).await.unwrap_err();
        assert_eq!(miss.why, "answered 503, expected 200");
        assert_eq!(
            (miss.figure.as_deref(), miss.limit.as_deref()),
            (Some("503"), Some("200"))
        );
        for (url, expected) in [
            ("https://127.0.0.1/", "asks for TLS"),
            ("127.0.0.1/health", "is not"),
            ("ftp://127.0.0.1/", "is not http://"),
            ("http://127.0.0.1:80 80/", "is not a URL"),
        ] {
            let miss = get(url, 200, &BTreeMap::new()).await.unwrap_err();
            assert!(miss.why.contains(expected), "{}", miss.why);
        }
    }
}
