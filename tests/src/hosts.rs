//! Real hosts for tests: each boots a systemd of its own, on a disk and with an address of
//! its own, in a second.
//!
//! ```text
//! base tree ─┬─ overlay, disk of n01 ── systemd-nspawn ── n01 ─┐
//!            └─ overlay, disk of n02 ── systemd-nspawn ── n02 ─┴─ bridge ── this machine
//! ```
//!
//! `tests/hosts-base` makes the base tree. Ended hosts, and those that a killed test left,
//! are found by the number that all their names begin with.

pub mod boundaries;
pub mod claim;
pub mod control_group;
pub mod database;
pub mod fleet;
pub mod host;
pub mod machine;
pub mod network;
pub mod package;
pub mod pieces;
pub mod seed;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::hosts::claim::Claim;
use crate::hosts::host::Host;
use crate::hosts::network::Network;
use crate::hosts::seed::Seed;
use crate::process::succeed;

pub struct Hosts {
    hosts: BTreeMap<String, Host>,
    network: Network,
    claim: Claim,
}

impl Hosts {
    /// So many hosts, `n01` and on, all booted.
    pub fn start(count: u8) -> anyhow::Result<Self> {
        let base = base()?;
        anyhow::ensure!(base.is_dir(), "no base tree for hosts\nhint: make hosts-base");
        let claim = Claim::take()?;
        let network = Network::create(&claim.name(), claim.number())?;
        let mut hosts = Self {
            hosts: BTreeMap::new(),
            network,
            claim,
        };
        for index in 1..=count {
            let seed = hosts.seed(index, count);
            let host = Host::install(&base, hosts.claim.directory(), &hosts.network, &seed)?;
            hosts.hosts.insert(seed.name, host);
        }
        for host in hosts.hosts.values_mut() {
            host.power_on()?;
        }
        for host in hosts.hosts.values() {
            host.wait_until_running()?;
        }
        Ok(hosts)
    }

    fn seed(&self, index: u8, count: u8) -> Seed {
        let name = |index: u8| format!("n{index:02}");
        Seed {
            name: name(index),
            address: self.network.host(index),
            gateway: self.network.outside(),
            neighbours: (1..=count)
                .map(|index| (name(index), self.network.host(index)))
                .collect(),
        }
    }

    /// Where a process on this machine listens for hosts.
    pub fn coordinator_address(&self) -> Ipv4Addr {
        self.network.outside()
    }

    pub fn host(&self, name: &str) -> anyhow::Result<&Host> {
        self.hosts.get(name).with_context(|| format!("no host {name}"))
    }

    pub fn host_mut(&mut self, name: &str) -> anyhow::Result<&mut Host> {
        self.hosts
            .get_mut(name)
            .with_context(|| format!("no host {name}"))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // Each in good order; then whatever is left.
        self.hosts.clear();
        let _ = self.claim.remove_leftovers();
    }
}

fn base() -> anyhow::Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hosts-base");
    let path = succeed(&script.to_string_lossy(), ["--path"])?;
    Ok(PathBuf::from(path.trim_end()))
}

#[expect(clippy::print_stderr, reason = "a skipped test has to say that it was")]
/// Hosts need root and the base tree. A test that has none says so; in CI that is a failure.
pub fn can_boot() -> bool {
    let missing = if !nix::unistd::geteuid().is_root() {
        "booting hosts needs root"
    } else if !base().is_ok_and(|base| base.is_dir()) {
        "booting hosts needs a base tree (make hosts-base)"
    } else {
        return true;
    };
    assert!(std::env::var_os("CI").is_none(), "CI must boot hosts: {missing}");
    eprintln!("skipped: {missing}");
    false
}
