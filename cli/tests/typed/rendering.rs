//! What people read, made from views that were written by hand.

use fleet_proto::digest::Digest;
use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use fleet_proto::view::{PlanView, RolloutView};
use fleetctl::render::live::Live;
use fleetctl::render::paint::Paint;
use fleetctl::render::progress::Progress;
use fleetctl::render::{explain, outcome, plan};
use serde_json::{Value, json};

use crate::views::{self, START, release, step, unhealthy};

fn rollout(state: &str, waves: &[&str], steps: &Value, more: &[(&str, Value)]) -> RolloutView {
    serde_json::from_value(views::rollout(state, waves, steps, more)).unwrap()
}

fn failed() -> RolloutView {
    let steps = json!([
        step("n01", 1, "rolled-back", &unhealthy()),
        step("n02", 2, "pending", &Value::Null)
    ]);
    rollout(
        "failed",
        &["failed", "pending"],
        &steps,
        &[
            ("why", json!("1 node of wave 1 failed, and 0 may")),
            ("ended_at", json!(START + 12_000)),
        ],
    )
}

#[test]
fn plain_lines_say_each_change_once() {
    let mut progress = Progress::default();
    let now = Timestamp(START);
    let none = Value::Null;
    let first = rollout(
        "running",
        &["running", "pending"],
        &json!([step("n01", 1, "fetching", &none)]),
        &[],
    );
    assert_eq!(
        progress.changes(&first, now),
        [
            "12:00:00Z rollout #3 of shop v1.2.0 in dev: 2 nodes in 2 waves",
            "12:00:01Z #3 wave 1 of 2 starts: to 50%, 1 node",
            "12:00:02Z #3 n01 fetching",
        ]
    );
    assert_eq!(progress.changes(&first, now), [""; 0]);
    let waits = json!([{ "what": "n01 to be verified", "since": null, "until": null, "hint": null }]);
    let second = rollout(
        "running",
        &["running", "pending"],
        &json!([step("n01", 1, "verifying", &none)]),
        &[("waiting", waits)],
    );
    assert_eq!(progress.changes(&second, now), ["12:00:02Z #3 n01 verifying"]);
    // A wait is told when it lasts, and once.
    let later = now.plus(Span::from_secs(5));
    assert_eq!(
        progress.changes(&second, later),
        ["          #3 waits: n01 to be verified"]
    );
    assert_eq!(progress.changes(&second, later), [""; 0]);
    assert_eq!(
        progress.changes(&failed(), now),
        [
            "12:00:02Z #3 n01 rolled-back: not healthy within 8s: it answered 503",
            "          #3 wave 1 of 2 failed",
            "12:00:12Z #3 failed: 1 node of wave 1 failed, and 0 may",
        ]
    );
}

/// The end of a wave and the beginning of the next one are one moment to the coordinator.
#[test]
fn what_comes_at_once_reads_in_the_order_in_which_it_happened() {
    let at = |mut step: Value| {
        step["since"] = json!(START + 5000);
        step
    };
    let mut view = views::rollout(
        "running",
        &["passed", "running"],
        &json!([
            at(step("n02", 2, "fetching", &Value::Null)),
            at(step("n01", 1, "done", &Value::Null)),
        ]),
        &[],
    );
    view["waves"][0]["passed_at"] = json!(START + 5000);
    view["waves"][1]["started_at"] = json!(START + 5000);
    view["steps"][1]["unreachable"] = json!(true);
    let view: RolloutView = serde_json::from_value(view).unwrap();
    assert_eq!(
        Progress::default().changes(&view, Timestamp(START))[1..],
        [
            "12:00:01Z #3 wave 1 of 2 starts: to 50%, 1 node",
            "12:00:05Z #3 n01 done",
            "12:00:05Z #3 wave 1 of 2 passed",
            "12:00:05Z #3 wave 2 of 2 starts: to 100%, 1 node",
            "12:00:05Z #3 n02 fetching",
            "          #3 n01 unreachable",
        ]
    );
}

#[test]
fn a_failure_names_node_check_figure_and_limit_and_shows_the_log() {
    assert_eq!(
        outcome::failure(&failed(), None),
        "error: rollout #3 failed: 1 node of wave 1 failed, and 0 may\n  \
         n01 web/health: not healthy within 8s: it answered 503 (found status 503, limit status 200); \
         the node is back on what it ran before\n    \
         the last lines of its log:\n    \
         | sample v1.2.0 starts\n    \
         | health check failed: the database does not answer\n\
         hint: `fleetctl explain 3` tells more"
    );
}

#[test]
fn a_pause_says_which_commands_go_on() {
    let paused = rollout(
        "paused",
        &["running", "pending"],
        &json!([]),
        &[
            ("why", json!("n01 cannot be reached")),
            ("needs_person", json!(true)),
        ],
    );
    let text = outcome::failure(&paused, None);
    assert!(
        text.starts_with("error: rollout #3 paused: n01 cannot be reached\nhint: "),
        "{text}"
    );
    for command in ["fleetctl resume 3", "fleetctl abort 3", "fleetctl rollback 3"] {
        assert!(
            text.contains(command) && explain::explain(&paused, Paint::PLAIN).contains(command),
            "{text}"
        );
    }
}

#[test]
fn a_migration_s_last_words_stand_below_what_became_of_it() {
    let said = [
        "Error: P3018",
        "relation \"customers\" does not exist",
        "Read more",
    ];
    let failed = rollout(
        "failed",
        &["pending"],
        &json!([]),
        &[
            ("why", json!("up exited with code 1: Read more")),
            ("migration_log", json!(said)),
        ],
    );
    let shown = "up exited with code 1: Read more\n    the last lines of its log:\n    | Error: P3018\n    \
                 | relation \"customers\" does not exist\n    | Read more";
    for text in [
        outcome::failure(&failed, None),
        explain::explain(&failed, Paint::PLAIN),
    ] {
        assert!(text.contains(shown), "{text}");
    }
}

#[test]
fn the_live_block_is_drawn_over_itself() {
    let mut live = Live::default();
    let view = rollout(
        "running",
        &["running", "pending"],
        &json!([step("n01", 1, "verifying", &Value::Null)]),
        &[],
    );
    let now = Timestamp(START + 5000);
    let first = live.frame(&[&view], now, (120, 40));
    assert_eq!(
        first,
        "rollout #3 of shop v1.2.0 in dev: 2 nodes in 2 waves  running  5.0s\r\n  \
         wave 1   50% [--------------------] 0/1 running\r\n      n01          verifying 3.0s\r\n  \
         wave 2  100% [--------------------] 0/1 pending\r\n"
    );
    assert!(
        live.frame(&[&view], now, (120, 40))
            .starts_with("\x1b[4A\r\x1b[J")
    );
    // Never wider or taller than the screen, or drawing over it would leave traces.
    let small = live.frame(&[&view], now, (20, 4));
    assert!(
        small.lines().skip(1).all(|line| line.len() < 20) && small.lines().count() <= 3,
        "{small:?}"
    );
}

/// What is lost for want of room is what matters least.
#[test]
fn a_narrow_terminal_still_shows_how_it_stands() {
    let view = rollout(
        "running",
        &["running", "pending"],
        &json!([step("n01", 1, "verifying", &unhealthy())]),
        &[],
    );
    for (width, lines) in [
        (
            60,
            "rollout #3 of shop v1.2.0 in dev  running  5.0s\r\n  \
             wave 1   50% [--------------------] 0/1 running\r\n      \
             n01          verifying 3.0s: not healthy within 8s: i\r\n  \
             wave 2  100% [--------------------] 0/1 pending\r\n",
        ),
        (
            40,
            "rollout #3 v1.2.0  running  5.0s\r\n  \
             wave 1   50% [--------] 0/1 running\r\n      \
             n01          verifying 3.0s: not \r\n  \
             wave 2  100% [--------] 0/1 pending\r\n",
        ),
        (
            24,
            "#3  running\r\n  wave 1 0/1 running\r\n  n01 verifying 3.0s: n\r\n  wave 2 0/1 pending\r\n",
        ),
        (
            16,
            "#3  running\r\n1 0/1 running\r\n  n01 verifying\r\n2 0/1 pending\r\n",
        ),
    ] {
        let frame = Live::default().frame(&[&view], Timestamp(START + 5000), (width, 40));
        assert_eq!(frame, lines, "{width}");
    }
}

#[test]
fn a_plan_shows_who_goes_when() {
    let view: PlanView = serde_json::from_value(json!({
        "app": "shop", "environment": "dev", "release": release("v1.0.0"), "nodes": 3,
        "waves": [
            { "wave": 1, "reach": "10%", "nodes": ["n01"], "domains": { "a": 1 }, "bake": "0s" },
            { "wave": 2, "reach": "100%", "nodes": ["n02", "n03"], "domains": { "b": 1, "c": 1 }, "bake": "5m" },
        ],
        "dropped": ["50%"], "held_back": [], "left_out": [{ "node": "n04", "why": "it is revoked" }],
        "strategy": {}, "gates": [{ "gate": "one at a time", "verdict": { "shut": { "why": "rollout #2 is running" } } }],
        "would_start": false,
    }))
    .unwrap();
    let digest = Digest::of(b"v1.0.0").short();
    assert_eq!(
        plan::plan(&view, Paint::PLAIN),
        format!(
            "app shop, environment dev, release v1.0.0 ({digest})\n3 nodes in 2 waves\n  \
             wave 1 to 10%: 1 node (a 1): n01\n  wave 2 to 100%: 2 nodes (b 1, c 1), bake 5m: n02 n03\n  \
             left away, they add no node: 50%\n  \
             at once 100%, unavailable 25%, failures 0, unreachable 0; on failure roll back\n  \
             leaves out n04: it is revoked\n  gate one at a time shut: rollout #2 is running\nwould not start now"
        )
    );
}
