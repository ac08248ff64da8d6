//! The whole way of a release, with real processes: out, and back when it is bad.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test says where")]

use std::time::Duration;

use fleet_proto::session::{FailureClass, Health, Phase};
use fleet_proto::view::{RolloutStateView, RolloutView};
use fleet_tests::fleet::{APP, Fleet, PATIENCE};
use fleet_tests::sample::Behaviour;
use fleet_tests::wait::wait_for;
use serde_json::Value;

fn healthy_on(fleet: &Fleet, version: &str) -> usize {
    fleet
        .status()
        .unwrap()
        .nodes
        .iter()
        .flat_map(|node| &node.apps)
        .filter(|app| app.app.as_str() == APP && app.health == Health::Healthy)
        .filter(|app| {
            app.current
                .as_ref()
                .is_some_and(|current| current.version.as_str() == version)
        })
        .count()
}

fn touched(rollout: &RolloutView) -> usize {
    rollout
        .steps
        .iter()
        .filter(|step| step.phase != Phase::Pending)
        .count()
}

#[test]
fn a_good_release_goes_out_in_waves_and_a_bad_one_comes_back() {
    let fleet = Fleet::start(11).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    fleet.push("v1.2.0", Behaviour::Sick).unwrap();

    let planned = fleet
        .ctl(&["plan", "v1.0.0", "--waves", "10,50,100", "--output", "json"])
        .unwrap();
    assert_eq!(planned.code, 0, "{}", planned.stderr);
    let plan: Value = serde_json::from_str(&planned.stdout).unwrap();
    let sizes: Vec<usize> = plan["waves"]
        .as_array()
        .unwrap()
        .iter()
        .map(|wave| wave["nodes"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [2, 4, 5]);
    for wave in plan["waves"].as_array().unwrap() {
        let domains = wave["domains"].as_object().unwrap();
        let most = domains.values().map(|n| n.as_u64().unwrap()).max().unwrap();
        assert!(most <= 2, "a wave is not spread: {wave}");
    }

    let out = fleet.ctl(&["rollout", "v1.0.0", "--waves", "10,50,100"]).unwrap();
    assert_eq!(out.code, 0, "{}", out.stderr);
    fleet.wait_until_all_serve("v1.0.0").unwrap();
    assert_eq!(healthy_on(&fleet, "v1.0.0"), 11);

    let bad = fleet.ctl(&["rollout", "v1.2.0", "--waves", "10,50,100"]).unwrap();
    assert_eq!(bad.code, 1, "{}", bad.stderr);
    fleet.wait_until_all_serve("v1.0.0").unwrap();
    let rollout = fleet.rollout(2).unwrap();
    assert_eq!(rollout.state, RolloutStateView::Failed);
    assert!(touched(&rollout) <= 2, "it got past the first wave");
    wait_for("status to agree", PATIENCE, || {
        (healthy_on(&fleet, "v1.0.0") == 11).then_some(())
    })
    .unwrap();
}

/// Each kind of bad release, on a fleet that serves v1.0.0.
#[test]
fn bad_releases_stop_in_the_first_wave_and_say_why() {
    let fleet = Fleet::start(4).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    let first = fleet.ctl(&["rollout", "v1.0.0"]).unwrap();
    assert_eq!(first.code, 0, "{}", first.stderr);

    for (version, behaviour, words) in [
        (
            "v2.0.0",
            Behaviour::Sick,
            &["web/health", "503", "200", "is sick: its database"][..],
        ),
        ("v2.1.0", Behaviour::Exits, &["restart", "gives up"]),
        ("v2.2.0", Behaviour::Hangs, &["web/health", "5s", "starts on"]),
    ] {
        fleet.push(version, behaviour).unwrap();
        let bad = fleet.ctl(&["rollout", version, "--waves", "25,100"]).unwrap();
        let said = format!("{}{}", bad.stdout, bad.stderr);
        assert_eq!(bad.code, 1, "{version}: {said}");
        for word in words {
            assert!(said.contains(word), "{version}: no `{word}` in:\n{said}");
        }
        let names = fleet.nodes().keys().any(|name| said.contains(name.as_str()));
        assert!(names, "{version}: no node is named in:\n{said}");
        fleet.wait_until_all_serve("v1.0.0").unwrap();
        let rollouts = fleet.status().unwrap().rollouts;
        let forward = rollouts
            .iter()
            .find(|rollout| {
                rollout
                    .release
                    .as_ref()
                    .is_some_and(|r| r.version.as_str() == version)
            })
            .unwrap();
        assert_eq!(touched(forward), 1, "{version} got past the first wave");
        let class = forward
            .steps
            .iter()
            .find_map(|step| step.failure.as_ref())
            .unwrap()
            .class;
        assert_eq!(class, FailureClass::Release, "{version}");
    }
}

#[test]
fn a_corrupt_artifact_a_foreign_signature_and_a_full_disk_leave_the_node_alone() {
    let mut fleet = Fleet::start(2).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    assert_eq!(fleet.ctl(&["rollout", "v1.0.0"]).unwrap().code, 0);

    // Signed by a key that no node has pinned.
    let foreign = fleet_proto::signing::SecretKey::generate().unwrap();
    let key = fleet.root().join("foreign.key");
    std::fs::write(&key, foreign.to_file_text()).unwrap();
    let file = lay_out_without_retries(&fleet, "v3");
    let pushed = fleet
        .ctl(&[
            "release",
            "push",
            "v3.0.0",
            "--file",
            file.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ])
        .unwrap();
    assert_eq!(pushed.code, 0, "{}", pushed.stderr);
    let refused = fleet.ctl(&["rollout", "v3.0.0"]).unwrap();
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("signed by 0 of the 1"),
        "{}",
        refused.stderr
    );
    fleet.wait_until_all_serve("v1.0.0").unwrap();

    // A byte flips in the coordinator's store.
    let file = lay_out_without_retries(&fleet, "v4");
    let web = fleet.root().join("app/v4/web");
    std::fs::write(web.join("data.bin"), vec![7_u8; 100_000]).unwrap();
    let pushed = fleet
        .ctl(&["release", "push", "v4.0.0", "--file", file.to_str().unwrap()])
        .unwrap();
    assert_eq!(pushed.code, 0, "{}", pushed.stderr);
    let digest = fleet_proto::digest::Digest::of(&vec![7_u8; 100_000]).to_string();
    let blob = find(&fleet.coordinator_directory().join("state"), &digest).expect_blob();
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[50_000] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let corrupt = fleet.ctl(&["rollout", "v4.0.0", "--waves", "50,100"]).unwrap();
    assert_eq!(corrupt.code, 1, "{}", corrupt.stderr);
    assert!(corrupt.stderr.contains("paused"), "{}", corrupt.stderr);
    fleet.wait_until_all_serve("v1.0.0").unwrap();
    let number = fleet.status().unwrap().rollouts[0].number.0.to_string();
    assert_eq!(fleet.ctl(&["abort", &number]).unwrap().code, 0);

    // More is kept free than there is.
    for name in ["n01", "n02"] {
        let config = fleet.node(name).unwrap().config.clone();
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.replace("\"1MiB\"", "\"900TiB\"")).unwrap();
        fleet.stop_agent(name).unwrap();
        fleet.start_agent(name).unwrap();
    }
    fleet.wait_until_connected().unwrap();
    let file = lay_out_without_retries(&fleet, "v5");
    let pushed = fleet
        .ctl(&["release", "push", "v5.0.0", "--file", file.to_str().unwrap()])
        .unwrap();
    assert_eq!(pushed.code, 0, "{}", pushed.stderr);
    let full = fleet.ctl(&["rollout", "v5.0.0", "--waves", "50,100"]).unwrap();
    assert_eq!(full.code, 1, "{}", full.stderr);
    assert!(
        full.stderr.contains("900TiB") || full.stderr.contains("free"),
        "{}",
        full.stderr
    );
    fleet.wait_until_all_serve("v1.0.0").unwrap();
}

/// What cannot be had stays so: a minute of trying again would show nothing.
fn lay_out_without_retries(fleet: &Fleet, name: &str) -> std::path::PathBuf {
    let directory = fleet.root().join("app").join(name);
    let file = fleet_tests::sample::lay_out(&directory, Behaviour::Good).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("[strategy]"), "{text}");
    std::fs::write(&file, format!("{text}\n[strategy]\nretries = 0\n")).unwrap();
    file
}

trait ExpectBlob {
    fn expect_blob(self) -> std::path::PathBuf;
}

impl ExpectBlob for Option<std::path::PathBuf> {
    fn expect_blob(self) -> std::path::PathBuf {
        self.unwrap_or_else(|| panic!("the blob is not in the store"))
    }
}

fn find(below: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(below).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find(&path, name) {
                return Some(found);
            }
        } else if path
            .file_name()
            .is_some_and(|file| file.to_string_lossy().contains(name))
        {
            return Some(path);
        }
    }
    None
}

#[test]
fn with_the_coordinator_dead_the_app_runs_on_and_a_node_rolls_back_by_hand() {
    let mut fleet = Fleet::start(3).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    fleet.push("v1.1.0", Behaviour::Good).unwrap();
    assert_eq!(fleet.ctl(&["rollout", "v1.0.0"]).unwrap().code, 0);
    assert_eq!(fleet.ctl(&["rollout", "v1.1.0"]).unwrap().code, 0);
    fleet.kill_coordinator().unwrap();

    // The agent is killed and started again; its app never notices.
    let port = fleet.node("n01").unwrap().port.number();
    let uptime =
        |port| fleet_tests::host::get_json(port, "/health").map(|health| health["uptime"].as_f64().unwrap());
    wait_for("the app to have run a second", PATIENCE, || {
        uptime(port).filter(|up| *up >= 1.0)
    })
    .unwrap();
    let before = uptime(port).unwrap();
    fleet.kill_agent("n01").unwrap();
    assert_eq!(fleet.serves("n01").as_deref(), Some("v1.1.0"));
    fleet.start_agent("n01").unwrap();
    wait_for("the agent to answer", PATIENCE, || {
        let status = fleet.agent("n01", &["status", "--output", "json"]).ok()?;
        (status.code == 0 && status.stdout.contains("healthy")).then_some(())
    })
    .unwrap();
    assert!(uptime(port).unwrap() >= before, "the app was restarted");

    // By hand, with the daemon running on one node and stopped on another.
    let back = fleet.agent("n01", &["rollback"]).unwrap();
    assert_eq!(back.code, 0, "{}{}", back.stdout, back.stderr);
    fleet.kill_agent("n02").unwrap();
    let back = fleet.agent("n02", &["rollback"]).unwrap();
    assert_eq!(back.code, 0, "{}{}", back.stdout, back.stderr);
    for name in ["n01", "n02"] {
        wait_for("the old release to serve", PATIENCE, || {
            (fleet.serves(name).as_deref() == Some("v1.0.0")).then_some(())
        })
        .unwrap();
    }
    assert_eq!(fleet.serves("n03").as_deref(), Some("v1.1.0"));

    fleet.start_agent("n02").unwrap();
    fleet.start_coordinator().unwrap();
    fleet.wait_until_connected().unwrap();
    let told = wait_for("the history to show it", PATIENCE, || {
        let events = fleet.ctl(&["events"]).ok()?.stdout;
        (events.contains("n01 went from v1.1.0 to v1.0.0 by hand")
            && events.contains("n02 went from v1.1.0 to v1.0.0 by hand"))
        .then_some(events)
    });
    assert!(told.is_ok(), "{}", fleet.ctl(&["events"]).unwrap().stdout);
    // It is not undone unasked.
    fleet.wait_until_connected().unwrap();
    assert_eq!(fleet.serves("n01").as_deref(), Some("v1.0.0"));
    assert_eq!(fleet.serves("n02").as_deref(), Some("v1.0.0"));
}

#[test]
fn operators_pause_resume_abort_and_roll_back() {
    let fleet = Fleet::start(4).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    fleet.push("v1.1.0", Behaviour::Good).unwrap();
    assert_eq!(fleet.ctl(&["rollout", "v1.0.0"]).unwrap().code, 0);

    let detached = fleet
        .ctl(&[
            "rollout", "v1.1.0", "--waves", "25,100", "--bake", "2s,0s", "--detach",
        ])
        .unwrap();
    assert_eq!(detached.code, 0, "{}", detached.stderr);
    let second = fleet.ctl(&["rollout", "v1.1.0"]).unwrap();
    assert_eq!(second.code, 1);
    assert!(
        second.stderr.contains("#2"),
        "the first one is named: {}",
        second.stderr
    );
    assert_eq!(fleet.ctl(&["pause", "2", "--reason", "lunch"]).unwrap().code, 0);
    let explained = fleet.ctl(&["explain", "2"]).unwrap().stdout;
    assert!(
        explained.contains("lunch") && explained.contains("fleetctl resume 2"),
        "{explained}"
    );
    assert_eq!(fleet.ctl(&["resume", "2"]).unwrap().code, 0);
    fleet.wait_until_all_serve("v1.1.0").unwrap();
    wait_for("the rollout to end", PATIENCE, || {
        (fleet.rollout(2).ok()?.state == RolloutStateView::Succeeded).then_some(())
    })
    .unwrap();

    let back = fleet.ctl(&["rollback"]).unwrap();
    assert_eq!(back.code, 0, "{}", back.stderr);
    fleet.wait_until_all_serve("v1.0.0").unwrap();

    let held = fleet
        .ctl(&[
            "rollout", "v1.1.0", "--waves", "25,100", "--bake", "60s,0s", "--detach",
        ])
        .unwrap();
    assert_eq!(held.code, 0, "{}", held.stderr);
    wait_for("the first wave to bake", Duration::from_secs(30), || {
        let rollout = fleet.rollout(4).ok()?;
        rollout.waves[0].bake_until.map(|_| ())
    })
    .unwrap();
    assert_eq!(fleet.ctl(&["abort", "4"]).unwrap().code, 0);
    fleet.wait_until_all_serve("v1.0.0").unwrap();
}

#[test]
fn an_agent_that_is_told_to_stop_says_that_it_has() {
    let mut fleet = Fleet::start(1).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    assert_eq!(fleet.ctl(&["rollout", "v1.0.0"]).unwrap().code, 0);
    for _ in 0..5 {
        let out = fleet.agent("n01", &["stop"]).unwrap();
        assert_eq!(out.code, 0, "{}", out.stderr);
        assert_eq!(fleet.serves("n01"), None);
        fleet.start_agent("n01").unwrap();
        fleet.wait_until_all_serve("v1.0.0").unwrap();
    }
}
