//! Views written by hand.

use fleet_proto::digest::Digest;
use serde_json::{Value, json};

pub const START: u64 = 1_770_897_600_000;

pub fn release(version: &str) -> Value {
    json!({ "version": version, "digest": Digest::of(version.as_bytes()) })
}

/// Rollout #3 of shop v1.2.0: one node a wave, each wave of three seconds. `more` replaces or adds fields.
pub fn rollout(state: &str, waves: &[&str], steps: &Value, more: &[(&str, Value)]) -> Value {
    let waves: Vec<Value> = waves
        .iter()
        .enumerate()
        .map(|(i, state)| {
            let begun = START + 3000 * i as u64;
            let at = |there: bool, ms: u64| if there { json!(begun + ms) } else { Value::Null };
            json!({ "wave": i + 1, "reach": (["50%", "100%"][i]), "state": state, "nodes": [format!("n0{}", i + 1)],
                "started_at": at(*state != "pending", 1000), "bake_until": null,
                "passed_at": at(*state == "passed", 3000) })
        })
        .collect();
    let mut view = json!({
        "number": 3, "app": "shop", "environment": "dev", "release": release("v1.2.0"), "kind": "forward",
        "state": state, "why": null, "needs_person": false, "by": "operator/admin", "reason": null,
        "started_at": START, "ended_at": null, "rollback": null, "waves": waves, "steps": steps,
        "waiting": [], "left_out": [], "strategy": {},
    });
    for (key, value) in more {
        view[*key] = value.clone();
    }
    view
}

pub fn step(node: &str, wave: usize, phase: &str, failure: &Value) -> Value {
    json!({ "node": node, "wave": wave, "phase": phase, "unreachable": false,
        "since": START + 2000 + 3000 * (wave as u64 - 1),
        "from": release("v1.1.0"), "failure": failure })
}

pub fn unhealthy() -> Value {
    json!({ "class": "release", "check": "web/health", "message": "not healthy within 8s: it answered 503",
        "figure": "status 503", "limit": "status 200",
        "log_tail": ["sample v1.2.0 starts", "health check failed: the database does not answer"] })
}

pub fn plan(gates: &Value, would_start: bool) -> Value {
    json!({
        "app": "shop", "environment": "dev", "release": release("v1.2.0"), "nodes": 2,
        "waves": [
            { "wave": 1, "reach": "50%", "nodes": ["n01"], "domains": { "a": 1 }, "bake": "0s" },
            { "wave": 2, "reach": "100%", "nodes": ["n02"], "domains": { "b": 1 }, "bake": "5m" },
        ],
        "dropped": ["60%"], "held_back": [], "left_out": [{ "node": "n04", "why": "it is revoked" }],
        "strategy": {}, "gates": gates, "would_start": would_start,
    })
}
