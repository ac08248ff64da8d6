//! Figures for Prometheus. They are read from the state at each scrape: nothing is
//! counted twice, and nothing can drift.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Web;
use crate::rollout::node::Connection;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = [(&'static str, &'static str); 1];

pub(super) async fn show(State(web): State<Web>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &web.registry()) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge: Gauge = Gauge::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter: Counter = Counter::default();
    counter.inner().store(value, Ordering::Relaxed);
    registry.register(name, help, counter);
}

fn seconds(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let counter = Counter::<f64, AtomicU64>::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

impl Web {
    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("fleet");
        let figures = self.handle.figures();
        self.register_state(&mut registry);
        counter(
            &mut registry,
            "driver_turns",
            "Turns of the driver",
            figures.turns,
        );
        counter(
            &mut registry,
            "events",
            "Events appended by this process",
            figures.events,
        );
        counter(
            &mut registry,
            "journal_appends",
            "Appends to the journal",
            figures.appends,
        );
        seconds(
            &mut registry,
            "driver_turn_seconds",
            "Time spent in turns, appends included",
            figures.turn_seconds,
        );
        seconds(
            &mut registry,
            "journal_append_seconds",
            "Time spent in appends",
            figures.append_seconds,
        );
        gauge(
            &mut registry,
            "streams",
            "Open sessions of agents",
            self.handle.sessions().len() as u64,
        );
        gauge(
            &mut registry,
            "connections",
            "Open connections, of agents and operators",
            self.live.len() as u64,
        );
        registry
    }

    fn register_state(&self, registry: &mut Registry) {
        let rollouts = Family::<Labels, Gauge>::default();
        let nodes = Family::<Labels, Gauge>::default();
        // All words from the start: a series that appears late hides its first change.
        for word in ["running", "paused", "held", "succeeded", "failed", "aborted"] {
            rollouts.get_or_create(&[("state", word)]).set(0);
        }
        for word in ["connected", "silent", "unreachable", "revoked", "expired"] {
            nodes.get_or_create(&[("connection", word)]).set(0);
        }
        let (position, term, outdated) = self.handle.read(|state| {
            for rollout in state.rollouts.values() {
                rollouts.get_or_create(&[("state", rollout.course.word())]).inc();
            }
            for node in state.nodes.values() {
                let word = match node.connection {
                    Connection::Connected => "connected",
                    Connection::Silent { .. } => "silent",
                    Connection::Unreachable { .. } => "unreachable",
                    Connection::Revoked { .. } => "revoked",
                    Connection::Expired { .. } => "expired",
                };
                nodes.get_or_create(&[("connection", word)]).inc();
            }
            (state.position, state.term, state.outdated.len() as u64)
        });
        registry.register("rollouts", "Rollouts by state", rollouts);
        registry.register("nodes", "Nodes by connection", nodes);
        gauge(
            registry,
            "journal_position",
            "Position of the last event",
            position,
        );
        gauge(
            registry,
            "nodes_ahead",
            "Nodes that have seen more than this coordinator's state knows; it gives no orders while there are any",
            outdated,
        );
        gauge(registry, "term", "Term of this coordinator", term);
    }
}
