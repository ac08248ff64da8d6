//! The document that says what all of this is, for whoever reads it with a program.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::answers::{gzip, takes_gzip};

const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn show(headers: HeaderMap) -> Response {
    let compressed = takes_gzip(&headers).then(|| gzip(DOCUMENT.as_bytes())).flatten();
    let is_compressed = compressed.is_some();
    let mut response = match compressed {
        Some(bytes) => bytes.into_response(),
        None => DOCUMENT.into_response(),
    };
    let answered = response.headers_mut();
    answered.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answered.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if is_compressed {
        answered.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}
