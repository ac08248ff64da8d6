//! How the fleet is: rollouts, steps, nodes, apps.

use std::collections::BTreeMap;

use fleet_proto::exposition::{Exposition, Family};
use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;

use super::seconds;
use crate::rollout::view::figures::{
    CONDITIONS, CONNECTIONS, COURSES, Figures, OUTCOMES, OfApp, OfPlace, UNREACHABLE, WAITS,
};

pub(super) fn write(text: &mut Exposition, figures: &Figures) {
    write_rollouts(text, figures);
    write_steps(text, figures);
    write_apps(text, figures);
    write_places(text, figures);
}

/// One sample for each app, environment and word.
fn by_word(
    mut family: Family<'_>,
    figures: &Figures,
    label: &str,
    words: &[&'static str],
    value: impl Fn(&OfApp, &str) -> f64,
) {
    for ((app, environment), of) in &figures.of_apps {
        for word in words {
            let labels = [
                ("app", app.as_str()),
                ("environment", environment.as_str()),
                (label, *word),
            ];
            family.value(&labels, value(of, word));
        }
    }
}

fn by_app(mut family: Family<'_>, figures: &Figures, value: impl Fn(&OfApp) -> u64) {
    for ((app, environment), of) in &figures.of_apps {
        let labels = [("app", app.as_str()), ("environment", environment.as_str())];
        family.value(&labels, value(of));
    }
}

fn counted(counts: &BTreeMap<&'static str, u64>, word: &str) -> f64 {
    counts.get(word).copied().unwrap_or_default() as f64
}

fn write_rollouts(text: &mut Exposition, figures: &Figures) {
    by_word(
        text.gauge("fleet_rollouts", "Rollouts that are remembered, by state."),
        figures,
        "state",
        &COURSES,
        |of, word| counted(&of.rollouts, word),
    );
    by_word(
        text.gauge(
            "fleet_rollout_ended_timestamp_seconds",
            "When the newest rollout with this outcome ended, 0 if none has.",
        ),
        figures,
        "outcome",
        &OUTCOMES,
        |of, word| of.ended.get(word).copied().map_or(0.0, seconds),
    );
    by_word(
        text.gauge(
            "fleet_rollouts_waiting",
            "Active rollouts, by what they wait for.",
        ),
        figures,
        "on",
        &WAITS,
        |of, word| of.waits.get(word).map_or(0.0, |wait| wait.rollouts as f64),
    );
    by_word(
        text.gauge(
            "fleet_rollout_waiting_seconds",
            "How long an active rollout has waited for this, the longest of them.",
        ),
        figures,
        "on",
        &WAITS,
        |of, word| {
            of.waits
                .get(word)
                .map_or(0.0, |wait| wait.longest.as_duration().as_secs_f64())
        },
    );
}

fn write_steps(text: &mut Exposition, figures: &Figures) {
    let mut phases: Vec<&'static str> = Phase::ALL.map(Phase::word).to_vec();
    phases.push(UNREACHABLE);
    by_word(
        text.gauge("fleet_steps", "Nodes in active rollouts, by phase."),
        figures,
        "phase",
        &phases,
        |of, word| counted(&of.steps, word),
    );
    by_app(
        text.gauge(
            "fleet_commands_in_flight",
            "Nodes in active rollouts that were told to move, and have not come to an end.",
        ),
        figures,
        |of| of.in_flight,
    );
}

fn write_apps(text: &mut Exposition, figures: &Figures) {
    by_word(
        text.gauge("fleet_app_nodes", "Nodes that run the app, by how it is there."),
        figures,
        "condition",
        &CONDITIONS,
        |of, word| counted(&of.conditions, word),
    );
    by_app(
        text.gauge(
            "fleet_app_nodes_behind",
            "Nodes that do not run what is wanted of them, and are in no rollout.",
        ),
        figures,
        |of| of.behind,
    );
    by_app(
        text.gauge(
            "fleet_app_nodes_unavailable",
            "Nodes that served the app and do not serve it well now.",
        ),
        figures,
        |of| of.unavailable,
    );
}

fn write_places(text: &mut Exposition, figures: &Figures) {
    let mut nodes = text.gauge(
        "fleet_nodes",
        "Nodes by connection; without an environment those that are in none.",
    );
    for (place, of) in &figures.of_places {
        for word in CONNECTIONS {
            let environment = place.as_ref().map_or("", |name| name.as_str());
            let count = of.connections.get(word).copied().unwrap_or_default();
            nodes.value(&[("environment", environment), ("connection", word)], count);
        }
    }
    by_place(
        text.gauge(
            "fleet_node_expired_timestamp_seconds",
            "When the newest ephemeral node expired, 0 if none has.",
        ),
        figures,
        |of| of.expired_at,
    );
    by_place(
        text.gauge(
            "fleet_halted_timestamp_seconds",
            "Since when it is halted, 0 if it is not; without an environment the whole fleet.",
        ),
        figures,
        |of| of.halted_since,
    );
}

fn by_place(mut family: Family<'_>, figures: &Figures, at: impl Fn(&OfPlace) -> Option<Timestamp>) {
    for (place, of) in &figures.of_places {
        let environment = place.as_ref().map_or("", |name| name.as_str());
        family.value(&[("environment", environment)], at(of).map_or(0.0, seconds));
    }
}
