//! `/api/v1/stream`: events as they happen, from where the listener was last. Nothing is
//! held for a listener but its place: whoever is slow falls behind alone, and is told what
//! it missed, or that it missed too much.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use fleet_proto::ids::{NodeId, RolloutNumber};
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio_util::sync::CancellationToken;

use super::Web;
use super::asked::Asked;
use super::feed::{self, Chunk, Filter};
use super::problem::Problem;
use crate::driver::Handle;

/// A line that is quiet for longer is taken for dead by what is in between.
const QUIET_MAX: Duration = Duration::from_secs(15);
/// Whoever missed more reads the views anew, which is less.
const CATCH_UP_MAX: u64 = 10_000;
const CATCH_UP_AT_ONCE: usize = 500;
/// Where the browser does not know better.
const RETRY_MS: u64 = 2_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamQuery {
    rollout: Option<RolloutNumber>,
    node: Option<NodeId>,
}

pub(super) async fn stream(
    State(web): State<Web>,
    Asked(query): Asked<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = web.listeners.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{} listen already, which is the limit", super::LISTENERS_MAX),
        )
    })?;
    let last = match headers.get("last-event-id") {
        None => None,
        Some(text) => Some(
            text.to_str()
                .ok()
                .and_then(|text| text.trim().parse::<u64>().ok())
                .ok_or_else(|| Problem::bad_request("Last-Event-ID is the position of an event"))?,
        ),
    };
    // Subscribed before the end is read, so that nothing falls in between.
    let chunks = web.feed.listen();
    let end = *web.handle.changes().borrow();
    let listener = Listener {
        position: last.unwrap_or(end).min(end),
        is_behind: last.is_some(),
        handle: web.handle.clone(),
        filter: Filter {
            rollout: query.rollout,
            node: query.node,
        },
        chunks,
        stopping: web.stopping.clone(),
        greeting: Some(format!("retry: {RETRY_MS}\n: the journal's end is {end}\n\n")),
        _place: place,
    };
    let mut response = Response::new(Body::from_stream(listener.tell()));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A proxy that collects it first would make it a report.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

struct Listener {
    handle: Handle,
    filter: Filter,
    chunks: broadcast::Receiver<Arc<Chunk>>,
    /// Of the last event that was told, or passed over.
    position: u64,
    /// It has missed some, and reads the journal first.
    is_behind: bool,
    stopping: CancellationToken,
    greeting: Option<String>,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    fn tell(self) -> impl tokio_stream::Stream<Item = Result<Bytes, std::convert::Infallible>> {
        futures_util::stream::unfold(self, |mut listener| async move {
            let next = listener.next().await?;
            Some((Ok(next), listener))
        })
    }

    /// Nothing when the coordinator stops.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(greeting) = self.greeting.take() {
            return Some(Bytes::from(greeting));
        }
        loop {
            let told = match self.is_behind {
                true => self.catch_up().await,
                false => self.listen().await?,
            };
            if !told.is_empty() {
                return Some(told);
            }
        }
    }

    async fn catch_up(&mut self) -> Bytes {
        let end = *self.handle.changes().borrow();
        if end.saturating_sub(self.position) > CATCH_UP_MAX {
            return self.pass_over(end);
        }
        let Some(missed) = feed::read(&self.handle, self.position, CATCH_UP_AT_ONCE).await else {
            self.is_behind = false;
            return Bytes::new();
        };
        let told = missed.behind(self.position, &self.filter);
        self.position = missed.to;
        told
    }

    async fn listen(&mut self) -> Option<Bytes> {
        let received = tokio::select! {
            () = self.stopping.cancelled() => return None,
            received = tokio::time::timeout(QUIET_MAX, self.chunks.recv()) => received,
        };
        match received {
            Err(_) => Some(Bytes::from_static(b": quiet\n\n")),
            Ok(Err(RecvError::Closed)) => None,
            Ok(Ok(chunk)) if chunk.from <= self.position + 1 => {
                let told = chunk.behind(self.position, &self.filter);
                self.position = self.position.max(chunk.to);
                Some(told)
            }
            // Something lies in between; the journal has it, and this chunk too.
            Ok(Ok(_) | Err(RecvError::Lagged(_))) => {
                self.is_behind = true;
                Some(Bytes::new())
            }
        }
    }

    fn pass_over(&mut self, end: u64) -> Bytes {
        let from = self.position + 1;
        self.position = end;
        let text = format!("id: {end}\nevent: missed\ndata: {{\"from\":{from},\"to\":{end}}}\n\n");
        Bytes::from(text)
    }
}
