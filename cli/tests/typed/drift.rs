//! `fleetctl drift`: a line a finding, and an exit code that says what is known.

use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use serde_json::{Value, json};

use crate::coordinator::{Coordinator, Script};
use crate::support::{fleet_identities, fleetctl, transcript};

fn node(name: &str, findings: &[Value], unknown: &[&str]) -> Value {
    json!({ "node": name, "unknown": unknown, "findings": findings, "more": 0 })
}

fn drift(nodes: &[Value], args: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    let identity = home.path().join("identity");
    let (_, credentials) = fleet_identities(&identity, Timestamp::now(), Span::from_secs(3600));
    let script = Script {
        drift: nodes.to_vec(),
        ..Script::default()
    };
    let coordinator = Coordinator::start(&credentials, script);
    let given = [
        "--coordinator",
        &coordinator.address,
        "--identity",
        "identity",
        "drift",
    ];
    transcript(fleetctl(home.path(), &[&given, args].concat()))
}

#[test]
fn what_has_drifted_is_exit_1_and_what_is_not_known_is_never_no_drift() {
    let finding = json!({ "app": "shop", "component": "web", "what": "file-changed", "subject": "/srv/run",
        "expected": "aa, 1 bytes", "found": "bb, 2 bytes", "mend": "fleetctl rollout v1" });
    let clean = node("n01", &[], &[]);
    let drifted = node("n02", &[finding], &[]);
    let away = node("n03", &[], &["n03 is not connected; it was last seen at noon"]);
    let line = "n02 shop/web file-changed /srv/run: expected aa, 1 bytes; found bb, 2 bytes; hint: fleetctl rollout v1\n";
    assert_eq!(
        drift(std::slice::from_ref(&clean), &[]),
        "exit 0\n--- stdout\n--- stderr\n1 node asked: all as Fleet left it\n"
    );
    assert_eq!(
        drift(&[clean.clone(), drifted.clone()], &["n01", "n02"]),
        format!("exit 1\n--- stdout\n{line}--- stderr\n2 nodes asked: 1 drifted\n")
    );
    assert_eq!(
        drift(&[clean.clone(), drifted, away.clone()], &[]),
        format!(
            "exit 3\n--- stdout\n{line}n03 not known: n03 is not connected; it was last seen at noon\n\
             --- stderr\n3 nodes asked: 1 drifted, 1 not known\n"
        )
    );
    let json = drift(&[clean.clone(), away.clone()], &["--output", "json"]);
    assert!(
        json.contains(&format!("--- stdout\n{clean}\n{away}\n--- stderr")),
        "{json}"
    );
}
