//! Components that a real pm2 runs.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_tests::fleet::{Ended, PATIENCE};
use fleet_tests::hosts::can_boot;
use fleet_tests::hosts::fleet::{HostFleet, agent_log};
use fleet_tests::hosts::pieces::{Piece, push};
use fleet_tests::wait::wait_for;
use serde_json::Value;

struct Bench {
    fleet: HostFleet,
}

impl Bench {
    fn new() -> Self {
        let fleet = HostFleet::start(1).unwrap();
        let made = fleet.hosts.host("n01").unwrap();
        let made = made.run(&["useradd", "--create-home", "deploy"]).unwrap();
        assert_eq!(made.code, 0, "{}", made.stderr);
        Self { fleet }
    }

    fn push(&self, version: &str, pieces: &[Piece]) {
        push(&self.fleet.fleet, version, "20s", pieces).unwrap();
    }

    /// With all that it said in its output.
    fn ctl(&self, arguments: &[&str]) -> Ended {
        let mut ended = self.fleet.fleet.ctl(arguments).unwrap();
        ended.stdout.push_str(&ended.stderr);
        ended
    }

    fn succeeds(&self, arguments: &[&str]) {
        let ended = self.ctl(arguments);
        let log = || agent_log(self.fleet.hosts.host("n01").unwrap());
        assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, log());
    }

    fn says(&self, command: &[&str]) -> String {
        let host = self.fleet.hosts.host("n01").unwrap();
        host.run(command).unwrap().stdout.trim().to_owned()
    }

    /// As a person would look, who is the same user.
    fn list(&self) -> Vec<(String, String)> {
        let output = self.says(&[
            "runuser",
            "--user",
            "deploy",
            "--",
            "env",
            "HOME=/home/deploy",
            "pm2",
            "--silent",
            "jlist",
        ]);
        let line = output.lines().last().unwrap_or_default();
        let apps: Vec<Value> = serde_json::from_str(line).unwrap_or_default();
        let mut apps: Vec<(String, String)> = apps
            .iter()
            .map(|app| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                (text(&app["name"]), text(&app["pm2_env"]["status"]))
            })
            .collect();
        apps.sort();
        apps
    }

    fn health(&self) -> String {
        self.says(&[
            "curl",
            "--silent",
            "--max-time",
            "2",
            "http://127.0.0.1:8080/health",
        ])
    }
}

/// A server that says which release and which profile it is; `exit` makes it one that
/// crashes. An instance of a cluster leaves it before it ends: one that only closes and
/// exits loses what the cluster hands it in between.
fn api(version: &str, run: &str, exit: &str) -> Piece {
    let server = format!(
        "console.error('api {version} starts');\n{exit}\n\
         const server = require('http').createServer((_, answer) => answer.end('{version} ' + process.env.LEVEL + ' ' + process.env.EXTRA))\
         .listen(8080);\n\
         const {{ worker }} = require('cluster');\n\
         if (worker) worker.once('disconnect', () => process.exit(0));\n\
         process.on('SIGINT', () => worker ? worker.disconnect() : server.close(() => process.exit(0)));\n"
    );
    let mode = if run.contains("reload") {
        "instances: 2, exec_mode: 'cluster', listen_timeout: 30000, kill_timeout: 30000"
    } else {
        "exec_mode: 'fork'"
    };
    let ecosystem = format!(
        "module.exports = {{ apps: [\n\
         {{ name: 'api', script: './server.js', {mode}, env: {{ LEVEL: '1' }}, env_staging: {{ LEVEL: '2' }} }},\n\
         {{ name: 'other', script: './server.js' }} ] }};\n"
    );
    let check = "[[component.check]]\nname = \"health\"\nkind = \"http\"\ninterval = \"100ms\"\ntimeout = \"3s\"\n\
                 url = \"http://127.0.0.1:8080/health\"\n";
    Piece::new("api", format!("kind = \"pm2\"\nuser = \"deploy\"\n{run}{check}"))
        .with("server.js", server)
        .with("ecosystem.config.js", ecosystem)
}

fn worker(version: &str) -> Piece {
    let ecosystem = "module.exports = { apps: [{ name: 'sync', script: './work.js' }] };\n";
    Piece::new("worker", "kind = \"pm2\"\nuser = \"deploy\"\nonly = [\"sync\"]\n")
        .with(
            "work.js",
            format!("console.log('{version}'); setInterval(() => {{}}, 1000);\n"),
        )
        .with("ecosystem.config.js", ecosystem)
}

#[test]
fn apps_are_started_replaced_put_back_and_come_up_again() {
    if !can_boot() {
        return;
    }
    let mut bench = Bench::new();
    let staging = "profile = \"staging\"\nenv = { EXTRA = \"x\" }\n";
    bench.push("v1.0.0", &[api("v1.0.0", staging, ""), worker("v1.0.0")]);
    bench.succeeds(&["rollout", "v1.0.0"]);
    assert_eq!(bench.health(), "v1.0.0 2 x");
    let online = |names: &[&str]| -> Vec<(String, String)> {
        let online = |name: &&str| ((*name).to_owned(), "online".to_owned());
        names.iter().map(online).collect()
    };
    assert_eq!(bench.list(), online(&["api", "sync"]));

    // Only the component that has changed is touched.
    let pid = || bench.says(&["pgrep", "--full", "work.js"]);
    let first = pid();
    bench.push("v1.1.0", &[api("v1.1.0", staging, ""), worker("v1.0.0")]);
    bench.succeeds(&["rollout", "v1.1.0"]);
    assert_eq!((bench.health().as_str(), pid()), ("v1.1.0 2 x", first));

    // What crashes goes, with the last words of its own.
    bench.push(
        "v1.2.0",
        &[
            api("v1.2.0", staging, "throw new Error('no such table');"),
            worker("v1.0.0"),
        ],
    );
    let bad = bench.ctl(&["rollout", "v1.2.0"]);
    assert_eq!(bad.code, 1, "{}", bad.stdout);
    assert!(bad.stdout.contains("no such table"), "{}", bad.stdout);
    assert!(!bad.stdout.contains("api v1.1.0 starts"), "{}", bad.stdout);
    assert_eq!(bench.health(), "v1.1.0 2 x");

    // An app that the ecosystem file does not have is no release.
    let lost = "only = [\"nosuch\"]\n";
    bench.push("v1.3.0", &[api("v1.3.0", lost, ""), worker("v1.0.0")]);
    let bad = bench.ctl(&["rollout", "v1.3.0"]);
    assert_eq!(bad.code, 1);
    assert!(
        bad.stdout.contains("ecosystem.config.js has no app nosuch"),
        "{}",
        bad.stdout
    );
    assert_eq!(bench.health(), "v1.1.0 2 x");

    let host = bench.fleet.hosts.host_mut("n01").unwrap();
    host.run(&["sync"]).unwrap();
    host.pull_the_plug().unwrap();
    host.boot().unwrap();
    wait_for("the apps to come up again", PATIENCE, || {
        (bench.health() == "v1.1.0 2 x").then_some(())
    })
    .unwrap();
    wait_for("the worker too", PATIENCE, || {
        (bench.list() == online(&["api", "sync"])).then_some(())
    })
    .unwrap();

    // What is not in the release any more goes; at the end all of it.
    bench.push("v1.4.0", &[api("v1.4.0", staging, "")]);
    bench.succeeds(&["rollout", "v1.4.0"]);
    assert_eq!(bench.list(), online(&["api"]));
    let stopped = bench.fleet.hosts.host("n01").unwrap();
    let stopped = stopped.run(&["fleet-agent", "stop"]).unwrap();
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    assert_eq!(bench.list(), []);
}

#[test]
fn a_reload_moves_instances_one_by_one() {
    if !can_boot() {
        return;
    }
    let bench = Bench::new();
    let reload = "on_change = \"reload\"\nprofile = \"staging\"\nenv = { EXTRA = \"x\" }\n";
    bench.push("v1.0.0", &[api("v1.0.0", reload, "")]);
    bench.push("v1.1.0", &[api("v1.1.0", reload, "")]);
    bench.succeeds(&["rollout", "v1.0.0"]);
    let host = bench.fleet.hosts.host("n01").unwrap();
    let asker = "#!/bin/sh\nwhile [ ! -e /run/done ]; do\n\
                 curl --silent --fail --max-time 5 --output /dev/null http://127.0.0.1:8080/health || echo gone $?\n\
                 done >/run/gaps 2>&1\n";
    host.write("/run/asker", asker.as_bytes(), 0o755).unwrap();
    bench.says(&["systemd-run", "--unit=asker", "/run/asker"]);
    bench.succeeds(&["rollout", "v1.1.0"]);
    assert_eq!(bench.health(), "v1.1.0 2 x");
    bench.succeeds(&["rollback"]);
    assert_eq!(bench.health(), "v1.0.0 2 x");
    bench.says(&["touch", "/run/done"]);
    wait_for("the asker to end", PATIENCE, || {
        (bench.says(&["systemctl", "is-active", "asker"]) != "active").then_some(())
    })
    .unwrap();
    assert_eq!(bench.says(&["cat", "/run/gaps"]), "");
}
