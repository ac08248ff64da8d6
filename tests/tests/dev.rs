//! `fleetctl dev`, as somebody uses it who tries Fleet on one machine.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context;
use fleet_tests::fleet::PATIENCE;
use fleet_tests::process::{Process, program};
use fleet_tests::wait::wait_for;

/// A fleet of one node, in a directory that goes with it.
struct Dev {
    home: tempfile::TempDir,
    process: Option<Process>,
}

impl Dev {
    fn start(fleetctl: &Path) -> Self {
        let home = tempfile::Builder::new().prefix("fleet-dev-").tempdir().unwrap();
        let directory = home.path().join("fleet");
        let process = Process::start(
            fleetctl,
            &["dev", "--nodes", "1", "--dir", &directory.display().to_string()],
            &home.path().join("dev.log"),
        );
        let dev = Self {
            home,
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
        self.home.path().join("fleet")
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
