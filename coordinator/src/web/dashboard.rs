//! The dashboard: files that were built before, in the binary. Its pages have addresses of
//! their own, and all of them begin with the same document.

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::answers::{gzip, takes_gzip};

include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

struct Asset {
    path: &'static str,
    bytes: &'static [u8],
}

/// Every address that the dashboard's pages have.
pub(super) const PAGES: [&str; 11] = [
    "/",
    "/rollouts",
    "/rollouts/compare",
    "/rollouts/{number}",
    "/nodes",
    "/nodes/{node}",
    "/releases",
    "/events",
    "/session",
    "/environments",
    "/environments/{environment}",
];
/// Nothing from elsewhere, nothing written into the page, and in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";
/// Names of assets change with what is in them.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

pub(super) async fn page(headers: HeaderMap) -> Response {
    match find("index.html") {
        Some(index) => answer(index, "no-cache", &headers),
        None => missing(),
    }
}

pub(super) async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    match find(&format!("assets/{path}")) {
        Some(asset) => answer(asset, FOR_GOOD, &headers),
        None => missing(),
    }
}

fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

fn missing() -> Response {
    let mut response = Response::new(Body::from("there is nothing here\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "webmanifest" | "json" => "application/json",
        "png" => "image/png",
        _ => "application/octet-stream",
    }
}

fn answer(asset: &'static Asset, kept: &'static str, headers: &HeaderMap) -> Response {
    let compressed = takes_gzip(headers).then(|| gzip(asset.bytes)).flatten();
    let is_compressed = compressed.is_some();
    let body = compressed.unwrap_or(Bytes::from_static(asset.bytes));
    let mut response = Response::new(Body::from(body));
    let answered = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind(asset.path)),
        (header::CACHE_CONTROL, kept),
        (header::VARY, "accept-encoding"),
    ] {
        answered.insert(name, HeaderValue::from_static(value));
    }
    if is_compressed {
        answered.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// On every answer, so that no page of ours is read as something else.
pub(super) fn guard(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
