//! Logs and drift of what a host's own systemd and pm2 run.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_proto::session::drift::Drifted;
use fleet_proto::view::NodeDriftView;
use fleet_tests::fleet::{Ended, PATIENCE};
use fleet_tests::hosts::can_boot;
use fleet_tests::hosts::fleet::{HostFleet, agent_log, succeed_on};
use fleet_tests::hosts::pieces::{Piece, push};
use fleet_tests::wait::wait_for;

const UNIT: &str = "/etc/systemd/system/shop.service";

struct Bench {
    fleet: HostFleet,
}

/// A unit of the system that says which release it is, and what is sent to it.
fn web(version: &str) -> Piece {
    let unit = "[Service]\nType=exec\nExecStart=${dir}/run\n[Install]\nWantedBy=multi-user.target\n";
    let run = "kind = \"systemd\"\nunit = \"shop.service\"\nfile = \"shop.service\"\n";
    let script = format!(
        "#!/bin/sh\necho web {version} starts\nmkfifo -m 666 /run/say 2>/dev/null\nwhile :; do cat /run/say; done\n"
    );
    Piece::new("web", run)
        .with("shop.service", unit)
        .with("run", script)
}

/// One of ann's own manager.
fn mine() -> Piece {
    let unit = "[Service]\nType=exec\nExecStart=${dir}/run\n[Install]\nWantedBy=default.target\n";
    let run = "kind = \"systemd\"\nunit = \"mine.service\"\nfile = \"mine.service\"\nuser = \"ann\"\n";
    let script = "#!/bin/sh\necho ann speaks\nexec sleep 1000\n";
    Piece::new("mine", run)
        .with("mine.service", unit)
        .with("run", script)
}

/// An app of a user's pm2.
fn sync() -> Piece {
    let ecosystem = "module.exports = { apps: [{ name: 'sync', script: './work.js' }] };\n";
    let work = "console.log('sync works'); console.error('sync \\u001b[31mfails');\n\
                setInterval(() => console.log('sync goes on'), 200);\n";
    Piece::new("worker", "kind = \"pm2\"\nuser = \"ann\"\nonly = [\"sync\"]\n")
        .with("work.js", work)
        .with("ecosystem.config.js", ecosystem)
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            fleet: HostFleet::start(1).unwrap(),
        };
        bench.on_host(&["useradd", "--create-home", "ann"]);
        bench.on_host(&["loginctl", "enable-linger", "ann"]);
        let host = bench.fleet.hosts.host("n01").unwrap();
        wait_for("ann's manager", PATIENCE, || {
            let looked = host.run(&["sh", "-c", "test -S /run/user/$(id --user ann)/bus"]);
            (looked.ok()?.code == 0).then_some(())
        })
        .unwrap();
        bench.roll_out("v1.0.0");
        bench
    }

    fn roll_out(&self, version: &str) {
        push(&self.fleet.fleet, version, "20s", &[web(version), mine(), sync()]).unwrap();
        self.done(&["rollout", version]);
    }

    fn on_host(&self, command: &[&str]) -> String {
        succeed_on(self.fleet.hosts.host("n01").unwrap(), command).unwrap()
    }

    fn done(&self, arguments: &[&str]) -> String {
        let Ended { code, stdout, stderr } = self.fleet.fleet.ctl(arguments).unwrap();
        let log = || agent_log(self.fleet.hosts.host("n01").unwrap());
        assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}\n{}", log());
        stdout
    }

    fn until_logged(&self, arguments: &[&str], words: &str) -> String {
        let look = || {
            let said = self.done(&[&["logs", "n01"], arguments].concat());
            said.contains(words).then_some(said)
        };
        wait_for(words, PATIENCE, look).unwrap()
    }

    fn kinds(&self) -> Vec<Drifted> {
        let ended = self
            .fleet
            .fleet
            .ctl(&["drift", "n01", "--output", "json"])
            .unwrap();
        let view: NodeDriftView = serde_json::from_str(&ended.stdout).unwrap();
        assert!(view.unknown.is_empty(), "{view:?}");
        assert_eq!(ended.code, i32::from(!view.findings.is_empty()), "{view:?}");
        let kinds = view.findings.into_iter().map(|finding| finding.what);
        let mut kinds: Vec<Drifted> = kinds.collect();
        kinds.sort_unstable();
        kinds
    }

    fn start_anew(&self) {
        self.done(&["node", "drain", "n01", "--force"]);
        wait_for("the drain", PATIENCE, || {
            let node = self.done(&["node", "show", "n01"]);
            node.contains("its apps are stopped").then_some(())
        })
        .unwrap();
        self.done(&["node", "undrain", "n01"]);
        let is_clean = || self.kinds().is_empty().then_some(());
        wait_for("nothing to be found any more", PATIENCE, is_clean).unwrap();
    }
}

#[test]
fn units_and_pm2_tell_their_logs_and_what_was_changed_by_hand() {
    if !can_boot() {
        return;
    }
    let bench = Bench::new();
    bench.until_logged(&["worker"], "sync works");
    let all = bench.until_logged(&[], "sync goes on");
    for words in [
        "web | 20",
        "Z web v1.0.0 starts",
        "mine | 20",
        "Z ann speaks",
        "worker | sync \\u{1b}[31mfails",
    ] {
        assert!(all.contains(words), "{words}: {all}");
    }
    assert!(!all.contains("fleet-agent"), "{all}");
    // journald has the times, so that what is old is left out.
    let is_old = || {
        let said = bench.done(&["logs", "n01", "web", "--since", "1s"]);
        (!said.contains("starts")).then_some(())
    };
    wait_for("the start to be long ago", PATIENCE, is_old).unwrap();
    let last = bench.done(&["logs", "n01", "web", "--lines", "1"]);
    assert_eq!(last.lines().count(), 1, "{last}");

    let following = bench
        .fleet
        .fleet
        .ctl_beside(&["logs", "n01", "--follow", "--output", "json"])
        .unwrap();
    bench.on_host(&["sh", "-c", "printf 'said \\377\\nto it\\n' >/run/say"]);
    bench.until_logged(&["web"], "to it");
    bench.roll_out("v1.1.0");
    bench.until_logged(&["web"], "web v1.1.0 starts");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(following.id()).unwrap());
    // What it has not read until then is on its way.
    bench.until_logged(&["web", "--lines", "5"], "web v1.1.0 starts");
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let said = following.wait_with_output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    for words in ["said \u{fffd}", "to it", "web v1.1.0 starts", "sync goes on"] {
        assert!(said.contains(words), "{words}: {said}");
    }

    assert_eq!(bench.kinds(), []);
    // Each of these as a person would do it, and all put right in the same way.
    bench.on_host(&["sh", "-c", &format!("echo 'Environment=A=1' >>{UNIT}")]);
    // What systemd says of a unit holds for some seconds.
    let both = [Drifted::UnitChanged, Drifted::UnitNotRead];
    let is_told = || (bench.kinds() == both).then_some(());
    wait_for("both of them", PATIENCE, is_told).unwrap();
    bench.on_host(&["systemctl", "daemon-reload"]);
    bench.on_host(&["systemctl", "disable", "shop"]);
    bench.on_host(&["systemctl", "stop", "shop"]);
    let all_of_it = [Drifted::UnitChanged, Drifted::UnitDisabled, Drifted::Stopped];
    let is_told = || (bench.kinds() == all_of_it).then_some(());
    wait_for("all of it", PATIENCE, is_told).unwrap();
    bench.start_anew();

    bench.on_host(&["mkdir", "-p", &format!("{UNIT}.d")]);
    bench.on_host(&["sh", "-c", &format!("echo '[Service]' >{UNIT}.d/override.conf")]);
    bench.on_host(&["systemctl", "daemon-reload"]);
    assert_eq!(bench.kinds(), [Drifted::UnitAdded]);
    bench.on_host(&["rm", &format!("{UNIT}.d/override.conf")]);
    bench.on_host(&["systemctl", "daemon-reload"]);
    let is_clean = || bench.kinds().is_empty().then_some(());
    wait_for("nothing to be found any more", PATIENCE, is_clean).unwrap();
}
