//! Figures for Prometheus.
//!
//! What a restart must not change is read from the state at each scrape, in one pass:
//! nothing is counted twice, and nothing can drift. How long things took is counted where
//! they happen, since this process began.
//!
//! A series is told apart by app, environment and words that are known beforehand, never by
//! node or rollout: however large the fleet, a scrape stays small. And all series are there
//! from the start: one that appears late hides its first change.

mod fleet;
mod process;
mod strain;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use fleet_proto::exposition::{Exposition, Form};
use fleet_proto::time::Timestamp;

use super::Web;
use crate::rollout::view;
use strain::Strain;

pub(super) async fn show(State(web): State<Web>, headers: HeaderMap) -> Response {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let form = Form::accepted(accept);
    (
        [(header::CONTENT_TYPE, form.content_type())],
        web.exposition(form),
    )
        .into_response()
}

impl Web {
    fn exposition(&self, form: Form) -> String {
        let mut text = Exposition::new(form);
        // Written when the state is free again: whoever changes it does not wait for that.
        let (figures, strain, charge) = self.handle.read(|state| {
            let figures = view::figures(state, Timestamp::now());
            let strain = Strain::of(state, self.handle.sessions());
            (figures, strain, process::Charge::of(state))
        });
        fleet::write(&mut text, &figures);
        strain.write(&mut text);
        self.write_process(&mut text, charge);
        text.finish()
    }
}

/// As Prometheus has them: seconds since 1970.
fn seconds(at: Timestamp) -> f64 {
    at.0 as f64 / 1000.0
}
