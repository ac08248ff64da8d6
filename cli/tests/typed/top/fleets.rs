//! Fleets to draw: statuses written by hand, each of ten nodes in three zones but the great one.

use fleet_proto::time::Timestamp;
use fleet_proto::view::{EventView, StatusView};
use fleetctl::render::top::colours::Colours;
use fleetctl::render::top::model::{Model, News, Setting};
use jiff::tz::{Offset, TimeZone};
use serde_json::{Value, json};

use crate::views::{START, release, rollout, unhealthy};

/// Of this machine and of the coordinator, a while after [`START`].
pub const NOW: Timestamp = Timestamp(START + 65_000);

pub fn node(name: &str, zone: &str, version: &str) -> Value {
    json!({
        "node": name, "labels": { "zone": zone, "role": "web" }, "platform": "linux/amd64",
        "environments": ["dev"], "connection": "connected", "enrolled_at": START, "facts": null,
        "agent_version": "0.1.0",
        "apps": [{ "app": "shop", "current": release(version), "last_good": release("v1.1.0"),
            "health": "healthy", "phase": null, "rollout": null }],
    })
}

pub fn nodes(count: usize, digits: usize) -> Vec<Value> {
    let name = |i: usize| format!("n{i:0digits$}");
    (1..=count)
        .map(|i| node(&name(i), ["a", "b", "c"][i % 3], "v1.1.0"))
        .collect()
}

pub fn status(nodes: &[Value], rollouts: &[Value], healthy: usize, versions: &Value) -> Value {
    let count = nodes.len();
    json!({
        "coordinator": { "version": "0.1.0", "term": 3, "position": 117, "now": NOW.0 },
        "environments": [{ "environment": "dev", "select": "", "apps": [{
            "app": "shop", "desired": release("v1.1.0"), "nodes": count, "healthy": healthy,
            "unavailable": count - healthy, "behind": 0, "versions": versions,
        }] }],
        "rollouts": rollouts, "nodes": nodes,
    })
}

fn wave(wave: usize, reach: &str, state: &str, nodes: &[Value], times: [Value; 3]) -> Value {
    let [started, bake_until, passed] = times;
    let names: Vec<&Value> = nodes.iter().map(|node| &node["node"]).collect();
    json!({ "wave": wave, "reach": reach, "state": state, "nodes": names,
        "started_at": started, "bake_until": bake_until, "passed_at": passed })
}

fn steps(nodes: &[Value], wave: usize, phases: &[&str]) -> Vec<Value> {
    let phase = |i: usize| phases[i % phases.len()];
    nodes
        .iter()
        .enumerate()
        .map(|(i, node)| {
            json!({ "node": node["node"], "wave": wave, "phase": phase(i), "unreachable": false,
                "since": START + 60_000, "from": release("v1.1.0"), "failure": null })
        })
        .collect()
}

/// Rollout #3 in three waves of 10%, 50% and 100%, in its second.
fn second_wave(nodes: &[Value], state: &str, phases: &[&str], waiting: &Value) -> Value {
    let (first, half) = (nodes.len() / 10, nodes.len() / 2);
    let (a, b, c) = (&nodes[..first], &nodes[first..half], &nodes[half..]);
    let bake = if state == "baking" {
        json!(NOW.0 + 12_000)
    } else {
        Value::Null
    };
    let waves = json!([
        wave(
            1,
            "10%",
            "passed",
            a,
            [json!(START), Value::Null, json!(START + 30_000)]
        ),
        wave(2, "50%", state, b, [json!(START + 30_000), bake, Value::Null]),
        wave(3, "100%", "pending", c, [Value::Null, Value::Null, Value::Null]),
    ]);
    let steps = [
        steps(a, 1, &["done"]),
        steps(b, 2, phases),
        steps(c, 3, &["pending"]),
    ]
    .concat();
    rollout(
        "running",
        &[],
        &json!(steps),
        &[("waves", waves), ("waiting", waiting.clone())],
    )
}

pub fn quiet() -> Value {
    let nodes = nodes(10, 2);
    let mut done = second_wave(&nodes, "passed", &["done"], &json!([]));
    done["state"] = json!("succeeded");
    done["number"] = json!(2);
    done["release"] = release("v1.1.0");
    done["ended_at"] = json!(START + 40_000);
    status(&nodes, &[done], 10, &json!({ "v1.1.0": 10 }))
}

pub fn baking() -> Value {
    let mut nodes = nodes(10, 2);
    nodes[9]["cordon"] = json!("cordoned by admin: a new disk");
    let waiting = json!([{ "what": "wave 2 bakes for 30s", "since": NOW.0 - 18_000, "until": NOW.0 + 12_000,
        "hint": null }]);
    let view = second_wave(&nodes, "baking", &["baking"], &waiting);
    status(&nodes, &[view], 10, &json!({ "v1.1.0": 5, "v1.2.0": 5 }))
}

pub fn moving() -> Value {
    let mut nodes = nodes(10, 2);
    nodes[3]["connection"] = json!({ "unreachable": { "since": NOW.0 - 20_000 } });
    let waiting = json!([
        { "what": "1 node waits: 2 of 10 nodes are unavailable (n02, n03), max_unavailable is 2",
            "since": NOW.0 - 5_000, "until": null, "hint": "fleetctl status 3" },
    ]);
    let view = second_wave(
        &nodes,
        "running",
        &["verifying", "activating", "pending"],
        &waiting,
    );
    status(&nodes, &[view], 8, &json!({ "v1.1.0": 8, "v1.2.0": 2 }))
}

/// #3 failed on its first node, and #4 has taken it back.
pub fn stopped() -> Value {
    let nodes = nodes(10, 2);
    let mut failed = second_wave(&nodes, "pending", &["pending"], &json!([]));
    failed["state"] = json!("failed");
    failed["why"] = json!("1 node failed (max_failures 0); n01: not healthy within 8s: it answered 503");
    failed["ended_at"] = json!(START + 60_000);
    failed["rollback"] = json!(4);
    failed["waves"][0]["state"] = json!("failed");
    failed["steps"][0]["phase"] = json!("rolled-back");
    failed["steps"][0]["failure"] = unhealthy();
    let step = json!([{ "node": "n01", "wave": 1, "phase": "rolling-back", "unreachable": false,
        "since": START + 61_000, "from": release("v1.2.0"), "failure": unhealthy() }]);
    let waves = json!([wave(
        1,
        "100%",
        "running",
        &nodes[..1],
        [json!(START + 60_000), Value::Null, Value::Null]
    )]);
    let back = rollout(
        "running",
        &[],
        &step,
        &[
            ("number", json!(4)),
            ("release", Value::Null),
            ("kind", json!({ "rollback": { "parent": 3 } })),
            ("by", json!("fleet")),
            ("started_at", json!(START + 60_000)),
            ("waves", waves),
            (
                "waiting",
                json!([{ "what": "wave 1: n01 rolling-back", "since": START + 61_000, "until": null,
                "hint": null }]),
            ),
        ],
    );
    status(&nodes, &[back, failed], 9, &json!({ "v1.1.0": 9, "v1.2.0": 1 }))
}

pub fn halted() -> Value {
    let mut view = moving();
    view["halt"] = json!({ "by": "admin", "reason": "the database is on fire", "since": NOW.0 - 90_000 });
    view
}

pub fn great() -> Value {
    let mut nodes = nodes(10_000, 5);
    for at in [1234, 5678] {
        nodes[at]["apps"][0]["health"] = json!({ "unhealthy": { "why": "it answered 503" } });
    }
    nodes[9_000]["connection"] = json!({ "unreachable": { "since": NOW.0 - 20_000 } });
    let waiting = json!([{ "what": "wave 2: 1000 nodes verifying", "since": NOW.0 - 5_000, "until": null,
        "hint": null }]);
    let view = second_wave(
        &nodes,
        "running",
        &["done", "done", "done", "verifying"],
        &waiting,
    );
    status(
        &nodes,
        &[view],
        9_997,
        &json!({ "v1.1.0": 6_000, "v1.2.0": 4_000 }),
    )
}

pub fn events() -> Vec<EventView> {
    let said = [
        "admin pushed shop v1.2.0",
        "rollout #3 of shop v1.2.0 in dev started",
        "wave 1 of #3 started",
        "n01 was told to deploy v1.2.0",
        "wave 1 of #3 passed",
        "wave 2 of #3 started",
    ];
    let event = |(i, message): (usize, &&str)| {
        let at = START + 5_000 * i as u64;
        let event = json!({ "position": 100 + i, "at": at, "kind": "any", "rollout": if i > 0 { json!(3) } else { Value::Null },
            "node": if i == 3 { json!("n01") } else { Value::Null }, "message": message });
        serde_json::from_value(event).unwrap()
    };
    said.iter().enumerate().map(event).collect()
}

pub fn model(status: &Value, size: (u16, u16)) -> Model {
    let setting = Setting {
        address: "https://fleet.example:7443".to_owned(),
        app: None,
        environment: None,
        only: None,
        colours: Colours::None,
        zone: TimeZone::fixed(Offset::constant(1)),
    };
    let mut model = Model::new(setting, size);
    let status: StatusView = serde_json::from_value(status.clone()).unwrap();
    model.take(News::Status(Box::new(status)), NOW);
    model.take(News::Events(events()), NOW);
    model
}
