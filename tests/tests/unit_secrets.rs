//! Secrets of components that the node's own systemd runs.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_tests::fleet::{Ended, PATIENCE};
use fleet_tests::hosts::can_boot;
use fleet_tests::hosts::fleet::{CONFIG, HostFleet, agent_log, succeed_on};
use fleet_tests::hosts::pieces::{Piece, push};
use fleet_tests::wait::wait_for;

/// With everything that systemd could take for something else.
const PASSWORD: &str = "Qz7 \"50%\" \\ $HOME `id` 'x' #";
const KEY: &str = "Qz7-a-key";
const DROP_IN: &str = "/etc/systemd/system/shop.service.d/50-fleet.conf";

struct Bench {
    fleet: HostFleet,
}

impl Bench {
    fn new() -> Self {
        let fleet = HostFleet::start(1).unwrap();
        let bench = Self { fleet };
        let host = bench.fleet.hosts.host("n01").unwrap();
        let text = String::from_utf8(host.read(CONFIG).unwrap()).unwrap();
        let text = format!("{text}\n[secrets.files]\nkind = \"file\"\npath = \"/etc/shop-secrets\"\n");
        host.write(CONFIG, text.as_bytes(), 0o644).unwrap();
        succeed_on(host, &["mkdir", "--mode=0700", "/etc/shop-secrets"]).unwrap();
        bench.put("password", PASSWORD);
        bench.put("key", KEY);
        succeed_on(host, &["systemctl", "restart", "fleet-agent"]).unwrap();
        bench.fleet.fleet.wait_for_connections(1).unwrap();
        bench
    }

    fn put(&self, name: &str, value: &str) {
        let host = self.fleet.hosts.host("n01").unwrap();
        let path = format!("/etc/shop-secrets/{name}");
        host.write(&path, value.as_bytes(), 0o600).unwrap();
    }

    fn ctl(&self, arguments: &[&str], code: i32) -> String {
        let Ended {
            stdout,
            stderr,
            code: found,
        } = self.fleet.fleet.ctl(arguments).unwrap();
        let said = format!("{stdout}{stderr}");
        let log = || agent_log(self.fleet.hosts.host("n01").unwrap());
        assert_eq!(found, code, "{arguments:?}: {said}\n{}", log());
        said
    }

    fn says(&self, command: &[&str]) -> String {
        let Ended { stdout, stderr, .. } = self.fleet.hosts.host("n01").unwrap().run(command).unwrap();
        format!("{stdout}{stderr}").trim().to_owned()
    }

    /// As the service's own user, who is not root.
    fn wrote(&self) -> String {
        self.says(&["cat", "/run/shop/told"])
    }

    fn main_pid(&self) -> String {
        self.says(&["systemctl", "show", "--value", "--property", "MainPID", "shop"])
    }
}

fn service(more: &str) -> Piece {
    let unit = "[Service]\nType=exec\nDynamicUser=yes\nRuntimeDirectory=shop\nExecStart=${dir}/run\n\
                [Install]\nWantedBy=multi-user.target\n";
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$PASSWORD\" \"$(cat \"$CREDENTIALS_DIRECTORY/key\")\" >/run/shop/told\n{more}exec sleep 1000\n"
    );
    let secret = |name: &str, key: &str, given: &str| {
        format!(
            "[[component.secret]]\nname = \"{name}\"\nfrom = \"files\"\nkey = \"{key}\"\nas = \"{given}\"\n"
        )
    };
    let run = "kind = \"systemd\"\nunit = \"shop.service\"\nfile = \"shop.service\"\n".to_owned()
        + &secret("PASSWORD", "password", "env")
        + &secret("key", "key", "credential")
        + "[strategy]\nretries = 0\n";
    Piece::new("web", run)
        .with("shop.service", unit)
        .with("run", script)
}

#[test]
fn a_unit_has_its_variable_and_its_credential_and_nobody_else_reads_them() {
    if !can_boot() {
        return;
    }
    let mut bench = Bench::new();
    let push = |bench: &Bench, version: &str, more: &str| {
        push(&bench.fleet.fleet, version, "20s", &[service(more)]).unwrap();
    };
    let told = |password: &str| format!("{password}\n{KEY}");
    push(&bench, "v1.0.0", "");
    bench.ctl(&["rollout", "v1.0.0"], 0);
    wait_for("what it was told", PATIENCE, || {
        (bench.wrote() == told(PASSWORD)).then_some(())
    })
    .unwrap();

    // Whoever may read units, or ask systemd, finds nothing.
    let drop_in = bench.says(&["cat", DROP_IN]);
    assert!(
        drop_in.contains("EnvironmentFile=/") && drop_in.contains("LoadCredential=key:/"),
        "{drop_in}"
    );
    let shown =
        bench.says(&["systemctl", "show", "shop"]) + &bench.says(&["systemctl", "cat", "shop"]) + &drop_in;
    assert!(!shown.contains("Qz7"), "{shown}");
    let environment = drop_in
        .lines()
        .find_map(|line| line.strip_prefix("EnvironmentFile="))
        .unwrap();
    let nobody = ["setpriv", "--reuid=65534", "--clear-groups", "cat", environment];
    assert!(bench.says(&nobody).contains("Permission denied"));
    let owner = bench.says(&["stat", "--format=%U %a", "--dereference", environment]);
    assert_eq!(owner, "root 600");

    // The same secrets restart nothing; another one does, with the next release.
    let first = bench.main_pid();
    bench.ctl(&["rollout", "v1.0.0"], 0);
    assert_eq!(bench.main_pid(), first);
    bench.put("password", "Qz7-another");
    push(&bench, "v1.1.0", "");
    bench.ctl(&["rollout", "v1.1.0"], 0);
    wait_for("the other one", PATIENCE, || {
        (bench.wrote() == told("Qz7-another")).then_some(())
    })
    .unwrap();
    assert_ne!(bench.main_pid(), first);

    // What it says of it in the journal is not told.
    push(&bench, "v1.2.0", "echo \"the password is $PASSWORD\"\nexit 3\n");
    let said = bench.ctl(&["rollout", "v1.2.0"], 1);
    assert!(
        said.contains("the password is [redacted]") && !said.contains("Qz7"),
        "{said}"
    );

    // With its provider gone it goes back, and comes up with the machine and without the agent.
    bench.says(&["rm", "-r", "/etc/shop-secrets"]);
    bench.ctl(&["rollback"], 0);
    wait_for("the first one", PATIENCE, || {
        (bench.wrote() == told(PASSWORD)).then_some(())
    })
    .unwrap();
    bench.says(&["systemctl", "disable", "fleet-agent"]);
    bench.says(&["sync"]);
    let host = bench.fleet.hosts.host_mut("n01").unwrap();
    host.pull_the_plug().unwrap();
    host.boot().unwrap();
    wait_for("the unit to come up", PATIENCE, || {
        (bench.wrote() == told(PASSWORD)).then_some(())
    })
    .unwrap();
}
