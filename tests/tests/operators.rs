//! People with roles: let in, refused what is not theirs, and cut off.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_tests::fleet::{Ended, Fleet, PATIENCE};
use fleet_tests::sample::Behaviour;
use fleet_tests::wait::wait_for;

/// As somebody else than the admin whom `init` made.
fn ctl_as(fleet: &Fleet, who: &str, arguments: &[&str]) -> Ended {
    fleet.ctl_as(&fleet.root().join(who), arguments).unwrap()
}

fn succeeds(fleet: &Fleet, arguments: &[&str]) -> String {
    let ended = fleet.ctl(arguments).unwrap();
    assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.stderr);
    ended.stdout
}

fn add(fleet: &Fleet, name: &str, role: &[&str]) {
    let out = fleet.root().join(name);
    let out = out.to_str().unwrap();
    let arguments = ["operator", "add", name, "--out", out];
    succeeds(fleet, &[&arguments[..], role].concat());
}

#[test]
fn each_does_what_their_role_allows() {
    let fleet = Fleet::start(1).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    add(&fleet, "vera", &["--role", "viewer"]);
    add(&fleet, "dora", &["--role", "deployer", "--env", "dev"]);

    let seen = ctl_as(&fleet, "vera", &["status"]);
    assert_eq!(seen.code, 0, "{}", seen.stderr);
    let refused = ctl_as(&fleet, "vera", &["rollout", "v1.0.0"]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    let expected = "to start a rollout takes the role deployer in dev; vera is viewer\n\
                    hint: an admin gives it with `fleetctl operator add vera --role deployer --env dev`";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    let done = ctl_as(&fleet, "dora", &["rollout", "v1.0.0"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    for verb in [
        vec!["operator", "add", "dora", "--role", "admin"],
        vec!["token", "create"],
        vec!["node", "revoke", "n01", "--reason", "x"],
        vec!["rollback", "--emergency", "--reason", "x"],
    ] {
        let refused = ctl_as(&fleet, "dora", &verb);
        assert_eq!(refused.code, 3, "{verb:?}: {}", refused.stderr);
    }
    let logs = ctl_as(&fleet, "vera", &["logs", "n01"]);
    assert_eq!(logs.code, 3, "{}", logs.stderr);

    // Who did what is in the record.
    let events = succeeds(&fleet, &["events"]);
    for expected in ["admin made vera viewer", "dora started"] {
        assert!(events.contains(expected), "{events}");
    }
    let listed = succeeds(&fleet, &["operator", "list"]);
    assert!(listed.contains("deployer in dev"), "{listed}");
    assert!(listed.contains("coordinator.toml"), "{listed}");
}

#[test]
fn whoever_is_removed_is_cut_off_and_stays_out() {
    let mut fleet = Fleet::start(1).unwrap();
    add(&fleet, "dora", &["--role", "deployer"]);
    let dora = fleet.root().join("dora");
    let mut watching = fleet.ctl_beside_as(&dora, &["events", "--follow"]).unwrap();
    let is_connected = || {
        let events = ctl_as(&fleet, "dora", &["status"]);
        (events.code == 0).then_some(())
    };
    wait_for("dora to be let in", PATIENCE, is_connected).unwrap();
    succeeds(&fleet, &["operator", "remove", "dora"]);
    let ended = wait_for("her stream to end", PATIENCE, || watching.try_wait().unwrap());
    assert!(!ended.unwrap().success());
    let refused = ctl_as(&fleet, "dora", &["status"]);
    assert_eq!(refused.code, 3);
    assert!(
        refused.stderr.contains("operator dora has no role here"),
        "{}",
        refused.stderr
    );

    // Under the name again, with credentials of its own: the old ones stay useless.
    std::fs::rename(fleet.root().join("dora"), fleet.root().join("old")).unwrap();
    // A certificate's beginning is told in seconds.
    wait_for("the next second", PATIENCE, || add_again(&fleet).then_some(())).unwrap();
    assert_eq!(ctl_as(&fleet, "dora", &["status"]).code, 0);
    let old = ctl_as(&fleet, "old", &["status"]);
    assert_eq!(old.code, 3, "{}", old.stdout);
    assert!(
        old.stderr
            .contains("was removed since this certificate was issued"),
        "{}",
        old.stderr
    );

    // All of it is in the journal.
    fleet.kill_coordinator().unwrap();
    fleet.start_coordinator().unwrap();
    assert_eq!(ctl_as(&fleet, "old", &["status"]).code, 3);
    assert_eq!(ctl_as(&fleet, "dora", &["status"]).code, 0);
}

/// Once its certificate begins later than the first one's.
fn add_again(fleet: &Fleet) -> bool {
    let begins = |who: &str| {
        let credentials = fleet_proto::tls::Credentials::read(&fleet.root().join(who)).unwrap();
        credentials.peer().unwrap().not_before
    };
    let fresh = fleet.root().join("dora");
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh).unwrap();
        succeeds(fleet, &["operator", "remove", "dora"]);
    }
    add(fleet, "dora", &["--role", "viewer"]);
    begins("dora") > begins("old")
}

#[test]
fn what_cannot_be_is_said() {
    let fleet = Fleet::start(0).unwrap();
    for (arguments, code, expected) in [
        (vec!["operator", "add", "dora"], 2, "say what dora is to have"),
        (
            vec!["operator", "add", "dora", "--role", "boss"],
            2,
            "`boss` is not a role; write viewer, deployer or admin",
        ),
        (
            vec!["operator", "add", "dora", "--role", "viewer", "--env", "dex"],
            1,
            "there is dev",
        ),
        (
            vec!["operator", "add", "dora", "--token"],
            2,
            "dora has no role here yet",
        ),
        (
            vec!["operator", "remove", "admin"],
            1,
            "take admin out of `admins` there and restart the coordinator",
        ),
        (
            vec!["operator", "remove", "nobody"],
            1,
            "there is no operator nobody",
        ),
    ] {
        let ended = fleet.ctl(&arguments).unwrap();
        assert_eq!(ended.code, code, "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
    }
    let token = succeeds(
        &fleet,
        &["operator", "add", "wall", "--role", "viewer", "--token"],
    );
    assert!(token.trim().starts_with("fleet-access."), "{token}");
    let link = succeeds(&fleet, &["dashboard"]);
    assert!(link.contains("/session#code=fleet-access."), "{link}");
}
