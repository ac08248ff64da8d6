//! Debian packages, from installation to purge, on hosts with a systemd of their own.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use fleet_tests::fleet::PATIENCE;
use fleet_tests::hosts::fleet::{CONFIG, HostFleet, STATE, agent_log, succeed_on};
use fleet_tests::hosts::host::Host;
use fleet_tests::hosts::package::Package;
use fleet_tests::hosts::{Hosts, can_boot};
use fleet_tests::layers::workspace;
use fleet_tests::sample::Behaviour;
use fleet_tests::wait::wait_for;

/// What `systemd-analyze security` may say of a unit, in tenths. The agent's is what a unit
/// without any sandbox has: what is set for it holds for every app.
const COORDINATOR_EXPOSURE_MAX: &str = "--threshold=12";
const AGENT_EXPOSURE_MAX: &str = "--threshold=96";
const AGENT_OF_WEB_APPS_EXPOSURE_MAX: &str = "--threshold=50";

fn ask(host: &Host, command: &[&str]) -> String {
    host.run(command).unwrap().stdout.trim().to_owned()
}

fn property(host: &Host, unit: &str, name: &str) -> String {
    ask(host, &["systemctl", "show", "--value", "--property", name, unit])
}

fn is_there(host: &Host, path: &str) -> bool {
    host.run(&["test", "-e", path]).unwrap().code == 0
}

fn mode_and_owner(host: &Host, path: &str) -> String {
    ask(host, &["stat", "--format=%a %U:%G", path])
}

fn text(host: &Host, path: &str) -> String {
    String::from_utf8(host.read(path).unwrap()).unwrap()
}

fn app(host: &Host) -> String {
    ask(host, &["pgrep", "--exact", "fleet-sample"])
}

fn assert_waits_to_be_configured(host: &Host, unit: &str, hint: &str, said: &str) {
    assert!(said.contains(hint), "{said}");
    assert_eq!(property(host, unit, "ActiveState"), "inactive");
    assert_eq!(property(host, unit, "ConditionResult"), "no");
    assert_eq!(property(host, unit, "NRestarts"), "0");
    assert_eq!(property(host, unit, "UnitFileState"), "enabled");
    assert_eq!(ask(host, &["systemctl", "is-system-running"]), "running");
}

/// The unit says that it is well, and is started again when it does not any more.
fn assert_is_watched(host: &Host, unit: &str) {
    let drop_in = format!("/run/systemd/system/{unit}.service.d/impatient.conf");
    host.write(&drop_in, b"[Service]\nWatchdogSec=3s\n", 0o644)
        .unwrap();
    succeed_on(host, &["systemctl", "daemon-reload"]).unwrap();
    succeed_on(host, &["systemctl", "restart", unit]).unwrap();
    let said = || property(host, unit, "WatchdogTimestampMonotonic");
    for _ in 0..3 {
        let before = said();
        wait_for("the loop to say that it turns", PATIENCE, || {
            (said() != before).then_some(())
        })
        .unwrap();
    }
    assert_eq!(property(host, unit, "NRestarts"), "0");
    let hung = property(host, unit, "MainPID");
    succeed_on(host, &["kill", "-STOP", &hung]).unwrap();
    wait_for("a service that hangs to be started again", PATIENCE, || {
        let is_another = property(host, unit, "MainPID") != hung;
        (is_another && property(host, unit, "ActiveState") == "active").then_some(())
    })
    .unwrap();
    assert_eq!(property(host, unit, "NRestarts"), "1");
    succeed_on(host, &["rm", &drop_in]).unwrap();
    succeed_on(host, &["systemctl", "daemon-reload"]).unwrap();
    succeed_on(host, &["systemctl", "restart", unit]).unwrap();
}

fn assert_exposure(host: &Host, unit: &str, max: &str) {
    succeed_on(host, &["systemd-analyze", "security", "--no-pager", max, unit]).unwrap();
}

#[test]
fn a_coordinator_is_installed_as_the_readme_says() {
    if !can_boot() {
        return;
    }
    let hosts = Hosts::start(1).unwrap();
    let host = hosts.host("n01").unwrap();
    let coordinator = Package::of("fleet-coordinator").unwrap();
    let init = "runuser -u fleet -- fleet-coordinator init --config /etc/fleet/coordinator.toml";
    let said = coordinator.install_on(host).unwrap().stdout;
    assert_waits_to_be_configured(host, "fleet-coordinator", init, &said);
    let home = "/var/lib/fleet/coordinator";
    assert_eq!(mode_and_owner(host, home), "700 fleet:fleet");
    assert_eq!(
        mode_and_owner(host, "/etc/fleet/coordinator.toml"),
        "644 root:root"
    );

    let by_root: Vec<&str> = init.split(' ').skip(4).collect();
    let refused = host.run(&by_root).unwrap();
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains(&format!("hint: {init}")),
        "{}",
        refused.stderr
    );
    let listen = "s/^listen = .*/listen = \"0.0.0.0:7443\"/";
    succeed_on(
        host,
        &["sed", "--in-place", listen, "/etc/fleet/coordinator.toml"],
    )
    .unwrap();
    succeed_on(host, &init.split(' ').collect::<Vec<_>>()).unwrap();
    succeed_on(host, &["systemctl", "start", "fleet-coordinator"]).unwrap();
    let ready = ["curl", "--fail", "http://127.0.0.1:7480/health/ready"];
    wait_for("the coordinator to be ready", PATIENCE, || {
        (host.run(&ready).unwrap().code == 0).then_some(())
    })
    .unwrap();
    assert_exposure(host, "fleet-coordinator", COORDINATOR_EXPOSURE_MAX);
    assert_is_watched(host, "fleet-coordinator");

    Package::of("fleetctl").unwrap().install_on(host).unwrap();
    let identity = format!("{home}/operators/admin");
    let status = [
        "fleetctl",
        "--coordinator=https://n01:7443",
        "--identity",
        &identity,
        "status",
    ];
    succeed_on(host, &status).unwrap();

    // A higher version goes on with the same state, and with the configuration as it was left.
    let directory = tempfile::tempdir().unwrap();
    let higher = coordinator.with_higher_version(directory.path()).unwrap();
    let config = text(host, "/etc/fleet/coordinator.toml");
    let before = property(host, "fleet-coordinator", "MainPID");
    higher.install_on(host).unwrap();
    assert_eq!(property(host, "fleet-coordinator", "ActiveState"), "active");
    assert_ne!(property(host, "fleet-coordinator", "MainPID"), before);
    assert_eq!(text(host, "/etc/fleet/coordinator.toml"), config);
    assert!(is_there(host, "/etc/fleet/coordinator.toml.dpkg-dist"));
    succeed_on(host, &status).unwrap();

    succeed_on(host, &["dpkg", "--remove", "fleet-coordinator"]).unwrap();
    assert!(is_there(host, &format!("{home}/state/journal")));
    assert!(is_there(host, "/etc/fleet/coordinator.toml"));
    succeed_on(host, &["dpkg", "--purge", "fleet-coordinator"]).unwrap();
    assert!(!is_there(host, "/var/lib/fleet") && !is_there(host, "/etc/fleet"));
}

#[test]
fn an_agent_that_is_not_enrolled_waits_for_it() {
    if !can_boot() {
        return;
    }
    let hosts = Hosts::start(1).unwrap();
    let host = hosts.host("n01").unwrap();
    let said = Package::of("fleet-agent")
        .unwrap()
        .install_on(host)
        .unwrap()
        .stdout;
    let hint = "fleet-agent enrol --token-file /run/fleet-join-token";
    assert_waits_to_be_configured(host, "fleet-agent", hint, &said);
    assert_eq!(mode_and_owner(host, STATE), "711 root:root");
    assert_exposure(host, "fleet-agent", AGENT_EXPOSURE_MAX);
    // Nothing was ever configured, so nothing is to be stopped.
    succeed_on(host, &["dpkg", "--purge", "fleet-agent"]).unwrap();
    assert!(!is_there(host, "/var/lib/fleet") && !is_there(host, "/etc/fleet"));
}

/// One host whose app runs.
fn fleet_of_one() -> HostFleet {
    let fleet = HostFleet::start(1).unwrap();
    fleet.fleet.push("v1.0.0", Behaviour::Good).unwrap();
    let rollout = fleet.fleet.ctl(&["rollout", "v1.0.0"]).unwrap();
    assert_eq!(rollout.code, 0, "{}", rollout.stderr);
    wait_until_it_serves(&fleet);
    // Others pass through to the files of releases, and to nothing else.
    let host = fleet.hosts.host("n01").unwrap();
    for (path, mode) in [
        ("identity", "700"),
        ("ledger.json", "600"),
        ("agent.sock", "600"),
        ("lock", "600"),
        ("apps/shop/run/web", "700"),
        ("apps/shop/slots", "711"),
    ] {
        let path = format!("{STATE}/{path}");
        assert_eq!(mode_and_owner(host, &path), format!("{mode} root:root"), "{path}");
    }
    fleet
}

fn wait_until_it_serves(fleet: &HostFleet) {
    wait_for("the app to serve", PATIENCE, || fleet.serves("n01"))
        .unwrap_or_else(|error| unreachable!("{error}\n{}", agent_log(fleet.hosts.host("n01").unwrap())));
}

#[test]
fn an_agent_is_upgraded_removed_and_installed_again_below_its_app() {
    if !can_boot() {
        return;
    }
    let fleet = fleet_of_one();
    let host = fleet.hosts.host("n01").unwrap();
    let package = Package::of("fleet-agent").unwrap();
    let (before, agent) = (app(host), property(host, "fleet-agent", "MainPID"));
    let config = text(host, CONFIG);
    assert!(!before.is_empty());

    let directory = tempfile::tempdir().unwrap();
    let higher = package.with_higher_version(directory.path()).unwrap();
    higher.install_on(host).unwrap();
    let version = ["dpkg-query", "--show", "--showformat=${Version}", "fleet-agent"];
    assert!(ask(host, &version).ends_with(".1"));
    assert_ne!(property(host, "fleet-agent", "MainPID"), agent);
    assert_eq!(property(host, "fleet-agent", "ActiveState"), "active");
    assert_eq!(app(host), before);
    assert_eq!(text(host, CONFIG), config);
    assert!(is_there(host, &format!("{CONFIG}.dpkg-dist")));

    // What somebody has stopped, an upgrade does not start.
    succeed_on(host, &["systemctl", "stop", "fleet-agent"]).unwrap();
    higher.install_on(host).unwrap();
    assert_eq!(property(host, "fleet-agent", "ActiveState"), "inactive");
    succeed_on(host, &["systemctl", "start", "fleet-agent"]).unwrap();
    assert_is_watched(host, "fleet-agent");
    assert_eq!(app(host), before);

    succeed_on(host, &["dpkg", "--remove", "fleet-agent"]).unwrap();
    fleet.fleet.wait_for_connections(0).unwrap();
    assert!(is_there(host, &format!("{STATE}/identity/key.pem")));
    assert_eq!(app(host), before);
    assert_eq!(text(host, CONFIG), config);
    package.install_on(host).unwrap();
    fleet.fleet.wait_for_connections(1).unwrap();
    assert_eq!(app(host), before);
    wait_until_it_serves(&fleet);

    succeed_on(host, &["dpkg", "--purge", "fleet-agent"]).unwrap();
    assert_eq!(app(host), "");
    assert_eq!(ask(host, &["pgrep", "fleet"]), "");
    assert!(!is_there(host, "/var/lib/fleet") && !is_there(host, "/etc/fleet"));
    assert_eq!(property(host, "fleet-agent", "LoadState"), "not-found");
}

#[test]
fn an_agent_told_to_stop_stays_stopped_and_may_come_back_stricter() {
    if !can_boot() {
        return;
    }
    let fleet = fleet_of_one();
    let host = fleet.hosts.host("n01").unwrap();
    succeed_on(host, &["fleet-agent", "stop"]).unwrap();
    wait_for("the service to end", PATIENCE, || {
        (property(host, "fleet-agent", "ActiveState") == "inactive").then_some(())
    })
    .unwrap();
    assert_eq!(app(host), "");

    let example = workspace().join("packaging/debian/agent/examples/web-apps.conf");
    let drop_in = "/etc/systemd/system/fleet-agent.service.d/web-apps.conf";
    host.write(drop_in, &std::fs::read(example).unwrap(), 0o644)
        .unwrap();
    succeed_on(host, &["systemctl", "daemon-reload"]).unwrap();
    assert_exposure(host, "fleet-agent", AGENT_OF_WEB_APPS_EXPOSURE_MAX);
    succeed_on(host, &["systemctl", "start", "fleet-agent"]).unwrap();
    wait_until_it_serves(&fleet);
    assert!(!app(host).is_empty());
}

#[test]
fn what_the_packages_bring_is_a_configuration() {
    use fleet_agent::config::Config as Agent;
    use fleet_coordinator::config::Config as Coordinator;
    let packaged = |path: &str| workspace().join("packaging/debian").join(path);
    let coordinator = Coordinator::read(&packaged("coordinator/coordinator.toml")).unwrap();
    assert!(coordinator.listen.ip().is_loopback());

    let version = format!("fleet ({}-1) ", env!("CARGO_PKG_VERSION"));
    let changelog = std::fs::read_to_string(packaged("changelog")).unwrap();
    assert!(changelog.starts_with(&version), "{changelog}");

    // The agent's with everything filled in as its comments show.
    let key = "fleet-release-key:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let text = std::fs::read_to_string(packaged("agent/agent.toml")).unwrap();
    let settings = text.lines().filter_map(|line| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        (line.starts_with('[') || line.contains(" = ")).then_some(line)
    });
    let filled = settings.collect::<Vec<_>>().join("\n");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    std::fs::write(&file, filled.replace("fleet-release-key:…", key)).unwrap();
    let agent = Agent::read(&file).unwrap();
    assert_eq!(agent.state, std::path::Path::new(STATE));
}
