//! The agent's figures as text, for a Prometheus on the same machine.

use fleet_proto::digest::Digest;
use fleet_proto::exposition::{Exposition, Form};
use fleet_proto::ids::AppName;
use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;

use crate::facts;
use crate::figures::{Counted, Figures};
use crate::layout::Layout;
use crate::slots::Slots;

/// Reads directories and nothing else: a scrape wakes up no process.
pub fn text(form: Form, figures: &Figures, layout: &Layout, is_connected: bool) -> String {
    let counted = figures.counted();
    let mut text = Exposition::new(form);
    text.info(
        "fleet_agent_build",
        "The agent that runs.",
        &[("version", env!("CARGO_PKG_VERSION"))],
    );
    write_link(&mut text, &counted, is_connected);
    write_apps(&mut text, &counted, layout);
    write_looks(&mut text, &counted);
    write_disk(&mut text, &counted, layout);
    text.finish()
}

fn write_link(text: &mut Exposition, counted: &Counted, is_connected: bool) {
    text.gauge(
        "fleet_agent_connected",
        "Whether a session with a coordinator is open.",
    )
    .value(&[], u8::from(is_connected));
    let silent = Timestamp::now().since(counted.silent_since).as_duration();
    text.gauge(
        "fleet_agent_coordinator_silent_seconds",
        "How long no coordinator has been there, since this agent runs; 0 while one is.",
    )
    .value(&[], if is_connected { 0.0 } else { silent.as_secs_f64() });
    let mut expiry = text.gauge(
        "fleet_agent_certificate_expiry_timestamp_seconds",
        "When this node's certificate ends.",
    );
    if let Some(at) = counted.certificate_expires_at {
        expiry.value(&[], seconds(at));
    }
}

fn write_apps(text: &mut Exposition, counted: &Counted, layout: &Layout) {
    let mut phases = text.gauge(
        "fleet_agent_app_phase",
        "1 for the phase in which the app's newest step is.",
    );
    for (app, of) in &counted.apps {
        for phase in Phase::ALL {
            let labels = [("app", app.as_str()), ("phase", phase.word())];
            phases.value(&labels, u8::from(of.stands.phase == Some(phase)));
        }
    }
    let mut healthy = text.gauge("fleet_agent_app_healthy", "Whether the app does well here.");
    for (app, of) in &counted.apps {
        healthy.value(&[("app", app.as_str())], u8::from(of.stands.is_healthy));
    }
    let mut good = text.gauge(
        "fleet_agent_last_good_timestamp_seconds",
        "When the last good release of the app was brought here.",
    );
    for (app, of) in &counted.apps {
        let brought = of
            .stands
            .last_good
            .and_then(|release| brought_at(layout, app, &release));
        if let Some(at) = brought {
            good.value(&[("app", app.as_str())], seconds(at));
        }
    }
    let mut took = text.histogram(
        "fleet_agent_step_phase_seconds",
        "How long steps were in each phase that takes time.",
    );
    for (phase, observed) in &counted.phases {
        took.observed(&[("phase", phase)], observed);
    }
}

fn write_looks(text: &mut Exposition, counted: &Counted) {
    let mut restarts = text.counter(
        "fleet_agent_component_restarts",
        "How often a component was started again by its manager, since this agent looks.",
    );
    for (app, of) in &counted.apps {
        for (component, count) in of.restarts() {
            restarts.value(&[("app", app.as_str()), ("component", component)], count);
        }
    }
    let mut checks = text.counter("fleet_agent_checks", "Looks at a check, by what came of them.");
    for (app, of) in &counted.apps {
        for (check, checked) in &of.checks {
            for (result, count) in [("passed", checked.passed), ("missed", checked.missed)] {
                let labels = [("app", app.as_str()), ("check", check), ("result", result)];
                checks.value(&labels, count);
            }
        }
    }
    let mut passing = text.gauge("fleet_agent_check_passing", "Whether the newest look passed.");
    for (app, of) in &counted.apps {
        for (check, checked) in &of.checks {
            let labels = [("app", app.as_str()), ("check", check.as_str())];
            passing.value(&labels, u8::from(checked.passes_now));
        }
    }
}

fn write_disk(text: &mut Exposition, counted: &Counted, layout: &Layout) {
    text.gauge(
        "fleet_agent_disk_free_bytes",
        "What may still be written beside the agent's state.",
    )
    .value(&[], facts::disk_free(layout.root()).0);
    let mut releases = text.gauge("fleet_agent_releases", "Releases on this node's disk.");
    for app in counted.apps.keys() {
        let slots = Slots::new(layout, app).names().len();
        releases.value(&[("app", app.as_str())], slots);
    }
    text.histogram(
        "fleet_agent_ledger_write_seconds",
        "How long it took to write the ledger down, until it was durable.",
    )
    .observed(&[], &counted.ledger_writes);
}

/// Its slot came to its place then.
fn brought_at(layout: &Layout, app: &AppName, release: &Digest) -> Option<Timestamp> {
    let about = std::fs::metadata(layout.slot(app, release)).ok()?;
    let since = about
        .modified()
        .ok()?
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?;
    u64::try_from(since.as_millis()).ok().map(Timestamp)
}

/// As Prometheus has them: since 1970.
fn seconds(at: Timestamp) -> f64 {
    at.0 as f64 / 1000.0
}
