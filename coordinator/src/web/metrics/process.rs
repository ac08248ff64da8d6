//! How the coordinator itself does: its loop, its journal, its connections and certificates.

use fleet_proto::exposition::Exposition;
use fleet_proto::identity::Who;
use fleet_proto::time::Timestamp;

use super::seconds;
use crate::driver::Figures;
use crate::rollout::state::State;
use crate::web::Web;

/// Who is in charge, and how far the journal is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge {
    position: u64,
    term: u64,
    nodes_ahead: u64,
    since: Timestamp,
}

impl Charge {
    pub(super) fn of(state: &State) -> Self {
        Self {
            position: state.position,
            term: state.term,
            nodes_ahead: state.outdated.len() as u64,
            since: state.in_charge_since,
        }
    }
}

impl Web {
    pub(super) fn write_process(&self, text: &mut Exposition, charge: Charge) {
        let figures = self.handle.figures();
        text.info(
            "fleet_build",
            "The coordinator that runs.",
            &[("version", env!("CARGO_PKG_VERSION"))],
        );
        text.gauge(
            "fleet_in_charge_timestamp_seconds",
            "When this coordinator took charge.",
        )
        .value(&[], seconds(charge.since));
        text.gauge("fleet_term", "Term of this coordinator.")
            .value(&[], charge.term);
        text.gauge(
            "fleet_nodes_ahead",
            "Nodes that have seen more than this coordinator's state knows; it gives no orders while there are any.",
        )
        .value(&[], charge.nodes_ahead);
        write_steps(text, &figures);
        self.write_journal(text, &figures, charge);
        self.write_traffic(text);
        self.write_certificates(text);
    }

    fn write_journal(&self, text: &mut Exposition, figures: &Figures, charge: Charge) {
        text.histogram(
            "fleet_driver_turn_seconds",
            "How long turns took, appends included.",
        )
        .observed(&[], &figures.turns);
        text.counter("fleet_events", "Events appended by this process.")
            .value(&[], figures.events);
        text.histogram(
            "fleet_journal_append_seconds",
            "How long appends to the journal took, until they were durable.",
        )
        .observed(&[], &figures.appends);
        text.counter("fleet_journal_appended_bytes", "Bytes of events appended.")
            .value(&[], figures.appended_bytes);
        text.gauge("fleet_journal_position", "Position of the last event.")
            .value(&[], charge.position);
        // Not known is not nothing: then there is no sample.
        let mut size = text.gauge("fleet_journal_size_bytes", "What the journal takes up on disk.");
        if let Ok(bytes) = self.handle.journal_bytes() {
            size.value(&[], bytes);
        }
    }

    fn write_traffic(&self, text: &mut Exposition) {
        text.gauge("fleet_streams", "Open sessions of agents.")
            .value(&[], self.handle.sessions().len());
        text.gauge("fleet_connections", "Open connections, of agents and operators.")
            .value(&[], self.live.len());
        text.counter("fleet_artifact_sent_bytes", "Bytes of artifacts sent to agents.")
            .value(&[], self.artifacts.served_bytes());
        text.counter("fleet_http_sent_bytes", "Bytes sent over HTTP, headers aside.")
            .value(&[], self.sent.bytes());
    }

    fn write_certificates(&self, text: &mut Exposition) {
        let mut expiry = text.gauge(
            "fleet_certificate_expiry_timestamp_seconds",
            "When a certificate ends: of nodes and operators the first one of those that are connected.",
        );
        let nodes = self.live.nearest_expiry(|who| matches!(who, Who::Node(_)));
        let operators = self.live.nearest_expiry(|who| matches!(who, Who::Operator(_)));
        for (holder, at) in [
            ("coordinator", Some(self.trust.expires_at())),
            ("authority", Some(self.trust.authority_expires_at())),
            // Where nobody is connected nothing is about to end.
            ("node", nodes),
            ("operator", operators),
        ] {
            if let Some(at) = at {
                expiry.value(&[("holder", holder)], seconds(at));
            }
        }
    }
}

fn write_steps(text: &mut Exposition, figures: &Figures) {
    let mut phases = text.histogram(
        "fleet_step_phase_seconds",
        "How long steps were in each phase that takes time.",
    );
    for (phase, observed) in &figures.phases {
        phases.observed(&[("phase", phase)], observed);
    }
    let mut failures = text.counter("fleet_step_failures", "Steps that failed, by class of failure.");
    for (class, count) in &figures.failures {
        failures.value(&[("class", class)], *count);
    }
}
