//! The dashboard: built from its sources byte for byte, each page in a browser beside what
//! plays a coordinator, and a real fleet's story as people see it.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use fleet_tests::fleet::PATIENCE;
use fleet_tests::layers::workspace;
use fleet_tests::process::{Process, program, succeed};
use fleet_tests::wait::wait_for;

/// Where the tools are. A test that has none says so; in CI that is a failure.
#[expect(clippy::print_stderr, reason = "a skipped test has to say that it was")]
fn node() -> Option<PathBuf> {
    let script = workspace().join("tests/dashboard-tools");
    let path = succeed(&script.to_string_lossy(), ["--path"]).unwrap();
    let is_there = !path.trim().is_empty() && source().join("node_modules").exists();
    if !is_there || !Path::new("/usr/bin/chromium").exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must try the dashboard (make dashboard-tools)"
        );
        eprintln!("skipped: trying the dashboard needs tools (make dashboard-tools)");
        return None;
    }
    Some(PathBuf::from(path.trim()))
}

fn source() -> PathBuf {
    workspace().join("coordinator/dashboard")
}

/// In the dashboard's directory, with that Node.js.
fn command(node: &Path, words: &[&str]) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .current_dir(source())
        .env("PATH", format!("{}:{path}", node.display()));
    command
}

fn must_succeed(mut command: Command) {
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    let complained = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}\n{complained}");
}

#[test]
fn it_is_what_its_sources_make_and_each_page_keeps_the_rules() {
    let Some(node) = node() else {
        return;
    };
    must_succeed(command(&node, &["npm", "test", "--silent"]));
}

/// `fleetctl dev`, and what its `env` file says of it.
struct Dev {
    home: tempfile::TempDir,
    process: Option<Process>,
}

impl Dev {
    fn start(nodes: &str) -> Self {
        let home = tempfile::Builder::new().prefix("fleet-dev-").tempdir().unwrap();
        let directory = home.path().join("fleet").display().to_string();
        let words = ["dev", "--nodes", nodes, "--dir", &directory];
        let process = Process::start(
            &program("fleetctl").unwrap(),
            &words,
            &home.path().join("dev.log"),
        );
        let dev = Self {
            home,
            process: Some(process.unwrap()),
        };
        wait_for("the fleet to be ready", PATIENCE, || {
            dev.home.path().join("fleet/env").exists().then_some(())
        })
        .with_context(|| dev.said())
        .unwrap();
        dev
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.home.path().join("dev.log")).unwrap_or_default()
    }

    fn dashboard(&self) -> String {
        let endpoints = self.home.path().join("fleet/coordinator/state/endpoints.json");
        let text = std::fs::read_to_string(endpoints).unwrap();
        let endpoints: serde_json::Value = serde_json::from_str(&text).unwrap();
        endpoints["http"].as_str().unwrap().to_owned()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop().unwrap();
        }
    }
}

#[test]
fn a_real_fleet_is_watched_and_acted_on() {
    let Some(node) = node() else {
        return;
    };
    let dev = Dev::start("10");
    let environment = dev.home.path().join("fleet/env");
    let script = format!(
        ". '{}' && exec node --import ./test/typescript.js --test --test-concurrency=1 test/real/story.test.js",
        environment.display()
    );
    let mut story = command(&node, &["sh", "-c", &script]);
    story
        .env("FLEETCTL", program("fleetctl").unwrap())
        .env("FLEET_DASHBOARD", dev.dashboard());
    must_succeed(story);
}
