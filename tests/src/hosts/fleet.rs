//! A fleet on real hosts: the coordinator beside the test, each agent a service of its
//! host's systemd, installed from its package.

use std::path::Path;

use anyhow::Context;

use crate::fleet::Fleet;
use crate::hosts::Hosts;
use crate::hosts::host::Host;
use crate::hosts::package::Package;

pub const CONFIG: &str = "/etc/fleet/agent.toml";
pub const STATE: &str = "/var/lib/fleet/agent";
/// Every host has all ports to itself.
const APP_PORT: u16 = 8080;

pub struct HostFleet {
    // The coordinator ends first, then the hosts and their bridge.
    pub fleet: Fleet,
    pub hosts: Hosts,
}

impl HostFleet {
    /// So many hosts, spread over three zones, all enrolled and connected.
    pub fn start(count: u8) -> anyhow::Result<Self> {
        let hosts = Hosts::start(count)?;
        let fleet = Fleet::with_coordinator_at(hosts.coordinator_address())?;
        for (host, zone) in hosts.iter().zip(["a", "b", "c"].into_iter().cycle()) {
            install_agent(host, &fleet)?;
            enrol(host, &fleet, zone)?;
            succeed_on(host, &["systemctl", "start", "fleet-agent"]).with_context(|| agent_log(host))?;
            succeed_on(host, &["sync"])?;
        }
        fleet.wait_for_connections(usize::from(count))?;
        Ok(Self { fleet, hosts })
    }

    /// The version that the app on the host says it is, when it is well.
    pub fn serves(&self, name: &str) -> Option<String> {
        let url = format!("http://127.0.0.1:{APP_PORT}/health");
        let answer = self
            .hosts
            .host(name)
            .ok()?
            .run(&["curl", "--silent", "--max-time", "2", &url])
            .ok()?;
        let health: serde_json::Value = serde_json::from_str(&answer.stdout).ok()?;
        (health["status"] == "healthy").then(|| health["version"].as_str().map(str::to_owned))?
    }
}

/// Installed, and told what the package's own configuration leaves to be filled in.
fn install_agent(host: &Host, fleet: &Fleet) -> anyhow::Result<()> {
    Package::of("fleet-agent")?.install_on(host)?;
    let config = fleet.agent_config(host.name(), Path::new(STATE), APP_PORT);
    host.write(CONFIG, config.as_bytes(), 0o644)
}

/// As a person does: a token in a file that is gone afterwards.
fn enrol(host: &Host, fleet: &Fleet, zone: &str) -> anyhow::Result<()> {
    const TOKEN: &str = "/run/fleet-token";
    let token = fleet.token(&["--label", &format!("zone={zone}"), "--uses", "1"])?;
    host.write(TOKEN, token.as_bytes(), 0o600)?;
    succeed_on(host, &["fleet-agent", "enrol", "--token-file", TOKEN])?;
    succeed_on(host, &["rm", TOKEN])?;
    Ok(())
}

pub fn succeed_on(host: &Host, command: &[&str]) -> anyhow::Result<String> {
    let ended = host.run(command)?;
    anyhow::ensure!(
        ended.code == 0,
        "{} on {}: {}",
        command.join(" "),
        host.name(),
        ended.stderr
    );
    Ok(ended.stdout)
}

/// What the agent has written since the host's boot, for a failed test to show.
pub fn agent_log(host: &Host) -> String {
    let log = host.run(&["journalctl", "--unit=fleet-agent", "--lines=60", "--no-pager"]);
    log.map_or_else(
        |error| error.to_string(),
        |log| format!("agent on {}:\n{}", host.name(), log.stdout),
    )
}
