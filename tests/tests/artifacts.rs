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
