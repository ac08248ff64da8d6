//! A directory to run a process in, with a real keeper.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fleet_agent::process::run_directory::RunDirectory;
use fleet_agent::process::spec::{Handed, How, Spec, Supervised};
use fleet_agent::process::supervise::Supervisor;
use fleet_proto::digest::Digest;
use fleet_proto::quantity::Span;
use fleet_proto::release::{Limits, StopSignal};

const DEADLINE: Duration = Duration::from_secs(20);

/// A run directory whose processes are gone when the test is over, however it ends.
pub struct Bench {
    pub directory: tempfile::TempDir,
    pub run: RunDirectory,
    pub supervisor: Supervisor,
}

impl Bench {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            run: RunDirectory::new(directory.path().join("run")),
            supervisor: Supervisor::new(env!("CARGO_BIN_EXE_fleet-agent")),
            directory,
        }
    }

    pub fn spec(&self, script: &str) -> Spec {
        Spec {
            release: Digest::of(b"release"),
            tree: Digest::of(b"tree"),
            directory: self.directory.path().to_owned(),
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            home: "/".to_owned(),
            handed: Handed::default(),
            env_from: None,
            environment: None,
            how: How::Supervise(Supervised {
                command: ["sh", "-c", script].map(str::to_owned).to_vec(),
                stop_signal: StopSignal::Term,
                grace: Span::from_millis(300),
                user: None,
                group: None,
                directory: None,
                limits: Limits::default(),
            }),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _stopped = self.supervisor.stop(&self.run);
    }
}

pub fn supervised(spec: &mut Spec) -> &mut Supervised {
    let How::Supervise(supervised) = &mut spec.how else {
        unreachable!()
    };
    supervised
}

pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}
