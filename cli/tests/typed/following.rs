//! Rollouts that are followed to their end: what is printed where, and which exit code
//! it comes to.

use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use serde_json::{Value, json};
use tonic::Status;

use crate::coordinator::{Coordinator, Script, Watched};
use crate::support::{fleet_identities, fleetctl, transcript};
use crate::views::{START, plan, rollout, step, unhealthy};

struct Told {
    text: String,
    asked: Vec<u64>,
}

fn tell(args: &[&str], plan: Value, watches: Vec<Watched>) -> Told {
    let home = tempfile::tempdir().unwrap();
    let (_, credentials) = fleet_identities(&home.path().join("id"), Timestamp::now(), Span::from_secs(3600));
    let script = Script {
        plan,
        started: running("fetching"),
        watches,
        ..Script::default()
    };
    let coordinator = Coordinator::start(&credentials, script);
    let mut command = fleetctl(home.path(), args);
    command
        .env("FLEET_COORDINATOR", &coordinator.address)
        .env("FLEET_IDENTITY", "id");
    let text = transcript(command);
    let asked = coordinator.asked.lock().unwrap().clone();
    Told { text, asked }
}

fn open() -> Value {
    plan(&json!([{ "gate": "one-at-a-time", "verdict": "open" }]), true)
}

fn running(phase: &str) -> Value {
    let steps = json!([
        step("n01", 1, phase, &Value::Null),
        step("n02", 2, "pending", &Value::Null)
    ]);
    rollout("running", &["running", "pending"], &steps, &[])
}

fn succeeded() -> Value {
    let steps = json!([
        step("n01", 1, "done", &Value::Null),
        step("n02", 2, "done", &Value::Null)
    ]);
    rollout(
        "succeeded",
        &["passed", "passed"],
        &steps,
        &[("ended_at", json!(START + 9000))],
    )
}

fn failed(more: &[(&str, Value)]) -> Value {
    let steps = json!([
        step("n01", 1, "rolled-back", &unhealthy()),
        step("n02", 2, "pending", &Value::Null)
    ]);
    let mut view = rollout(
        "failed",
        &["failed", "pending"],
        &steps,
        &[("ended_at", json!(START + 9000))],
    );
    view["why"] = json!("1 node failed (max_failures 0)");
    for (key, value) in more {
        view[*key] = value.clone();
    }
    view
}

fn rollback(state: &str) -> Value {
    let steps = json!([step("n01", 1, "done", &Value::Null)]);
    let more = [
        ("number", json!(4)),
        ("release", Value::Null),
        ("kind", json!({ "rollback": { "parent": 3 } })),
    ];
    rollout(state, &["passed"], &steps, &more)
}

const BRIEF: &str = "app shop, environment dev, release v1.2.0 (818d445fffba)\n2 nodes in 2 waves\n  \
    wave 1 to 50%: 1 node (a 1): n01\n  wave 2 to 100%: 1 node (b 1), bake 5m: n02\n  \
    left away, they add no node: 60%\n";

#[test]
fn a_rollout_that_succeeds() {
    let told = tell(
        &["rollout", "v1.2.0"],
        open(),
        vec![(vec![running("fetching"), running("verifying"), succeeded()], None)],
    );
    assert_eq!(
        told.text,
        format!(
            "exit 0\n--- stdout\nrollout #3 of shop v1.2.0 in dev: 2 nodes in 2 waves succeeded after 9.0s\n\
             --- stderr\n{BRIEF}\
             12:00:00Z rollout #3 of shop v1.2.0 in dev: 2 nodes in 2 waves\n\
             12:00:01Z #3 wave 1 of 2 starts: to 50%, 1 node\n\
             12:00:02Z #3 n01 fetching\n\
             12:00:02Z #3 n01 verifying\n\
             12:00:02Z #3 n01 done\n\
             12:00:03Z #3 wave 1 of 2 passed\n\
             12:00:04Z #3 wave 2 of 2 starts: to 100%, 1 node\n\
             12:00:05Z #3 n02 done\n\
             12:00:06Z #3 wave 2 of 2 passed\n\
             12:00:09Z #3 succeeded\n"
        )
    );
}

#[test]
fn a_rollback_that_succeeds_is_not_success() {
    let told = tell(
        &["rollout", "v1.2.0"],
        open(),
        vec![
            (vec![failed(&[("rollback", json!(4))])], None),
            (vec![rollback("running"), rollback("succeeded")], None),
        ],
    );
    assert_eq!(told.asked, [3, 4]);
    let end = "error: rollout #3 failed: 1 node failed (max_failures 0)\n  \
        n01 web/health: not healthy within 8s: it answered 503 (found status 503, limit status 200); \
        the node is back on what it ran before\n    \
        the last lines of its log:\n    | sample v1.2.0 starts\n    \
        | health check failed: the database does not answer\n  \
        rollback #4 of shop to each node's last good release in dev: 1 node in 1 wave succeeded\n\
        hint: `fleetctl explain 3` tells more\n";
    assert!(
        told.text.starts_with("exit 1\n--- stdout\n--- stderr\n") && told.text.ends_with(end),
        "{}",
        told.text
    );
}

#[test]
fn a_coordinator_that_restarts_is_waited_for_and_nothing_is_said_twice() {
    let told = tell(
        &["rollout", "v1.2.0"],
        open(),
        vec![
            (
                vec![running("verifying")],
                Some(Status::unavailable("the coordinator stops")),
            ),
            (vec![], Some(Status::unavailable("the coordinator stops"))),
            (vec![running("verifying"), succeeded()], None),
        ],
    );
    assert_eq!(told.asked, [3, 3, 3]);
    assert!(told.text.starts_with("exit 0\n"), "{}", told.text);
    for line in [
        "n01 verifying",
        "the coordinator stops; trying again",
        "the coordinator is back",
    ] {
        assert_eq!(told.text.matches(line).count(), 1, "{line}: {}", told.text);
    }
}

#[test]
fn a_pause_ends_the_following_whoever_paused() {
    let lost = "1 node lost (max_unreachable 0); n01 could not be reached";
    for why in [lost, "paused by admin: it looks odd"] {
        let mut paused = running("verifying");
        paused["state"] = json!("paused");
        paused["why"] = json!(why);
        let told = tell(&["rollout", "v1.2.0"], open(), vec![(vec![paused], None)]);
        assert!(told.text.starts_with("exit 1\n"), "{}", told.text);
        for words in [why, "`fleetctl resume 3` goes on"] {
            assert!(told.text.contains(words), "{words}: {}", told.text);
        }
    }
}

#[test]
fn json_is_the_last_view_and_nothing_else() {
    let told = tell(
        &["rollout", "v1.2.0", "--output", "json"],
        open(),
        vec![(vec![failed(&[])], None)],
    );
    let stdout = told
        .text
        .split("--- stdout\n")
        .nth(1)
        .unwrap()
        .split("--- stderr")
        .next()
        .unwrap();
    assert_eq!(serde_json::from_str::<Value>(stdout).unwrap(), failed(&[]));
    let why = told.text.lines().last().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(why).unwrap(),
        json!({ "error": "rollout #3 failed: 1 node failed (max_failures 0)",
            "hint": "`fleetctl explain 3` tells more", "exit": 1 })
    );
    assert!(told.text.starts_with("exit 1\n"), "{}", told.text);
}

#[test]
fn detached_is_done_once_it_has_started() {
    let told = tell(&["rollout", "v1.2.0", "--detach"], open(), vec![]);
    assert_eq!(
        told.text,
        format!(
            "exit 0\n--- stdout\nrollout #3 of shop v1.2.0 in dev: 2 nodes in 2 waves started\n\
             --- stderr\n{BRIEF}hint: `fleetctl status 3 --watch` follows it\n"
        )
    );
}

#[test]
fn a_release_that_runs_everywhere_moves_nothing() {
    let left_out = json!([
        { "node": "n01", "why": "runs v1.2.0 already" },
        { "node": "n02", "why": "runs v1.2.0 already" },
    ]);
    let mut nothing = open();
    nothing["nodes"] = json!(0);
    nothing["waves"] = json!([]);
    nothing["left_out"] = left_out.clone();
    let done = rollout(
        "succeeded",
        &[],
        &json!([]),
        &[("ended_at", json!(START)), ("left_out", left_out)],
    );
    let head = "app shop, environment dev, release v1.2.0 (818d445fffba)\nall 2 nodes run v1.2.0 already; nothing moves\n";
    let told = tell(&["rollout", "v1.2.0"], nothing.clone(), vec![(vec![done], None)]);
    assert!(
        told.text.starts_with(
            "exit 0\n--- stdout\nrollout #3 of shop v1.2.0 in dev succeeded: all 2 nodes run v1.2.0 already; \
             nothing moves\n"
        ) && told.text.contains(head),
        "{}",
        told.text
    );
    let told = tell(&["plan", "v1.2.0"], nothing, vec![]);
    assert!(
        told.text.contains(head)
            && told
                .text
                .contains("\n  leaves out n01 n02: runs v1.2.0 already\n"),
        "{}",
        told.text
    );
}

/// The hint must take it on from wherever it is held.
#[test]
fn waves_that_end_early_say_what_they_leave_and_how_it_goes_on() {
    let mut half = open();
    half["nodes"] = json!(4);
    half["held_back"] = json!(["n03", "n04"]);
    let mut held = succeeded();
    held["state"] = json!("held");
    held["ended_at"] = Value::Null;
    let told = tell(&["rollout", "v1.2.0"], half, vec![(vec![held], None)]);
    assert!(told.text.starts_with("exit 0\n"), "{}", told.text);
    for words in [
        "\n2 nodes of 4 in 2 waves\n",
        "\nhint: `fleetctl resume 3 --waves 100` takes it to every node\n",
        "held back: 2 nodes, until `fleetctl resume N --waves 100`",
    ] {
        assert!(told.text.contains(words), "{words}: {}", told.text);
    }
}

#[test]
fn a_gate_that_is_shut_refuses() {
    let gates = json!([{ "gate": "one-at-a-time", "verdict": { "shut": { "why": "rollout #2 of shop in dev is running" } } }]);
    let told = tell(&["rollout", "v1.2.0"], plan(&gates, false), vec![]);
    assert!(
        told.text.ends_with(
            "error: the rollout would not start: one-at-a-time shut: rollout #2 of shop in dev is running\n\
             hint: `fleetctl plan v1.2.0` shows every gate\n"
        ) && told.text.starts_with("exit 1\n"),
        "{}",
        told.text
    );
    let told = tell(&["plan", "v1.2.0"], plan(&gates, false), vec![]);
    assert!(
        told.text.starts_with("exit 1\n") && told.text.contains("would not start now"),
        "{}",
        told.text
    );
}
