//! One host: its disk, its place in the network, and its systemd while the power is on.

use std::fs::File;
use std::io::{Seek, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::Pid;

use crate::fleet::Ended;
use crate::hosts::control_group;
use crate::hosts::machine::{Boot, Machine};
use crate::hosts::network::{Cut, Link, Network};
use crate::hosts::seed::Seed;
use crate::power::Disk;
use crate::process::succeed;
use crate::wait::wait_for;

/// Many hosts share two cores.
const PATIENCE: Duration = Duration::from_secs(120);
/// Room for Fleet's programs as they are built for tests, and a few releases. What is not
/// written takes none.
const DISK_MEBIBYTES: u64 = 1024;

pub struct Host {
    name: String,
    machine_name: String,
    address: Ipv4Addr,
    bridge: String,
    base: PathBuf,
    home: PathBuf,
    link: Link,
    disk: Option<Disk>,
    machine: Option<Machine>,
}

impl Host {
    /// A new one, with no power yet. Everything that is its own is in the directory.
    pub fn install(base: &Path, directory: &Path, network: &Network, seed: &Seed) -> anyhow::Result<Self> {
        let machine_name = format!("{}-{}", network.name(), seed.name);
        let home = directory.join(&seed.name);
        std::fs::create_dir_all(home.join("root"))?;
        let disk = Disk::create(&home, "disk", DISK_MEBIBYTES)?;
        std::fs::create_dir_all(disk.path().join("work"))?;
        seed.write_to(&disk.path().join("upper"))?;
        succeed("sync", ["--file-system".as_ref(), disk.path().as_os_str()])?;
        Ok(Self {
            name: seed.name.clone(),
            address: seed.address,
            bridge: network.name().to_owned(),
            base: base.to_owned(),
            link: Link::new(network.name(), &machine_name),
            machine_name,
            home,
            disk: Some(disk),
            machine: None,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Where the host's own things are on this machine, while it is there.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Process 1 of the host, as this machine calls it.
    pub fn leader(&self) -> anyhow::Result<Pid> {
        Ok(self.machine()?.leader())
    }

    /// Switches the power on, and waits until all that has to run does.
    pub fn boot(&mut self) -> anyhow::Result<()> {
        self.power_on()?;
        self.wait_until_running()
    }

    /// For many at once: the next can be switched on while this one boots.
    pub fn power_on(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.machine.is_none(), "{} runs already", self.name);
        let layers = format!(
            "lowerdir={},upperdir={disk}/upper,workdir={disk}/work",
            self.base.display(),
            disk = self.disk()?.path().display(),
        );
        let root = self.root();
        succeed(
            "mount",
            [
                "-t".as_ref(),
                "overlay".as_ref(),
                "overlay".as_ref(),
                "-o".as_ref(),
                layers.as_ref(),
                root.as_os_str(),
            ],
        )?;
        let machine = Machine::boot(&Boot {
            machine: &self.machine_name,
            hostname: &self.name,
            root: &root,
            bridge: &self.bridge,
            console: &self.home.join("console"),
        })
        .with_context(|| self.console())?;
        self.machine = Some(machine);
        Ok(())
    }

    pub fn wait_until_running(&self) -> anyhow::Result<()> {
        let state = wait_for(&format!("{} to boot", self.name), PATIENCE, || {
            let state = self.run(&["systemctl", "is-system-running"]).ok()?.stdout;
            ["running", "degraded", "maintenance"]
                .into_iter()
                .find(|settled| state.trim() == *settled)
        })
        .with_context(|| self.console())?;
        if state != "running" {
            let failed = self.run(&["systemctl", "list-units", "--failed", "--plain", "--no-legend"])?;
            anyhow::bail!("{} is {state}; failed:\n{}", self.name, failed.stdout);
        }
        Ok(())
    }

    /// Runs a command as root on the host.
    pub fn run(&self, command: &[&str]) -> anyhow::Result<Ended> {
        Ok(self.machine()?.command(command).output()?.into())
    }

    /// Writes a file, with the directories that it needs. It is on the disk for good.
    pub fn write(&self, path: &str, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
        let mut spool = tempfile::tempfile()?;
        spool.write_all(bytes)?;
        spool.rewind()?;
        let write = "install -D --mode=\"$2\" /dev/stdin \"$1\" && sync --file-system \"$1\"";
        let output = self
            .machine()?
            .command(&["sh", "-c", write, "sh", path, &format!("{mode:o}")])
            .stdin(spool)
            .output()?;
        self.succeeded(output, path)?;
        Ok(())
    }

    pub fn read(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let output = self.machine()?.command(&["cat", path]).output()?;
        self.succeeded(output, path)
    }

    fn succeeded(&self, output: Output, what: &str) -> anyhow::Result<Vec<u8>> {
        anyhow::ensure!(
            output.status.success(),
            "{what} on {}: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output.stdout)
    }

    /// The power is gone from one instant to the next, and with it whatever was not synced.
    pub fn pull_the_plug(&mut self) -> anyhow::Result<()> {
        let machine = self.machine.take().context("the power is off already")?;
        control_group::freeze(&self.machine_name)?;
        let image = self.disk()?.image_at_this_instant(&self.home, "after")?;
        drop(machine);
        self.link.remove()?;
        succeed("umount", [self.root()])?;
        drop(self.disk.take());
        let own = self.home.join("disk.img");
        std::fs::rename(&image, &own)?;
        self.disk = Some(Disk::from_image(own)?);
        Ok(())
    }

    /// As an orderly person does: every service is stopped, and what it wrote is kept.
    pub fn shut_down(&mut self) -> anyhow::Result<()> {
        let mut machine = self.machine.take().context("the power is off already")?;
        machine.power_off()?;
        drop(machine);
        self.link.remove()?;
        succeed("umount", [self.root()])?;
        Ok(())
    }

    /// Packets vanish from now on, both ways; the link stays up.
    pub fn cut_network(&self) -> anyhow::Result<()> {
        self.cut_one_way(Cut::FromHost)?;
        self.cut_one_way(Cut::ToHost)
    }

    pub fn cut_one_way(&self, way: Cut) -> anyhow::Result<()> {
        self.link.cut(way)
    }

    pub fn mend_network(&self) -> anyhow::Result<()> {
        self.link.mend()
    }

    /// Takes all room that is left on the disk; a power cut does not give it back.
    pub fn fill_disk(&self) -> anyhow::Result<()> {
        let file = File::create(self.ballast()?)?;
        let mut end = 0;
        let mut length = i64::try_from(DISK_MEBIBYTES << 20)?;
        while length >= 512 {
            match fallocate(&file, FallocateFlags::empty(), end, length) {
                Ok(()) => end += length,
                Err(Errno::ENOSPC) => length /= 2,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(file.sync_all()?)
    }

    pub fn free_disk(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.ballast()?)?)
    }

    /// Beside what the host sees of its disk.
    fn ballast(&self) -> anyhow::Result<PathBuf> {
        Ok(self.disk()?.path().join("ballast"))
    }

    fn disk(&self) -> anyhow::Result<&Disk> {
        self.disk
            .as_ref()
            .with_context(|| format!("{} lost its disk", self.name))
    }

    fn machine(&self) -> anyhow::Result<&Machine> {
        self.machine
            .as_ref()
            .with_context(|| format!("{} has no power", self.name))
    }

    fn root(&self) -> PathBuf {
        self.home.join("root")
    }

    /// The end of what the host said on its console, for a failed test to show.
    pub fn console(&self) -> String {
        let text = std::fs::read(self.home.join("console")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(40);
        format!("console of {}:\n{}", self.name, lines[from..].join("\n"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.machine.take());
        // Before the disk below it, which is dropped after this.
        let _ = succeed("umount", [self.root()]);
    }
}
