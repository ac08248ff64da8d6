//! `fleetctl dev`, as somebody uses it who tries Fleet on one machine.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use fleet_tests::fleet::PATIENCE;
use fleet_tests::process::{Process, program};
use fleet_tests::wait::wait_for;
use nix::sys::signal::Signal;

/// A fleet of one node, in a directory that goes with it.
struct Dev {
    home: tempfile::TempDir,
    directory: PathBuf,
    process: Option<Process>,
}

impl Dev {
    fn start(fleetctl: &Path) -> Self {
        Self::start_in(fleetctl, "fleet")
    }

    fn start_in(fleetctl: &Path, name: &str) -> Self {
        let home = tempfile::Builder::new().prefix("fleet-dev-").tempdir().unwrap();
        let directory = home.path().join(name);
        let process = Process::start(
            fleetctl,
            &["dev", "--nodes", "1", "--dir", &directory.display().to_string()],
            &home.path().join("dev.log"),
        );
        let dev = Self {
            home,
            directory,
            process: Some(process.unwrap()),
        };
        wait_for("the fleet to be ready", PATIENCE, || {
            dev.directory().join("env").exists().then_some(())
        })
        .with_context(|| dev.said())
        .unwrap();
        dev
    }

    fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.home.path().join("dev.log")).unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop().unwrap();
        }
    }
}

/// What a killed `fleetctl dev` leaves behind can be ended, and nothing else is.
#[test]
fn a_fleet_that_nobody_looks_after_can_be_ended() {
    let fleetctl = program("fleetctl").unwrap();
    let mut lost = Dev::start(&fleetctl);
    let other = Dev::start(&fleetctl);
    assert!(other.said().contains("1 node is connected"), "{}", other.said());
    // What it announces is there.
    let said = other.said();
    let (_, rest) = said.split_once("its dashboard: http://127.0.0.1:").unwrap();
    let port = rest.lines().next().unwrap().trim_end_matches('/');
    let port = port.parse().unwrap();
    let status = fleet_tests::host::get_json(port, "/api/v1/status").unwrap();
    assert_eq!(status["nodes"]["connected"], 1, "{status}");
    let (head, page) = fleet_tests::host::get(port, "/").unwrap();
    assert!(head.contains("200") && page.contains("<title>"), "{head}");
    // With an app, and the keeper that starts it again.
    let rollout = format!(
        ". '{}' && fleetctl rollout v1.0.0",
        lost.directory().join("env").display()
    );
    let rolled_out = Command::new("sh").args(["-c", &rollout]).output().unwrap();
    assert!(rolled_out.status.success(), "{rolled_out:?}");
    lost.process.take().unwrap().kill().unwrap();

    let directory = lost.directory().display().to_string();
    let dev = |args: &[&str]| Command::new(&fleetctl).arg("dev").args(args).output().unwrap();
    let again = dev(&["--dir", &directory]);
    let said = String::from_utf8(again.stderr).unwrap();
    assert_eq!(again.status.code(), Some(1), "{said}");
    assert!(said.contains("a fleet runs in"), "{said}");
    let end = format!("fleetctl dev --stop --dir '{directory}'");
    assert!(said.contains(&end), "{said}");

    for ended in ["1 coordinator, 1 agent, 1 keeper, 1 app", "nothing runs in"] {
        let stopped = dev(&["--stop", "--dir", &directory]);
        let told = String::from_utf8(stopped.stdout).unwrap();
        assert_eq!(stopped.status.code(), Some(0), "{told}");
        let mut words: Vec<&str> = told.trim().rsplit(": ").next().unwrap().split(", ").collect();
        words.sort_by_key(|word| ended.find(word));
        assert!(words.join(", ").contains(ended), "{told}");
    }
    // A second one could start there now; the other fleet was left alone.
    let env = other.directory().join("env");
    let nodes = format!(". '{}' && fleetctl nodes", env.display());
    let nodes = Command::new("sh").args(["-c", &nodes]).output().unwrap();
    let nodes = String::from_utf8(nodes.stdout).unwrap();
    assert!(nodes.contains("connected"), "{nodes}");

    // A fleet that is looked after is ended by the one who does.
    let directory = other.directory().display().to_string();
    let stopped = dev(&["--stop", "--dir", &directory, "--output", "json"]);
    let told = String::from_utf8(stopped.stdout).unwrap();
    assert!(told.contains("\"part\":\"fleetctl dev\""), "{told}");
    assert!(other.said().contains("stopping"), "{}", other.said());
}

/// What is on a command line, everybody on the machine can read.
#[test]
fn join_tokens_are_on_no_command_line() {
    let beside = tempfile::tempdir().unwrap();
    let at = |name: &str| beside.path().join(name);
    std::fs::copy(program("fleetctl").unwrap(), at("fleetctl")).unwrap();
    for name in ["fleet-coordinator", "fleet-sample"] {
        symlink(program(name).unwrap(), at(name)).unwrap();
    }
    let script = format!(
        "#!/bin/sh\necho \"$@\" >>'{}'\nif [ \"$1\" = enrol ]; then stat -c %a \"$5\" >>'{}'; fi\nexec '{}' \"$@\"\n",
        at("args").display(),
        at("modes").display(),
        program("fleet-agent").unwrap().display(),
    );
    std::fs::write(at("fleet-agent"), script).unwrap();
    std::fs::set_permissions(at("fleet-agent"), PermissionsExt::from_mode(0o755)).unwrap();

    let dev = Dev::start(&at("fleetctl"));
    let args = std::fs::read_to_string(at("args")).unwrap();
    let line = args.lines().find(|line| line.starts_with("enrol")).unwrap();
    let (_, file) = line.split_once(" --token-file ").unwrap();
    assert!(!line.contains("--token "), "{line}");
    assert!(!Path::new(file).exists(), "{file}");
    assert_eq!(std::fs::read_to_string(at("modes")).unwrap(), "600\n");
    drop(dev);
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

#[test]
fn an_interrupt_leaves_no_process_behind_however_the_directory_is_called() {
    let name = "it's a long way down ".repeat(6);
    let dev = Dev::start_in(&program("fleetctl").unwrap(), &name);
    let env = dev.directory().join("env").display().to_string();
    let script = format!(". '{}' && fleetctl rollout v1.0.0", env.replace('\'', r"'\''"));
    let rolled_out = Command::new("/bin/sh").args(["-c", &script]).env_clear().output();
    let rolled_out = rolled_out.unwrap();
    assert!(rolled_out.status.success(), "{rolled_out:?}");
    assert!(!at_work_in(&dev.directory()).is_empty());
    dev.process.as_ref().unwrap().signal(Signal::SIGINT).unwrap();
    wait_for("everything to end", PATIENCE, || {
        at_work_in(&dev.directory()).is_empty().then_some(())
    })
    .unwrap();
}

#[test]
fn the_story_ends_well_within_a_minute() {
    let told = Command::new(program("fleetctl").unwrap())
        .args(["dev", "--story", "--nodes", "5", "--output", "json"])
        .env_clear()
        .output()
        .unwrap();
    assert!(told.status.success(), "{told:?}");
    let tale: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let chapters = tale["chapters"].as_array().unwrap();
    let outcomes: Vec<&str> = chapters
        .iter()
        .filter_map(|chapter| chapter["outcome"].as_str())
        .collect();
    assert_eq!(&outcomes[..2], ["succeeded", "succeeded"], "{tale}");
    let seconds: f64 = chapters
        .iter()
        .filter_map(|chapter| chapter["seconds"].as_f64())
        .sum();
    assert!(seconds < 60.0, "{tale}");
    for answer in tale["answers"].as_array().unwrap() {
        assert_eq!(answer["version"], "v1.1.0", "{tale}");
    }
}
