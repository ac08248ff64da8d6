//! `fleetctl dev`: a whole fleet by one command, and nothing of it left afterwards.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fleet_tests::fleet::{Ended, Fleet, PATIENCE};
use fleet_tests::process::{Process, program};
use fleet_tests::wait::wait_for;
use nix::sys::signal::Signal;

const START: Duration = Duration::from_secs(60);

fn ctl(arguments: &[&str]) -> Ended {
    let output = Command::new(program("fleetctl").unwrap())
        .args(arguments)
        .env_clear()
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output();
    output.unwrap().into()
}

/// Whatever has the directory in its command line, or runs a program out of it.
fn at_work_in(directory: &Path) -> Vec<String> {
    let text = directory.display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| process.file_name().to_string_lossy().parse::<u32>().is_ok())
        .filter_map(|process| {
            let line = std::fs::read(process.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let program = std::fs::read_link(process.path().join("exe")).unwrap_or_default();
            (line.contains(&text) || program.starts_with(directory)).then_some(line)
        })
        .collect()
}

fn start(directory: &Path, log: &Path) -> Process {
    let directory_text = directory.display().to_string();
    let arguments = ["dev", "--nodes", "2", "--dir", &directory_text];
    let dev = Process::start(&program("fleetctl").unwrap(), &arguments, log).unwrap();
    let ready = wait_for("the fleet to be ready", START, || {
        directory.join("env").exists().then_some(())
    });
    assert!(ready.is_ok(), "{}", std::fs::read_to_string(log).unwrap());
    dev
}

/// A bare `fleetctl` in another shell, which knows nothing but `env`.
fn in_another_shell(directory: &Path, words: &str) -> Ended {
    let script = format!(". '{}/env'; fleetctl {words}", directory.display());
    let output = Command::new("/bin/sh").args(["-c", &script]).env_clear().output();
    output.unwrap().into()
}

#[test]
fn the_story_ends_well_within_a_minute() {
    let told = ctl(&["dev", "--story", "--nodes", "5", "--output", "json"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let tale: serde_json::Value = serde_json::from_str(told.stdout.trim()).unwrap();
    let outcomes: Vec<&str> = tale["chapters"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|chapter| chapter["outcome"].as_str())
        .collect();
    assert_eq!(&outcomes[..2], ["succeeded", "succeeded"], "{tale}");
    let seconds: f64 = tale["chapters"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|chapter| chapter["seconds"].as_f64())
        .sum();
    assert!(seconds < 60.0, "{seconds}");
    for answer in tale["answers"].as_array().unwrap() {
        assert_eq!(answer["version"], "v1.1.0", "{tale}");
    }
}

#[test]
fn an_interrupt_leaves_no_process_behind_however_long_the_directory_is() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("it's a long way down ".repeat(5)).join("fleet");
    let log = root.path().join("log");
    let dev = start(&directory, &log);
    let out = in_another_shell(
        // The quote in its name is the shell's affair, and `env` has seen to it.
        Path::new(&directory.display().to_string().replace('\'', r"'\''")),
        "rollout v1.0.0",
    );
    assert_eq!(out.code, 0, "{}", out.stderr);
    assert!(!at_work_in(&directory).is_empty());
    dev.signal(Signal::SIGINT).unwrap();
    wait_for("everything to end", PATIENCE, || {
        at_work_in(&directory).is_empty().then_some(())
    })
    .unwrap();
}

#[test]
fn a_fleet_whose_dev_was_killed_can_be_stopped() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("fleet");
    start(&directory, &root.path().join("log")).kill().unwrap();
    let dir = directory.display().to_string();
    let refused = ctl(&["dev", "--dir", &dir]);
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    assert!(
        refused.stderr.contains("fleetctl dev --stop --dir"),
        "{}",
        refused.stderr
    );
    let stopped = ctl(&["dev", "--stop", "--dir", &dir]);
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    assert_eq!(at_work_in(&directory), [""; 0]);
    let again = ctl(&["dev", "--stop", "--dir", &dir]);
    assert_eq!((again.code, again.stdout.contains("nothing runs")), (0, true));
}

#[test]
fn data_that_cannot_be_written_is_no_success() {
    let fleet = Fleet::with_coordinator().unwrap();
    let identity = fleet.coordinator_directory().join("operators/admin");
    for words in [
        &["status", "--output", "json"][..],
        &["events"],
        &["completions", "bash"],
    ] {
        let output = Command::new(program("fleetctl").unwrap())
            .args(words)
            .env("FLEET_COORDINATOR", fleet.address())
            .env("FLEET_IDENTITY", &identity)
            .stdout(File::options().write(true).open("/dev/full").unwrap())
            .output();
        let ended = Ended::from(output.unwrap());
        assert_eq!(ended.code, 1, "{words:?}");
        assert!(
            ended.stderr.contains("cannot write what was asked for"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn with_json_an_error_is_json_too() {
    for (words, code) in [
        (
            &[
                "status",
                "--output",
                "json",
                "--coordinator",
                "https://127.0.0.1:1",
            ][..],
            2,
        ),
        (&["rollout", "--output", "json", "--waves", "0"], 2),
    ] {
        let ended = ctl(words);
        assert_eq!(ended.code, code, "{}", ended.stderr);
        let error: serde_json::Value = serde_json::from_str(ended.stderr.trim()).unwrap();
        assert_eq!(error["exit"], code);
        assert!(
            error["error"].as_str().is_some_and(|text| !text.is_empty()),
            "{error}"
        );
    }
}
