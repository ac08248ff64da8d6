//! A bridge with a network of its own, and hosts that can be cut off from it.

use std::net::Ipv4Addr;

use anyhow::Context;

use crate::process::succeed;

/// Kept for measuring between networks (RFC 2544), and so nobody's own.
fn address(number: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, number, last)
}

pub struct Network {
    name: String,
    number: u8,
}

/// Which way packets no longer go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    FromHost,
    ToHost,
}

impl Cut {
    fn set(self) -> &'static str {
        match self {
            Self::FromHost => "from_hosts",
            Self::ToHost => "to_hosts",
        }
    }
}

impl Network {
    pub fn create(name: &str, number: u8) -> anyhow::Result<Self> {
        let outside = format!("{}/24", address(number, 1));
        // An address of its own: else the bridge takes one from its ports, and changes it.
        let hardware = format!("02:f1:ee:00:00:{number:02x}");
        succeed(
            "ip",
            ["link", "add", name, "address", &hardware, "type", "bridge"],
        )?;
        succeed("ip", ["address", "add", &outside, "dev", name])?;
        succeed("ip", ["link", "set", name, "up"])?;
        // A cut is silent: packets vanish, and the link stays up.
        let table = format!(
            "table bridge {name} {{
                set from_hosts {{ type ifname; }}
                set to_hosts {{ type ifname; }}
                chain arriving {{ type filter hook prerouting priority 0; iifname @from_hosts drop; }}
                chain leaving {{ type filter hook postrouting priority 0; oifname @to_hosts drop; }}
            }}"
        );
        succeed("nft", [table])?;
        Ok(Self {
            name: name.to_owned(),
            number,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of the machine on which the tests run.
    pub fn outside(&self) -> Ipv4Addr {
        address(self.number, 1)
    }

    pub fn host(&self, index: u8) -> Ipv4Addr {
        address(self.number, 10 + index)
    }
}

/// One host's end of the bridge.
pub struct Link {
    table: String,
    device: String,
}

impl Link {
    pub fn new(network: &str, machine: &str) -> Self {
        Self {
            table: network.to_owned(),
            // What nspawn calls it.
            device: format!("vb-{machine}"),
        }
    }

    pub fn cut(&self, cut: Cut) -> anyhow::Result<()> {
        let element = self.element(cut);
        succeed("nft", [format!("add element {element}")])?;
        Ok(())
    }

    /// Added first: taking away what is not there would be an error.
    pub fn mend(&self) -> anyhow::Result<()> {
        for cut in [Cut::FromHost, Cut::ToHost] {
            let element = self.element(cut);
            succeed(
                "nft",
                [format!("add element {element}; delete element {element}")],
            )?;
        }
        Ok(())
    }

    fn element(&self, cut: Cut) -> String {
        format!("bridge {} {} {{ \"{}\" }}", self.table, cut.set(), self.device)
    }

    /// The kernel does so by itself some time after the host's end; the next boot of the
    /// host cannot wait for that.
    pub fn remove(&self) -> anyhow::Result<()> {
        remove_devices(|name| name == self.device)
    }
}

/// Removes the bridge, what hangs on it, and its rules, as far as they are there.
pub fn remove(network: &str) -> anyhow::Result<()> {
    let ports = format!("vb-{network}-");
    remove_devices(|name| name == network || name.starts_with(&ports))?;
    succeed(
        "nft",
        [format!(
            "add table bridge {network}; delete table bridge {network}"
        )],
    )?;
    Ok(())
}

fn remove_devices(wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    for entry in std::fs::read_dir("/sys/class/net").context("no network devices")? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if wanted(&name)
            && let Err(error) = succeed("ip", ["link", "delete", &name])
        {
            // The kernel may have been quicker.
            anyhow::ensure!(!entry.path().exists(), error);
        }
    }
    Ok(())
}
