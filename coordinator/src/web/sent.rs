//! How many bytes went out over HTTP, headers aside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::response::Response;
use tokio_stream::StreamExt;

#[derive(Debug, Clone, Default)]
pub(super) struct Sent(Arc<AtomicU64>);

impl Sent {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn note(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Documents have a length, which stays said; of what goes on and on each piece is counted.
pub(super) async fn count(State(sent): State<Sent>, response: Response) -> Response {
    if let Some(bytes) = response.body().size_hint().exact() {
        sent.note(bytes);
        return response;
    }
    response.map(|body| {
        Body::from_stream(body.into_data_stream().map(move |piece| {
            if let Ok(piece) = &piece {
                sent.note(piece.len() as u64);
            }
            piece
        }))
    })
}
