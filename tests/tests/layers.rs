//! Who may use whom, and what the pure layers must not know.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_tests::layers::{code, sources, workspace};

fn assert_absent(below: &[&str], forbidden: &[&str]) {
    for part in below {
        let path = workspace().join(part);
        assert!(path.exists(), "{part} is gone; mend this test");
        for (file, text) in sources(&path).unwrap() {
            for line in code(&text) {
                for word in forbidden {
                    assert!(!line.contains(word), "{}: `{word}` in: {line}", file.display());
                }
            }
        }
    }
}

#[test]
fn decisions_know_no_clock_no_chance_and_no_io() {
    let forbidden = [
        "Instant::now",
        "SystemTime",
        "Timestamp::now",
        "rand::",
        "tokio",
        "async ",
        "std::fs",
        "std::net",
        "std::process",
        "std::thread",
        "std::env::",
        "HashMap",
        "HashSet",
    ];
    assert_absent(
        &[
            "coordinator/src/rollout.rs",
            "coordinator/src/rollout",
            "agent/src/install.rs",
            "agent/src/install",
        ],
        &forbidden,
    );
}

#[test]
fn the_core_knows_only_words() {
    let forbidden = [
        "crate::journal",
        "crate::driver",
        "crate::artifacts",
        "crate::agents",
        "crate::operators",
        "crate::web",
        "fleet_proto::wire",
        "fleet_proto::tls",
        "sled",
        "tonic",
        "prost",
        "axum",
    ];
    assert_absent(
        &["coordinator/src/rollout.rs", "coordinator/src/rollout"],
        &forbidden,
    );
}

#[test]
fn what_is_below_does_not_know_what_is_above() {
    assert_absent(
        &["coordinator/src/journal.rs", "coordinator/src/journal"],
        &[
            "crate::rollout",
            "crate::driver",
            "crate::agents",
            "crate::operators",
            "fleet_proto",
        ],
    );
    assert_absent(
        &["coordinator/src/driver.rs", "coordinator/src/driver"],
        &["crate::agents", "crate::operators", "crate::web"],
    );
    assert_absent(&["agent/src", "cli/src"], &["fleet_coordinator"]);
    assert_absent(&["coordinator/src", "cli/src"], &["fleet_agent"]);
}

#[test]
fn crates_depend_downwards() {
    for (name, forbidden) in [
        ("proto", &["fleet-coordinator", "fleet-agent", "fleetctl"][..]),
        ("agent", &["fleet-coordinator", "fleetctl"]),
        ("coordinator", &["fleet-agent", "fleetctl"]),
        ("cli", &["fleet-coordinator", "fleet-agent"]),
    ] {
        let manifest = std::fs::read_to_string(workspace().join(name).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap();
        for other in forbidden {
            let line = format!("\n{other} ");
            assert!(!dependencies.contains(&line), "{name} depends on {other}");
        }
    }
}

/// A map that names what is not there is worse than none.
#[test]
fn the_map_names_what_exists() {
    let map = std::fs::read_to_string(workspace().join("ARCHITECTURE.md")).unwrap();
    let mut named = 0;
    for path in map.split('`').skip(1).step_by(2) {
        let is_path =
            path.contains('/') && !path.contains(' ') && !path.contains("://") && !path.starts_with('/');
        if is_path
            && !path.contains('*')
            && !path.contains('<')
            && path.starts_with(|c: char| c.is_ascii_lowercase())
        {
            named += 1;
            assert!(workspace().join(path).exists(), "ARCHITECTURE.md names {path}");
        }
    }
    assert!(named > 20, "the map names only {named} paths");
}
