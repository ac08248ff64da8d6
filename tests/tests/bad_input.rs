//! Input that makes no sense, and what people are told.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_tests::fleet::{Ended, Fleet};
use fleet_tests::sample::{Behaviour, lay_out};

#[track_caller]
fn assert_ended(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "no `{word}` in:\n{}", ended.stderr);
    }
}

#[test]
fn operators_are_told_what_is_wrong_and_what_would_work() {
    let mut fleet = Fleet::start(1).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();

    let unknown = fleet.ctl(&["rollout", "v1.0.1"]).unwrap();
    assert_ended(&unknown, 1, &["v1.0.1", "did you mean `v1.0.0`"]);
    let unknown = fleet.ctl(&["plan", "v7"]).unwrap();
    assert_ended(&unknown, 1, &["there is no release of shop called `v7`"]);
    let number = fleet.ctl(&["pause", "77"]).unwrap();
    assert_ended(&number, 1, &["there is no rollout #77"]);

    for waves in ["5n,3n", "0", "101", "10,10", "50,10", ""] {
        let refused = fleet.ctl(&["rollout", "v1.0.0", "--waves", waves]).unwrap();
        assert_ended(&refused, 2, &["wave"]);
    }

    // The same version with other bytes; the same bytes again are no news.
    let same = fleet
        .ctl(&["release", "push", "v1.0.0", "--file", "app/v1.0.0/fleet.toml"])
        .unwrap();
    let file = lay_out(&fleet.root().join("other"), Behaviour::Sick).unwrap();
    let other = fleet
        .ctl(&["release", "push", "v1.0.0", "--file", file.to_str().unwrap()])
        .unwrap();
    assert_ended(
        &other,
        1,
        &["v1.0.0 was pushed before with other contents", "new version"],
    );
    assert_eq!(same.code, 0, "{}", same.stderr);

    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("min_healthy", "min_healty")).unwrap();
    let malformed = fleet
        .ctl(&["release", "push", "v2.0.0", "--file", file.to_str().unwrap()])
        .unwrap();
    assert!(matches!(malformed.code, 1 | 2), "{}", malformed.code);
    let line = text
        .lines()
        .position(|line| line.starts_with("min_healthy"))
        .unwrap()
        + 1;
    assert!(
        malformed.stderr.contains(&format!("fleet.toml:{line}:"))
            && malformed.stderr.contains("did you mean `min_healthy`"),
        "{}",
        malformed.stderr
    );

    fleet.kill_coordinator().unwrap();
    let down = fleet.ctl(&["status"]).unwrap();
    let address = fleet.address().to_owned();
    assert_ended(&down, 3, &[&address, "hint:"]);
}

#[test]
fn join_tokens_end() {
    let mut fleet = Fleet::with_coordinator().unwrap();
    let once = fleet.token(&["--uses", "1"]).unwrap();
    let brief = fleet.token(&["--uses", "5", "--valid-for", "1ms"]).unwrap();
    for name in ["n01", "n02"] {
        let home = fleet.root().join(name);
        fleet.prepare_node(name, &home).unwrap();
    }
    let enrolled = fleet.enrol("n01", &once).unwrap();
    assert_eq!(enrolled.code, 0, "{}", enrolled.stderr);

    let used_up = fleet.enrol("n02", &once).unwrap();
    assert_ne!(used_up.code, 0);
    assert!(used_up.stderr.contains("is used up"), "{}", used_up.stderr);
    let expired = fleet.enrol("n02", &brief).unwrap();
    assert_ne!(expired.code, 0);
    assert!(expired.stderr.contains("expired at"), "{}", expired.stderr);
    let nonsense = fleet.enrol("n02", "hello").unwrap();
    assert_ne!(nonsense.code, 0);
    assert!(
        nonsense.stderr.contains("not a join token"),
        "{}",
        nonsense.stderr
    );
    // Neither attempt left half an identity behind.
    let late = fleet.token(&["--uses", "1"]).unwrap();
    let enrolled = fleet.enrol("n02", &late).unwrap();
    assert_eq!(enrolled.code, 0, "{}", enrolled.stderr);
}

#[test]
fn a_second_coordinator_on_the_same_state_is_refused() {
    let fleet = Fleet::with_coordinator().unwrap();
    let second = std::process::Command::new(fleet_tests::process::program("fleet-coordinator").unwrap())
        .args(["run", "--config"])
        .arg(fleet.coordinator_directory().join("coordinator.toml"))
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("pid") || said.contains("process"), "{said}");
}
