//! A night's work on five hosts with a systemd of their own: packages, a notify service, waves,
//! bad releases, and everything that may befall a host in the middle.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_proto::session::Phase;
use fleet_proto::view::RolloutStateView;
use fleet_tests::fleet::{Ended, PATIENCE};
use fleet_tests::hosts::can_boot;
use fleet_tests::hosts::fleet::{HostFleet, agent_log};
use fleet_tests::hosts::package::Package;
use fleet_tests::hosts::pieces::{push, service};
use fleet_tests::wait::wait_for;

const HOSTS: u8 = 5;
const GOOD: &str = "health = \"healthy\"\n";
const SICK: &str = "health = \"sick\"\n";

struct Night {
    fleet: HostFleet,
}

impl Night {
    fn begin() -> Self {
        let fleet = HostFleet::start(HOSTS).unwrap();
        for version in ["v1.0.0", "v1.1.0", "v1.2.0", "v1.4.0"] {
            push(&fleet.fleet, version, "60s", &[service(version, GOOD, "")]).unwrap();
        }
        push(&fleet.fleet, "v1.3.0", "5s", &[service("v1.3.0", SICK, "")]).unwrap();
        Self { fleet }
    }

    fn names(&self) -> Vec<String> {
        self.fleet
            .hosts
            .iter()
            .map(|host| host.name().to_owned())
            .collect()
    }

    fn logs(&self) -> String {
        let logs: Vec<String> = self.fleet.hosts.iter().map(agent_log).collect();
        logs.join("\n")
    }

    fn ctl(&self, arguments: &[&str], code: i32) -> String {
        let Ended {
            stdout,
            stderr,
            code: found,
        } = self.fleet.fleet.ctl(arguments).unwrap();
        assert_eq!(found, code, "{arguments:?}: {stdout}{stderr}\n{}", self.logs());
        format!("{stdout}{stderr}")
    }

    fn serves(&self, host: &str) -> Option<String> {
        self.fleet.serves(host)
    }

    fn assert_all_serve(&self, version: &str) {
        for host in self.names() {
            wait_for(&format!("{host} to serve {version}"), PATIENCE, || {
                (self.serves(&host).as_deref() == Some(version)).then_some(())
            })
            .unwrap_or_else(|error| unreachable!("{error}\n{}", self.logs()));
        }
    }

    /// A rollout by waves, and a host that is in the middle of its step.
    fn in_the_middle_of(&self, version: &str, waves: &str) -> (u64, String) {
        let waves = ["--waves", waves, "--max-unreachable", "1", "--detach"];
        self.ctl(&[&["rollout", version][..], &waves].concat(), 0);
        let rollouts = self.fleet.fleet.status().unwrap().rollouts;
        let number = rollouts.iter().map(|rollout| rollout.number.0).max().unwrap();
        let host = wait_for("a host in the middle of its step", PATIENCE, || {
            let rollout = self.fleet.fleet.rollout(number).ok()?;
            assert!(!rollout.state.is_ended(), "too late: {rollout:#?}");
            let is_at_it = |phase| matches!(phase, Phase::Activating | Phase::Verifying);
            let step = rollout.steps.iter().find(|step| is_at_it(step.phase))?;
            Some(step.node.to_string())
        });
        (number, host.unwrap())
    }

    fn assert_succeeds(&self, number: u64) {
        let state = wait_for("the rollout to end", 3 * PATIENCE, || {
            let state = self.fleet.fleet.rollout(number).ok()?.state;
            state.is_ended().then_some(state)
        })
        .unwrap_or_else(|error| {
            let explained = self.fleet.fleet.ctl(&["explain"]).unwrap().stdout;
            unreachable!("{error}\n{explained}\n{}", self.logs())
        });
        assert_eq!(state, RolloutStateView::Succeeded, "{}", self.logs());
    }

    fn on(&self, host: &str, command: &[&str]) -> Ended {
        self.fleet.hosts.host(host).unwrap().run(command).unwrap()
    }

    fn pid(&self, host: &str) -> String {
        let shown = self.on(
            host,
            &["systemctl", "show", "--value", "--property=MainPID", "shop"],
        );
        shown.stdout.trim().to_owned()
    }
}

#[test]
fn a_fleet_of_five_comes_through_a_night() {
    if !can_boot() {
        return;
    }
    let mut night = Night::begin();
    night.ctl(&["rollout", "v1.0.0"], 0);
    night.assert_all_serve("v1.0.0");

    // A host is rebooted in the middle, the hard way.
    let (number, host) = night.in_the_middle_of("v1.1.0", "20,60,100");
    let machine = night.fleet.hosts.host_mut(&host).unwrap();
    machine.pull_the_plug().unwrap();
    machine.boot().unwrap();
    night.assert_succeeds(number);
    night.assert_all_serve("v1.1.0");

    // Another is cut off in the middle, until it is missed. Others of its wave get good.
    let (number, host) = night.in_the_middle_of("v1.2.0", "60,100");
    let machine = night.fleet.hosts.host(&host).unwrap();
    machine.cut_network().unwrap();
    wait_for("the host to be missed", PATIENCE, || {
        let rollout = night.fleet.fleet.rollout(number).ok()?;
        let mut steps = rollout.steps.iter();
        steps
            .any(|step| step.node.as_str() == host && step.unreachable)
            .then_some(())
    })
    .unwrap();
    machine.mend_network().unwrap();
    night.assert_succeeds(number);
    night.assert_all_serve("v1.2.0");

    // A bad release goes no further than the first of them.
    let said = night.ctl(&["rollout", "v1.3.0", "--waves", "20,60,100"], 1);
    assert!(said.contains("sample v1.3.0 starts"), "{said}");
    night.assert_all_serve("v1.2.0");

    // A person wants the one before.
    night.ctl(&["rollback"], 0);
    night.assert_all_serve("v1.1.0");

    // One host's disk is full: that is no fault of the release.
    let full = night.fleet.hosts.host("n05").unwrap();
    full.fill_disk().unwrap();
    let strategy = ["--max-in-flight", "5", "--max-unavailable", "100%"];
    let said = night.ctl(&[&["rollout", "v1.4.0"][..], &strategy].concat(), 1);
    assert!(said.contains("paused") && said.contains("n05"), "{said}");
    assert_eq!(night.serves("n05").as_deref(), Some("v1.1.0"));
    full.free_disk().unwrap();
    let number = night.fleet.fleet.status().unwrap().rollouts;
    let number = number.iter().map(|rollout| rollout.number.0).max().unwrap();
    night.ctl(&["retry", &number.to_string()], 0);
    night.assert_succeeds(number);
    night.assert_all_serve("v1.4.0");

    // With no coordinator there, a node is put back on the node.
    night.fleet.fleet.kill_coordinator().unwrap();
    let back = night.on("n02", &["fleet-agent", "rollback"]);
    assert_eq!(back.code, 0, "{}", back.stderr);
    assert_eq!(night.serves("n02").as_deref(), Some("v1.1.0"));
    night.fleet.fleet.start_coordinator().unwrap();
    night
        .fleet
        .fleet
        .wait_for_connections(usize::from(HOSTS))
        .unwrap();
    wait_for("the coordinator to know", PATIENCE, || {
        let events = night.fleet.fleet.ctl(&["events"]).ok()?.stdout;
        (events.contains("n02") && events.contains("by hand")).then_some(())
    })
    .unwrap();
    assert_eq!(night.serves("n02").as_deref(), Some("v1.1.0"));

    // A new agent everywhere, and no app has noticed.
    let pids: Vec<String> = night.names().iter().map(|host| night.pid(host)).collect();
    let directory = tempfile::tempdir().unwrap();
    let higher = Package::of("fleet-agent").unwrap();
    let higher = higher.with_higher_version(directory.path()).unwrap();
    for host in night.fleet.hosts.iter() {
        higher.install_on(host).unwrap();
    }
    night
        .fleet
        .fleet
        .wait_for_connections(usize::from(HOSTS))
        .unwrap();
    let after: Vec<String> = night.names().iter().map(|host| night.pid(host)).collect();
    assert_eq!(after, pids);
}
