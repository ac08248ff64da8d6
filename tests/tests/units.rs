//! Components that the node's own systemd runs.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_tests::fleet::{Ended, PATIENCE};
use fleet_tests::hosts::can_boot;
use fleet_tests::hosts::fleet::{HostFleet, agent_log};
use fleet_tests::hosts::pieces::{Piece, push, service};
use fleet_tests::wait::wait_for;

const UNIT: &str = "/etc/systemd/system/shop.service";
const GOOD: &str = "health = \"healthy\"\n";
const SICK: &str = "health = \"sick\"\n";
const EXITS: &str = "start = \"exit\"\n";

struct Bench {
    fleet: HostFleet,
}

impl Bench {
    fn new() -> Self {
        Self {
            fleet: HostFleet::start(1).unwrap(),
        }
    }

    fn push(&self, version: &str, pieces: &[Piece]) {
        push(&self.fleet.fleet, version, "20s", pieces).unwrap();
    }

    /// With all that it said in its output.
    fn rollout(&self, version: &str) -> Ended {
        let mut ended = self.fleet.fleet.ctl(&["rollout", version]).unwrap();
        ended.stdout.push_str(&ended.stderr);
        ended
    }

    fn succeeds(&self, version: &str) {
        let ended = self.rollout(version);
        let log = || agent_log(self.fleet.hosts.host("n01").unwrap());
        assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, log());
    }

    fn on_host(&self, command: &[&str]) -> Ended {
        self.fleet.hosts.host("n01").unwrap().run(command).unwrap()
    }

    fn says(&self, command: &[&str]) -> String {
        let Ended { stdout, stderr, .. } = self.on_host(command);
        format!("{stdout}{stderr}").trim().to_owned()
    }

    fn unit(&self, unit: &str, property: &str) -> String {
        self.says(&["systemctl", "show", "--value", "--property", property, unit])
    }

    fn serves(&self) -> Option<String> {
        self.fleet.serves("n01")
    }

    fn wait_until_serves(&self, version: &str) {
        wait_for(&format!("{version} to be served"), PATIENCE, || {
            (self.serves().as_deref() == Some(version)).then_some(())
        })
        .unwrap();
    }

    fn reboot(&mut self) {
        let host = self.fleet.hosts.host_mut("n01").unwrap();
        host.pull_the_plug().unwrap();
        host.boot().unwrap();
    }
}

#[test]
fn a_notify_service_is_installed_upgraded_and_put_back() {
    if !can_boot() {
        return;
    }
    let mut bench = Bench::new();
    bench.push("v1.0.0", &[service("v1.0.0", GOOD, "")]);
    bench.succeeds("v1.0.0");
    assert_eq!(bench.serves().as_deref(), Some("v1.0.0"));
    assert_eq!(bench.unit("shop", "ActiveState"), "active");
    assert_eq!(bench.says(&["systemctl", "is-enabled", "shop"]), "enabled");
    let unit = String::from_utf8(bench.fleet.hosts.host("n01").unwrap().read(UNIT).unwrap()).unwrap();
    assert!(unit.starts_with("# Installed by Fleet for web of shop"), "{unit}");
    assert!(unit.contains("/apps/shop/current/files/web/run"), "{unit}");
    let first = bench.unit("shop", "MainPID");

    // The same again restarts nothing; other files do, and the same unit is not read anew.
    bench.succeeds("v1.0.0");
    assert_eq!(bench.unit("shop", "MainPID"), first);
    bench.push("v1.1.0", &[service("v1.1.0", GOOD, "")]);
    bench.succeeds("v1.1.0");
    assert_eq!(bench.serves().as_deref(), Some("v1.1.0"));
    assert_ne!(bench.unit("shop", "MainPID"), first);

    // What the unit itself says anew holds.
    bench.push("v1.2.0", &[service("v1.2.0", GOOD, "Environment=LEVEL=2")]);
    bench.succeeds("v1.2.0");
    assert_eq!(bench.unit("shop", "Environment"), "LEVEL=2");

    // One that is sick goes, and its own last words are told.
    bench.push("v1.3.0", &[service("v1.3.0", SICK, "Environment=LEVEL=3")]);
    let sick = bench.rollout("v1.3.0");
    assert_eq!(sick.code, 1, "{}", sick.stdout);
    bench.wait_until_serves("v1.2.0");
    assert_eq!(bench.unit("shop", "Environment"), "LEVEL=2");
    assert!(sick.stdout.contains("sample v1.3.0 starts"), "{}", sick.stdout);
    assert!(!sick.stdout.contains("sample v1.2.0 starts"), "{}", sick.stdout);

    // It comes up with the machine, and without the agent.
    bench.on_host(&["systemctl", "disable", "fleet-agent"]);
    bench.on_host(&["sync"]);
    bench.reboot();
    bench.wait_until_serves("v1.2.0");
}

#[test]
fn a_crash_loop_up_to_the_start_limit_is_rolled_back() {
    if !can_boot() {
        return;
    }
    let bench = Bench::new();
    let unit = |kind: &str| format!("Type={kind}\nRestartSec=0");
    for kind in ["notify", "exec"] {
        let good = format!("v1.0.0-{kind}");
        bench.push(&good, &[service(&good, GOOD, &unit(kind))]);
        bench.succeeds(&good);
        let bad = format!("v2.0.0-{kind}");
        bench.push(&bad, &[service(&bad, EXITS, &unit(kind))]);
        let ended = bench.rollout(&bad);
        assert_eq!(ended.code, 1, "{}", ended.stdout);
        bench.wait_until_serves(&good);
        assert_eq!(bench.unit("shop", "ActiveState"), "active");
    }
}

#[test]
fn a_reload_and_instances_and_a_unit_of_the_node_s_own() {
    if !can_boot() {
        return;
    }
    let bench = Bench::new();
    let loop_of = |act: &str| format!("#!/bin/sh\ntrap '{act}' HUP\n{act}\nwhile :; do sleep 0.05; done\n");
    let pieces = |version: &str| {
        let edge_unit =
            "[Service]\nEnvironment=FILES=${dir}\nExecStart=${dir}/run\nExecReload=kill -HUP $MAINPID\n";
        let edge = "kind = \"systemd\"\nunit = \"edge.service\"\nfile = \"edge.service\"\non_change = \"reload\"\n\
                    env = { LEVEL = \"50% \\\"x\\\"\" }\n";
        let worker_unit = "[Service]\nExecStart=${dir}/run %i ${LEVEL}\nEnvironment=LEVEL=7\n";
        let worker = "kind = \"systemd\"\nunit = \"worker@.service\"\nfile = \"worker@.service\"\ninstances = [\"1\", \"2\"]\n";
        vec![
            Piece::new("edge", edge)
                .with("edge.service", edge_unit)
                .with("version", version)
                .with(
                    "run",
                    loop_of("cp $FILES/version /run/edge; echo \"$LEVEL\" >/run/level"),
                ),
            Piece::new("worker", worker)
                .with("worker@.service", worker_unit)
                .with(
                    "run",
                    "#!/bin/sh\necho \"$1 $2\" >/run/worker-$1\nexec sleep 1000\n",
                ),
            Piece::new("clock", "kind = \"systemd\"\nunit = \"clock.service\"\n").with("version", version),
        ]
    };
    bench.push("v1.0.0", &pieces("v1.0.0"));
    let refused = bench.rollout("v1.0.0");
    assert_eq!(refused.code, 1);
    assert!(
        refused.stdout.contains("clock.service is not on this node"),
        "{}",
        refused.stdout
    );
    let clock = "[Service]\nExecStart=sleep infinity\n";
    let host = bench.fleet.hosts.host("n01").unwrap();
    host.write("/etc/systemd/system/clock.service", clock.as_bytes(), 0o644)
        .unwrap();
    let again = bench.fleet.fleet.ctl(&["rollout", "v1.0.0", "--again"]).unwrap();
    assert_eq!(
        again.code,
        0,
        "{}{}\n{}",
        again.stdout,
        again.stderr,
        agent_log(host)
    );
    assert_eq!(bench.says(&["cat", "/run/edge"]), "v1.0.0");
    assert_eq!(bench.says(&["cat", "/run/level"]), "50% \"x\"");
    assert_eq!(bench.says(&["cat", "/run/worker-1", "/run/worker-2"]), "1 7\n2 7");
    let pids = || ["edge", "worker@1", "worker@2", "clock"].map(|unit| bench.unit(unit, "MainPID"));
    let first = pids();

    // Only what has changed is touched, and what reloads goes on.
    bench.push("v1.1.0", &pieces("v1.1.0"));
    bench.succeeds("v1.1.0");
    let second = pids();
    assert_eq!(first[..3], second[..3]);
    assert_ne!(first[3], second[3]);
    wait_for("the reload", PATIENCE, || {
        (bench.says(&["cat", "/run/edge"]) == "v1.1.0").then_some(())
    })
    .unwrap();

    // What is not in the release any more is stopped and taken away; what is the node's stays.
    bench.push("v1.2.0", &pieces("v1.1.0")[..1]);
    bench.succeeds("v1.2.0");
    assert_eq!(pids(), [second[0].as_str(), "0", "0", "0"]);
    assert_ne!(
        bench.on_host(&["ls", "/etc/systemd/system/worker@.service"]).code,
        0
    );
    assert_eq!(
        bench.on_host(&["ls", "/etc/systemd/system/clock.service"]).code,
        0
    );

    // And comes back.
    let back = bench.fleet.fleet.ctl(&["rollback", "--to", "v1.1.0"]).unwrap();
    assert_eq!(back.code, 0, "{}{}", back.stdout, back.stderr);
    assert_eq!(bench.unit("worker@2", "ActiveState"), "active");
}

#[test]
fn a_unit_of_a_user_is_run_by_that_user_s_own_manager() {
    if !can_boot() {
        return;
    }
    let bench = Bench::new();
    let run = "kind = \"systemd\"\nunit = \"mine.service\"\nfile = \"mine.service\"\nuser = \"ann\"\n";
    let unit = "[Service]\nType=exec\nWorkingDirectory=${dir}\nExecStart=${dir}/run\n\
                [Install]\nWantedBy=default.target\n";
    let mine = |version: &str| {
        let script = format!(
            "#!/bin/sh\necho \"{version} of $(id --user --name)\" | tee /tmp/mine\nexec sleep 1000\n"
        );
        Piece::new("mine", run)
            .with("mine.service", unit)
            .with("run", script)
    };
    bench.push("v1.0.0", &[mine("v1.0.0")]);
    let refused = bench.rollout("v1.0.0");
    assert!(
        refused.stdout.contains("there is no user ann on this node"),
        "{}",
        refused.stdout
    );
    let made = bench.on_host(&["useradd", "--create-home", "ann"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    bench.on_host(&["loginctl", "enable-linger", "ann"]);
    wait_for("ann's manager", PATIENCE, || {
        (bench
            .on_host(&["sh", "-c", "test -S /run/user/$(id --user ann)/bus"])
            .code
            == 0)
            .then_some(())
    })
    .unwrap();
    bench.push("v1.1.0", &[mine("v1.1.0")]);
    bench.succeeds("v1.1.0");
    assert_eq!(bench.says(&["cat", "/tmp/mine"]), "v1.1.0 of ann");
    bench.push("v1.2.0", &[mine("v1.2.0")]);
    bench.succeeds("v1.2.0");
    assert_eq!(bench.says(&["cat", "/tmp/mine"]), "v1.2.0 of ann");
    let back = bench.fleet.fleet.ctl(&["rollback"]).unwrap();
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(bench.says(&["cat", "/tmp/mine"]), "v1.1.0 of ann");
    // What wrote goes with the agent's end of the talk.
    let stopped = bench.on_host(&["fleet-agent", "stop"]);
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    assert_ne!(bench.on_host(&["pgrep", "--uid", "ann", "sleep"]).code, 0);
    assert_ne!(bench.on_host(&["pgrep", "--uid", "ann", "fleet-agent"]).code, 0);
}

#[test]
fn what_a_person_has_put_there_or_stopped_is_let_be() {
    if !can_boot() {
        return;
    }
    let mut bench = Bench::new();
    bench.push("v1.0.0", &[service("v1.0.0", GOOD, "")]);
    let host = bench.fleet.hosts.host("n01").unwrap();
    host.write(UNIT, b"[Service]\nExecStart=sleep infinity\n", 0o644)
        .unwrap();
    let refused = bench.rollout("v1.0.0");
    assert_eq!(refused.code, 1);
    assert!(
        refused.stdout.contains("was not put there by Fleet"),
        "{}",
        refused.stdout
    );
    bench.on_host(&["rm", UNIT]);
    let again = ["rollout", "v1.0.0", "--again", "--supersede"];
    let again = bench.fleet.fleet.ctl(&again).unwrap();
    assert_eq!(again.code, 0, "{}{}", again.stdout, again.stderr);

    bench.on_host(&["systemctl", "stop", "shop"]);
    wait_for("the stop to be told", PATIENCE, || {
        let status = bench.says(&["fleet-agent", "status"]);
        status.contains("shop.service is inactive").then_some(())
    })
    .unwrap();
    assert_eq!(bench.unit("shop", "ActiveState"), "inactive");

    // A node that is drained starts nothing when it boots.
    bench.on_host(&["systemctl", "start", "shop"]);
    bench.wait_until_serves("v1.0.0");
    let drained = bench.fleet.fleet.ctl(&["node", "drain", "n01"]).unwrap();
    assert_eq!(drained.code, 0, "{}", drained.stderr);
    wait_for("the drain", PATIENCE, || {
        (bench.unit("shop", "ActiveState") == "inactive").then_some(())
    })
    .unwrap();
    bench.on_host(&["sync"]);
    bench.reboot();
    bench.fleet.fleet.wait_for_connections(1).unwrap();
    assert_eq!(bench.unit("shop", "ActiveEnterTimestamp"), "");
    let back = bench.fleet.fleet.ctl(&["node", "undrain", "n01"]).unwrap();
    assert_eq!(back.code, 0, "{}", back.stderr);
    bench.wait_until_serves("v1.0.0");
}

#[test]
fn a_web_root_is_switched_in_one_step() {
    if !can_boot() {
        return;
    }
    let bench = Bench::new();
    let site = |version: &str| {
        vec![Piece::new("site", "kind = \"static\"\nroot = \"/var/www/shop\"\n").with("index.html", version)]
    };
    bench.push("v1.0.0", &site("one"));
    bench.push("v1.1.0", &site("two"));
    bench.succeeds("v1.0.0");
    // Whoever reads through it is no user of the agent's.
    let read = [
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        "cat",
        "/var/www/shop/index.html",
    ];
    assert_eq!(bench.says(&read), "one");
    let host = bench.fleet.hosts.host("n01").unwrap();
    let reader = "#!/bin/sh\nwhile [ ! -e /run/done ]; do cat /var/www/shop/index.html >/dev/null || echo gone; done >/run/gaps 2>&1\n";
    host.write("/run/reader", reader.as_bytes(), 0o755).unwrap();
    bench.on_host(&["systemd-run", "--unit=reader", "/run/reader"]);
    bench.succeeds("v1.1.0");
    assert_eq!(bench.says(&read), "two");
    let back = bench.fleet.fleet.ctl(&["rollback"]).unwrap();
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(bench.says(&read), "one");
    bench.on_host(&["touch", "/run/done"]);
    wait_for("the reader to end", PATIENCE, || {
        (bench.unit("reader", "ActiveState") == "inactive").then_some(())
    })
    .unwrap();
    assert_eq!(bench.says(&["cat", "/run/gaps"]), "");

    // A person's link is let be.
    bench.on_host(&["ln", "-sfn", "/tmp", "/var/www/shop"]);
    assert_eq!(bench.rollout("v1.1.0").code, 1);
    assert_eq!(bench.says(&["readlink", "/var/www/shop"]), "/tmp");
}
