//! The HTTP API against its own description: whatever a program may make of that, the
//! coordinator answers as it says.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::path::{Path, PathBuf};
use std::process::Command;

use fleet_tests::fleet::Fleet;
use fleet_tests::layers::workspace;
use fleet_tests::process::succeed;
use fleet_tests::sample::Behaviour;

/// Where the tools are. A test that has none says so; in CI that is a failure.
#[expect(clippy::print_stderr, reason = "a skipped test has to say that it was")]
fn python() -> Option<PathBuf> {
    let script = workspace().join("tests/api-tools");
    let path = succeed(&script.to_string_lossy(), ["--path"]).unwrap();
    let python = Path::new(path.trim_end()).join("bin/python");
    if !python.exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must try the API (make api-tools)"
        );
        eprintln!("skipped: trying the API needs tools (make api-tools)");
        return None;
    }
    Some(python)
}

/// With something to see: a release that is out, one that failed, and who did it.
fn lively() -> Fleet {
    let fleet = Fleet::start(2).unwrap();
    fleet.push("v1.0.0", Behaviour::Good).unwrap();
    fleet.push("v1.1.0", Behaviour::Sick).unwrap();
    let good = fleet.ctl(&["rollout", "v1.0.0"]).unwrap();
    assert_eq!(good.code, 0, "{}", good.stderr);
    let bad = fleet.ctl(&["rollout", "v1.1.0"]).unwrap();
    assert_eq!(bad.code, 1, "{}", bad.stderr);
    fleet
}

#[test]
fn it_is_as_it_is_described() {
    let Some(python) = python() else {
        return;
    };
    let fleet = lively();
    let endpoints = fleet.endpoints().unwrap();
    let address = endpoints["http"].as_str().unwrap();
    let added = ["operator", "add", "machine", "--role", "deployer", "--token"];
    let token = fleet.ctl(&added).unwrap();
    assert_eq!(token.code, 0, "{}", token.stderr);
    // The stream goes on for as long as somebody listens; it has tests of its own.
    let tried = Command::new(python)
        .args(["-m", "schemathesis.cli", "run"])
        .arg(format!("{address}/api/v1/openapi.json"))
        .args(["--exclude-path", "/api/v1/stream"])
        .args([
            "--header",
            &format!("Authorization: Bearer {}", token.stdout.trim()),
        ])
        .args(["--checks", "all", "--max-examples", "40", "--seed", "1"])
        .args(["--no-color", "--workers", "1"])
        .current_dir(fleet.root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&tried.stdout);
    assert!(tried.status.success(), "{said}");
}
