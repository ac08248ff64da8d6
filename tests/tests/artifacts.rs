//! Only what is missing moves.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::path::Path;

use fleet_tests::fleet::Fleet;
use fleet_tests::sample::{Behaviour, lay_out};

/// With the sample app's own two files these are 7,278.
const FILES: usize = 7_276;
const CHANGED: usize = 59;

fn write_files(web: &Path, which: impl Iterator<Item = usize>, content: &str) {
    for i in which {
        let directory = web.join(format!("lib/{}", i % 97));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{i}.js")), format!("{content} {i}\n")).unwrap();
    }
}

#[test]
fn a_release_that_changes_59_of_7278_files_moves_those_59() {
    let fleet = Fleet::start(1).unwrap();
    let file = lay_out(&fleet.root().join("app"), Behaviour::Good).unwrap();
    let web = fleet.root().join("app/web");
    let push = |version: &str| {
        let file = file.to_str().unwrap();
        let ended = fleet
            .ctl(&["release", "push", version, "--file", file, "--output", "json"])
            .unwrap();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let pushed: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        (
            pushed["files"].as_u64().unwrap(),
            pushed["uploaded_files"].as_u64().unwrap(),
        )
    };
    write_files(&web, 0..FILES, "first");
    assert_eq!(push("v1.0.0"), (7_278, 7_278));
    write_files(&web, (0..FILES).step_by(FILES / CHANGED).take(CHANGED), "second");
    assert_eq!(push("v1.1.0"), (7_278, 59));

    for version in ["v1.0.0", "v1.1.0"] {
        let out = fleet.ctl(&["rollout", version]).unwrap();
        assert_eq!(out.code, 0, "{}", out.stderr);
    }
    let log = std::fs::read_to_string(fleet.root().join("logs/n01.log")).unwrap();
    let fetches: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("fetching what no slot here has"))
        .collect();
    assert_eq!(fetches.len(), 2, "one stream a release: {fetches:#?}");
    assert!(fetches[0].contains("files=7278 of=7278"), "{}", fetches[0]);
    assert!(fetches[1].contains("files=59 of=7278"), "{}", fetches[1]);
}

/// Bytes rot on disks. What is damaged on the coordinator's reaches no node, is set
/// aside, and the next push of the same release brings it again.
#[test]
fn a_damaged_artifact_is_brought_again_by_the_next_push() {
    let fleet = Fleet::start(1).unwrap();
    let file = lay_out(&fleet.root().join("app"), Behaviour::Good).unwrap();
    let web = fleet.root().join("app/web");
    write_files(&web, 0..3, "first");
    let push = || {
        let arguments = ["release", "push", "v1.0.0", "--file", file.to_str().unwrap()];
        let ended = fleet.ctl(&arguments).unwrap();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stdout
    };
    push();
    let rot = |content: &str, rotten: &str| {
        let digest = fleet_proto::digest::Digest::of(content.as_bytes()).to_string();
        let shelf = fleet.coordinator_directory().join("state/artifacts");
        let blob = shelf.join(&digest[..2]).join(&digest);
        std::fs::write(&blob, rotten).unwrap();
    };
    // Found by a node that fetches it.
    rot("first 1\n", "wirst 1\n");
    let out = fleet.ctl(&["rollout", "v1.0.0"]).unwrap();
    assert_eq!(out.code, 1, "{}", out.stderr);
    assert!(
        out.stderr.contains("is damaged on the coordinator's disk"),
        "{}",
        out.stderr
    );
    assert!(push().contains("uploaded what was damaged or missing: 1 file"));
    // Found by the push itself.
    for rotten in ["wirst 2\n", "first", ""] {
        rot("first 2\n", rotten);
        assert!(push().contains("uploaded what was damaged or missing: 1 file"));
    }
    assert!(push().contains("nothing to do"));
    let out = fleet.ctl(&["resume", "1"]).unwrap();
    assert_eq!(out.code, 0, "{}", out.stderr);
    fleet.wait_until_all_serve("v1.0.0").unwrap();
}
