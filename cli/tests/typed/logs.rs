//! `fleetctl logs`: what it prints, and how it ends.

use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use fleet_proto::wire::{LogLine, LogLines};
use tonic::{Code, Status};

use crate::coordinator::{Coordinator, Script};
use crate::support::{NOBODY, fleet_identities, fleetctl, transcript};

fn line(at_ms: u64, text: &str, skipped: u64) -> LogLine {
    LogLine {
        component: "web".into(),
        at_ms,
        text: text.into(),
        skipped,
    }
}

fn logs(end: Option<Status>, args: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    let identity = home.path().join("identity");
    let (_, credentials) = fleet_identities(&identity, Timestamp::now(), Span::from_secs(3600));
    let lines = vec![line(1_770_897_600_000, "one", 0), line(0, "", 1234)];
    let script = Script {
        logs: (vec![LogLines { lines }], end),
        ..Script::default()
    };
    let coordinator = Coordinator::start(&credentials, script);
    let given = [
        "--coordinator",
        &coordinator.address,
        "--identity",
        "identity",
        "logs",
        "n01",
    ];
    transcript(fleetctl(home.path(), &[&given, args].concat()))
}

#[test]
fn lines_are_printed_as_they_come_and_it_ends_with_them() {
    assert_eq!(
        logs(None, &[]),
        "exit 0\n--- stdout\nweb | 2026-02-12T12:00:00.000Z one\nweb | … 1,234 lines skipped\n--- stderr\n"
    );
    assert_eq!(
        logs(None, &["web", "--output", "json"]),
        "exit 0\n--- stdout\n\
         {\"node\":\"n01\",\"component\":\"web\",\"at\":1770897600000,\"line\":\"one\",\"skipped\":0}\n\
         {\"node\":\"n01\",\"component\":\"web\",\"at\":null,\"line\":null,\"skipped\":1234}\n--- stderr\n"
    );
}

#[test]
fn a_node_that_goes_away_is_exit_3() {
    let gone = Status::new(
        Code::Aborted,
        "n01 went away before its answer was complete\nhint: fleetctl node show n01",
    );
    assert_eq!(
        logs(Some(gone), &["web", "--follow"]),
        "exit 3\n--- stdout\n2026-02-12T12:00:00.000Z one\n… 1,234 lines skipped\n--- stderr\n\
         error: n01 went away before its answer was complete\nhint: fleetctl node show n01\n"
    );
    let absent = Status::not_found("shop v1, which runs there, has no component api\nhint: it has: web");
    assert!(logs(Some(absent), &["api"]).starts_with("exit 1\n"));
}

#[test]
fn what_cannot_be_meant_is_usage() {
    let home = tempfile::tempdir().unwrap();
    for (args, says) in [
        (&["logs"][..], "NODE"),
        (&["logs", "../x"], "../x"),
        (&["logs", "n01", "a/b"], "a/b"),
        (&["logs", "n01", "--lines", "10001"], "10001 is not in 0..=10000"),
        (&["logs", "n01", "--since", "yesterday"], "yesterday"),
        (&["logs", "n01", "web", "api"], "api"),
    ] {
        let args = [&["--coordinator", NOBODY], args].concat();
        let text = transcript(fleetctl(home.path(), &args));
        assert!(
            text.starts_with("exit 2\n") && text.contains(says),
            "{args:?}: {text}"
        );
    }
}
