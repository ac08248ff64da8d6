//! Components that run as somebody else, on a real agent.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::os::unix::fs::PermissionsExt;

use fleet_tests::fleet::{Ended, Fleet};
use fleet_tests::hosts::pieces::{Piece, push};

const NODE: &str = "n01";

/// None where nobody can become anybody.
fn fleet() -> Option<Fleet> {
    if !nix::unistd::geteuid().is_root() {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "this test has to be root"
        );
        return None;
    }
    let fleet = Fleet::start(1).unwrap();
    // Where it lies is for the test's own user; a node's state is not.
    std::fs::set_permissions(fleet.root(), std::fs::Permissions::from_mode(0o755)).unwrap();
    Some(fleet)
}

fn rollout(fleet: &Fleet, version: &str, run: &str) -> Ended {
    let run = format!("kind = \"supervise\"\n{run}\n");
    let piece = Piece::new("web", run).with("wait", "#!/bin/sh\ntest \"$1\" = no || exec sleep 1000\n");
    push(fleet, version, "5s", &[piece]).unwrap();
    fleet.ctl(&["rollout", version]).unwrap()
}

/// Its files are theirs to read, wherever the node keeps them; and what asks how it is does
/// so as they would.
#[test]
fn a_component_and_its_checks_are_the_user_whom_the_release_names() {
    let Some(fleet) = fleet() else { return };
    let check = "[[component.check]]\nname = \"user\"\nkind = \"exec\"\n\
        command = [\"sh\", \"-c\", \"test $$(id -un) = nobody && test $$HOME = /nonexistent && test -x ./wait\"]";
    let ended = rollout(
        &fleet,
        "v1.0.0",
        &format!(
            "command = [\"./wait\"]\nuser = \"nobody\"\n{check}\n[component.hooks]\n\
             post_start = {{ command = [\"sh\", \"-c\", \"test $$(id -un) = nobody && test $$USER = nobody && ./wait no\"] }}\n"
        ),
    );
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let shown = fleet.agent(NODE, &["status", "--output", "json"]).unwrap();
    let status: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    let pid = status["apps"][0]["components"][0]["pid"].as_i64().unwrap();
    let about = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let user = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let line = format!("Uid:\t{0}\t{0}\t{0}\t{0}", user.uid);
    assert!(about.contains(&line), "{about}");

    // A check that they may not make does not pass.
    let check = "[[component.check]]\nname = \"root\"\nkind = \"exec\"\ncommand = [\"ls\", \"/root\"]";
    let ended = rollout(
        &fleet,
        "v1.1.0",
        &format!("command = [\"./wait\"]\nuser = \"nobody\"\n{check}"),
    );
    assert_eq!(ended.code, 1, "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("Permission denied"), "{}", ended.stderr);
}

#[test]
fn a_user_whom_the_node_does_not_have_stops_nothing() {
    let Some(fleet) = fleet() else { return };
    let command = "command = [\"./wait\"]";
    assert_eq!(rollout(&fleet, "v1.0.0", command).code, 0);
    let pid = || {
        let shown = fleet.agent(NODE, &["status", "--output", "json"]).unwrap();
        let status: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
        status["apps"][0]["components"][0]["pid"].as_i64()
    };
    let before = pid();
    assert!(before.is_some());
    let ended = rollout(&fleet, "v1.1.0", &format!("{command}\nuser = \"no-such-user\""));
    assert_eq!(ended.code, 1, "{}{}", ended.stdout, ended.stderr);
    assert!(
        ended
            .stderr
            .contains("there is no user no-such-user on this node"),
        "{}",
        ended.stderr
    );
    assert_eq!(pid(), before);
}
