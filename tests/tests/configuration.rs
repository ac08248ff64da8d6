//! Configuration on real agents: overlays by environment, and what changes with them.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use fleet_tests::fleet::{Ended, Fleet, PATIENCE};
use fleet_tests::hosts::pieces::{Piece, push};
use fleet_tests::wait::wait_for;
use serde_json::Value;

const NODE: &str = "n01";
/// Writes down what it was told, and stays.
const TELL: &str = "command = [\"sh\", \"-c\", \"echo $$TOLD >$$OUT; exec sleep 1000\"]\n";

struct Bench {
    fleet: Fleet,
    out: PathBuf,
}

impl Bench {
    fn new(nodes: usize) -> Self {
        let fleet = Fleet::start(nodes).unwrap();
        let out = fleet.root().join("out");
        std::fs::create_dir(&out).unwrap();
        Self { fleet, out }
    }

    /// A component that tells what `told` is filled in with.
    fn piece(&self, name: &'static str, told: &str) -> Piece {
        let out = self.out.join(name);
        let env = format!(
            "env = {{ OUT = \"{}-${{node}}\", TOLD = \"{told}\" }}\n",
            out.display()
        );
        Piece::new(name, format!("kind = \"supervise\"\n{TELL}{env}")).with("name", name)
    }

    /// `settings` are sections of their own behind the last component.
    fn push(&self, version: &str, mut pieces: Vec<Piece>, settings: &str) {
        pieces.last_mut().unwrap().run.push_str(settings);
        push(&self.fleet, version, "30s", &pieces).unwrap();
    }

    fn ends(&self, arguments: &[&str], code: i32) -> String {
        let ended = self.fleet.ctl(arguments).unwrap();
        said(&ended, arguments, code)
    }

    fn agent(&self, arguments: &[&str], code: i32) -> String {
        let ended = self.fleet.agent(NODE, arguments).unwrap();
        said(&ended, arguments, code)
    }

    fn told(&self, name: &str, node: &str) -> String {
        let path = self.out.join(format!("{name}-{node}"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.trim().to_owned()
    }

    fn pids(&self) -> BTreeMap<String, i64> {
        let look = || {
            let status = self.agent(&["status", "--output", "json"], 0);
            let status: Value = serde_json::from_str(&status).ok()?;
            let components = status["apps"][0]["components"].as_array()?.clone();
            let of = |c: &Value| Some((c["component"].as_str()?.to_owned(), c["pid"].as_i64()?));
            components.iter().map(of).collect::<Option<_>>()
        };
        wait_for("all components to run", PATIENCE, look).unwrap()
    }
}

fn said(ended: &Ended, arguments: &[&str], code: i32) -> String {
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, code, "{arguments:?}: {said}");
    said
}

const VARS: &str = "[vars]\nlevel = \"info\"\nport = \"1\"\nhost = \"app\"\n\
                    [environment.dev.vars]\nlevel = \"debug\"\nport = \"2\"\n\
                    [environment.production.vars]\nlevel = \"error\"\n";

#[test]
fn the_environment_s_overlay_is_laid_over_the_app_s_and_the_node_s_over_that() {
    let mut bench = Bench::new(1);
    bench.push(
        "v1.0.0",
        vec![bench.piece("web", "${var.level} ${var.port} ${var.host}")],
        VARS,
    );
    bench.ends(&["rollout", "v1.0.0"], 0);
    let port = bench.fleet.node(NODE).unwrap().port.number();
    assert_eq!(bench.told("web", NODE), format!("debug {port} app"));

    // Other variables for another environment change nothing here; one of its own does.
    let other = VARS.replace("error", "warning");
    let pieces = || {
        vec![
            bench.piece("web", "${var.level} ${var.port} ${var.host}"),
            bench.piece("worker", "${var.host}"),
        ]
    };
    bench.push("v1.1.0", pieces(), &other);
    bench.ends(&["rollout", "v1.1.0"], 0);
    let first = bench.pids();
    bench.push("v1.2.0", pieces(), &other.replace("debug", "trace"));
    bench.ends(&["rollout", "v1.2.0"], 0);
    let second = bench.pids();
    assert_eq!(first["worker"], second["worker"]);
    assert_ne!(first["web"], second["web"]);
    assert_eq!(bench.told("web", NODE), format!("trace {port} app"));

    // With nobody in reach and after a restart it is still the same environment's.
    bench.fleet.kill_coordinator().unwrap();
    bench.fleet.stop_agent(NODE).unwrap();
    bench.agent(&["rollback"], 0);
    assert_eq!(bench.told("web", NODE), format!("debug {port} app"));
    let third = bench.pids();
    bench.fleet.start_agent(NODE).unwrap();
    wait_for("the agent", PATIENCE, || {
        bench
            .agent(&["status"], 0)
            .contains("agent running")
            .then_some(())
    })
    .unwrap();
    assert_eq!(bench.pids(), third);
    assert_eq!(bench.told("worker", NODE), "app");
}

#[test]
fn a_node_with_an_environment_of_its_own_refuses_another_s_configuration() {
    let mut bench = Bench::new(1);
    let config = bench.fleet.node(NODE).unwrap().config.clone();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("environment = \"production\"\n{text}")).unwrap();
    bench.fleet.stop_agent(NODE).unwrap();
    bench.fleet.start_agent(NODE).unwrap();
    bench.fleet.wait_until_connected().unwrap();
    let settings = format!("{VARS}[strategy]\nretries = 0\n");
    bench.push("v1.0.0", vec![bench.piece("web", "${var.level}")], &settings);
    let said = bench.ends(&["rollout", "v1.0.0"], 1);
    let why = "the order is for the environment dev, and this node is in production";
    assert!(said.contains(why), "{said}");
    assert_eq!(bench.told("web", NODE), "");

    std::fs::write(&config, format!("environment = \"dev\"\n{text}")).unwrap();
    bench.fleet.stop_agent(NODE).unwrap();
    bench.fleet.start_agent(NODE).unwrap();
    bench.fleet.wait_until_connected().unwrap();
    bench.ends(&["rollout", "v1.0.0", "--supersede"], 0);
    assert_eq!(bench.told("web", NODE), "debug");
}

impl Bench {
    /// A component that reads its file when it starts.
    fn reader(&self, name: &'static str, template: &str) -> Piece {
        let out = self.out.join(name);
        let run = format!(
            "kind = \"supervise\"\ncommand = [\"sh\", \"-c\", \"cp ${{config}}/conf.d/app.conf $$OUT; exec sleep 1000\"]\n\
             env = {{ OUT = \"{}-${{node}}\" }}\n\
             [[component.file]]\ntemplate = \"app.conf\"\npath = \"conf.d/app.conf\"\nmode = \"0604\"\n",
            out.display()
        );
        Piece::new(name, run).with("app.conf", template)
    }

    fn state(&self) -> PathBuf {
        self.fleet.node(NODE).unwrap().state.join("apps/shop")
    }

    fn handed(&self) -> usize {
        std::fs::read_dir(self.state().join("handed")).unwrap().count()
    }
}

const LEVELS: &str = "[vars]\nlevel = \"info\"\nhost = \"one\"\n";

#[test]
fn a_file_is_filled_in_and_only_who_has_another_one_is_restarted() {
    let mut bench = Bench::new(1);
    let config = bench.fleet.node(NODE).unwrap().config.clone();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("[limits]\n", "[limits]\nkeep_releases = 2\n"),
    )
    .unwrap();
    bench.fleet.stop_agent(NODE).unwrap();
    bench.fleet.start_agent(NODE).unwrap();
    bench.fleet.wait_until_connected().unwrap();
    let pieces = |bench: &Bench| {
        vec![
            bench.reader("web", "level = ${var.level}\ncosts = 5$$\n"),
            bench.reader("worker", "host = ${var.host}\n"),
        ]
    };
    bench.push("v1.0.0", pieces(&bench), LEVELS);
    bench.ends(&["rollout", "v1.0.0"], 0);
    assert_eq!(bench.told("web", NODE), "level = info\ncosts = 5$");
    let path = bench.state().join("current/handed/config/web/conf.d/app.conf");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o604);
    let first = bench.pids();

    bench.push("v1.1.0", pieces(&bench), &LEVELS.replace("info", "debug"));
    bench.ends(&["rollout", "v1.1.0"], 0);
    let second = bench.pids();
    assert_eq!(first["worker"], second["worker"]);
    assert_ne!(first["web"], second["web"]);
    assert_eq!(bench.told("web", NODE), "level = debug\ncosts = 5$");

    // What cannot be filled in moves nobody, and says where.
    for (version, template, why) in [
        (
            "v1.2.0",
            "a\nb = ${var.lvel}\n",
            "line 2 of the template app.conf: `${var.lvel}` is not set",
        ),
        ("v1.3.0", "a = ${secret}\n", "`${secret}` is not known"),
    ] {
        bench.push(version, vec![bench.reader("web", template)], LEVELS);
        let said = bench.ends(&["rollout", version], 1);
        assert!(said.contains(why), "{said}");
        assert_eq!(bench.pids(), second);
    }

    // Back with nobody in reach; what old releases were handed goes with them.
    bench.fleet.kill_coordinator().unwrap();
    bench.fleet.stop_agent(NODE).unwrap();
    bench.agent(&["rollback"], 0);
    assert_eq!(bench.told("web", NODE), "level = info\ncosts = 5$");
    assert_eq!(bench.pids()["worker"], first["worker"]);
    bench.fleet.start_coordinator().unwrap();
    bench.fleet.start_agent(NODE).unwrap();
    bench.fleet.wait_until_connected().unwrap();
    for (version, level) in [("v2.0.0", "two"), ("v2.1.0", "three"), ("v2.2.0", "four")] {
        bench.push(version, pieces(&bench), &LEVELS.replace("info", level));
        bench.ends(&["rollout", version], 0);
    }
    // The worker lives in the slot of the first.
    wait_for("the old ones to go", PATIENCE, || {
        (bench.handed() == 3).then_some(())
    })
    .unwrap();
    assert_eq!(bench.told("web", NODE), "level = four\ncosts = 5$");
}
