//! What makes a new host one of its own: names, addresses, an id.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Context;

pub struct Seed {
    pub name: String,
    pub address: Ipv4Addr,
    pub gateway: Ipv4Addr,
    /// Who is called what, as in `/etc/hosts`.
    pub neighbours: Vec<(String, Ipv4Addr)>,
}

impl Seed {
    pub fn write_to(&self, upper: &Path) -> anyhow::Result<()> {
        let files = [
            ("etc/hostname", format!("{}\n", self.name)),
            ("etc/hosts", self.hosts()),
            // Given, or each boot before it is synced would be a first one, which switches
            // on every unit that it finds.
            (
                "etc/machine-id",
                format!(
                    "{:032x}\n",
                    0xf1ee_7000_0000_0000_u64 + u64::from(self.address.to_bits())
                ),
            ),
            // Sorts before the one that systemd brings for containers.
            (
                "etc/systemd/network/10-host0.network",
                format!(
                    "[Match]\nName=host0\n\n[Network]\nAddress={}/24\nGateway={}\nLinkLocalAddressing=no\n",
                    self.address, self.gateway
                ),
            ),
        ];
        for (path, text) in files {
            let path = upper.join(path);
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)?;
            }
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    fn hosts(&self) -> String {
        std::iter::once("127.0.0.1 localhost\n".to_owned())
            .chain(
                self.neighbours
                    .iter()
                    .map(|(name, address)| format!("{address} {name}\n")),
            )
            .collect()
    }
}
