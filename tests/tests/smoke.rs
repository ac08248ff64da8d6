//! Smoke checks: once on each node of a wave, when its bake is over.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use fleet_proto::view::RolloutStateView;
use fleet_tests::fleet::{Ended, Fleet};
use fleet_tests::hosts::pieces::{Piece, push};

struct Bench {
    fleet: Fleet,
    log: PathBuf,
}

impl Bench {
    /// Four nodes on a first release.
    fn new() -> Self {
        let fleet = Fleet::start(4).unwrap();
        let log = fleet.root().join("log");
        let bench = Self { fleet, log };
        bench.push("v1.0.0", "");
        bench.ends(&["rollout", "v1.0.0"], 0);
        bench
    }

    fn push(&self, version: &str, smoke: &str) {
        let run = format!("kind = \"supervise\"\ncommand = [\"sleep\", \"1000\"]\n{smoke}");
        let piece = Piece::new("web", run).with("version", version);
        push(&self.fleet, version, "30s", &[piece]).unwrap();
    }

    /// It writes down that it was run, and then does as told.
    fn check(&self, name: &str, script: &str) -> String {
        format!(
            "[[component.smoke]]\nname = \"{name}\"\nkind = \"exec\"\n\
             command = [\"sh\", \"-c\", \"echo {name} ${{node}} >>{}; {script}\"]\n",
            self.log.display()
        )
    }

    fn ends(&self, arguments: &[&str], code: i32) -> String {
        let Ended {
            stdout,
            stderr,
            code: found,
        } = self.fleet.ctl(arguments).unwrap();
        assert_eq!(found, code, "{arguments:?}: {stdout}{stderr}");
        format!("{stdout}{stderr}")
    }

    fn log(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn current(&self) -> Vec<String> {
        let status = self.fleet.ctl(&["nodes", "--output", "json"]).unwrap();
        let nodes: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
        let version =
            |node: &serde_json::Value| node["apps"][0]["current"]["version"].as_str().unwrap().to_owned();
        nodes.as_array().unwrap().iter().map(version).collect()
    }
}

#[test]
fn each_node_of_a_wave_is_looked_at_once_and_in_order() {
    let bench = Bench::new();
    let smoke = [bench.check("login", "true"), bench.check("order", "true")];
    bench.push("v1.1.0", &smoke.concat());
    bench.ends(&["rollout", "v1.1.0", "--waves", "25,100"], 0);
    let log = bench.log();
    assert_eq!(log.len(), 8, "{log:?}");
    for node in ["n01", "n02", "n03", "n04"] {
        let on_it: Vec<&String> = log.iter().filter(|line| line.ends_with(node)).collect();
        assert_eq!(on_it, [&format!("login {node}"), &format!("order {node}")]);
    }
    // The first wave's was over before the second began.
    let first: BTreeSet<&str> = log[..2]
        .iter()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(first.len(), 1, "{log:?}");
}

#[test]
fn one_that_does_not_pass_stops_the_rollout_and_puts_back_what_it_has_moved() {
    let bench = Bench::new();
    let smoke = bench.check("login", "echo no token >&2; exit 3");
    bench.push("v1.1.0", &smoke);
    let said = bench.ends(&["rollout", "v1.1.0", "--waves", "25,100"], 1);
    assert!(said.contains("the smoke check web/login did not pass"), "{said}");
    assert!(said.contains("no token"), "{said}");
    assert_eq!(bench.log().len(), 1, "{:?}", bench.log());
    assert_eq!(bench.fleet.rollout(2).unwrap().state, RolloutStateView::Failed);
    assert_eq!(bench.current(), ["v1.0.0"; 4]);
}

#[test]
fn one_that_hangs_is_ended() {
    let bench = Bench::new();
    let smoke = bench.check("login", "sleep 1000");
    bench.push("v1.1.0", &smoke.replace("kind", "timeout = \"1s\"\nkind"));
    let said = bench.ends(&["rollout", "v1.1.0", "--waves", "25,100"], 1);
    assert!(
        said.contains("the smoke check web/login did not pass: it gave no answer within 1s"),
        "{said}"
    );
    assert_eq!(bench.current(), ["v1.0.0"; 4]);
}
