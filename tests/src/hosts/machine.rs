//! A running host: systemd-nspawn, and the systemd in it.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::Pid;

use crate::hosts::control_group;
use crate::wait::wait_for;

const PATIENCE: Duration = Duration::from_secs(60);
/// No command on a host may keep a test for longer.
const COMMAND_LIMIT_SECONDS: &str = "120";

pub struct Machine {
    name: String,
    nspawn: Child,
    leader: Pid,
}

/// What a host is booted from and with.
pub struct Boot<'a> {
    pub machine: &'a str,
    pub hostname: &'a str,
    pub root: &'a Path,
    pub bridge: &'a str,
    pub console: &'a Path,
}

impl Machine {
    pub fn boot(boot: &Boot<'_>) -> anyhow::Result<Self> {
        let console = File::options().create(true).append(true).open(boot.console)?;
        let groups: Vec<String> = control_group::create(boot.machine)?
            .into_iter()
            .map(|file| file.display().to_string())
            .collect();
        let mut nspawn = Command::new("sh")
            // Into its groups before it is nspawn: whatever it starts is there too.
            .args([
                "-c",
                "for g in $GROUPS_OF_HOST; do echo $$ >$g; done; exec \"$@\"",
                "sh",
            ])
            .env("GROUPS_OF_HOST", groups.join(" "))
            .args(["systemd-nspawn", "--quiet", "--keep-unit", "--register=no"])
            .args(["--link-journal=no", "--resolv-conf=off", "--timezone=off"])
            .arg("--console=pipe")
            .arg(format!("--machine={}", boot.machine))
            .arg(format!("--hostname={}", boot.hostname))
            .arg(format!("--network-bridge={}", boot.bridge))
            .arg("--directory")
            .arg(boot.root)
            // What `--boot` would say, too.
            .arg("--kill-signal=SIGRTMIN+3")
            .args(["sh", "-c", &init()])
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            .spawn()?;
        let leader = wait_for("systemd to start", PATIENCE, || {
            if let Ok(Some(status)) = nspawn.try_wait() {
                return Some(Err(anyhow::anyhow!("nspawn ended: {status}")));
            }
            leader_of(boot.machine).map(Ok)
        });
        let leader = leader
            .and_then(|leader| leader)
            .inspect_err(|_| end(boot.machine, &mut nspawn))?;
        Ok(Self {
            name: boot.machine.to_owned(),
            nspawn,
            leader,
        })
    }

    pub fn leader(&self) -> Pid {
        self.leader
    }

    pub fn power_off(&mut self) -> anyhow::Result<()> {
        // It may be gone before it can say that it was told.
        self.command(&["systemctl", "poweroff"]).output()?;
        wait_for(&format!("{} to shut down", self.name), PATIENCE, || {
            self.nspawn.try_wait().transpose()
        })??;
        Ok(())
    }

    /// A command as root in the host, with nothing of this process's environment.
    pub fn command(&self, command: &[&str]) -> Command {
        let mut inside = Command::new("timeout");
        inside
            .args(["--kill-after=5", COMMAND_LIMIT_SECONDS, "nsenter", "--target"])
            .arg(self.leader.to_string())
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"])
            .args(["env", "--ignore-environment", "HOME=/root", "LANG=C.UTF-8"])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args(command)
            .stdin(Stdio::null());
        inside
    }
}

/// What the host begins with: systemd, which learns at its start which controllers it may
/// write to. Those of version 1 are read-only for any host that nspawn is told to boot.
fn init() -> String {
    let controllers = control_group::CONTROLLERS.join(" ");
    format!(
        "for c in {controllers}; do
            test ! -d /sys/fs/cgroup/$c || mount -o remount,bind,rw /sys/fs/cgroup/$c
         done
         exec /lib/systemd/systemd"
    )
}

/// Process 1 of the host, when it has become systemd.
fn leader_of(machine: &str) -> Option<Pid> {
    control_group::processes(machine).into_iter().find(|process| {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let is_first = status
            .lines()
            .filter_map(|line| line.strip_prefix("NSpid:"))
            .any(|ids| ids.split_whitespace().skip(1).last() == Some("1"));
        is_first && status.starts_with("Name:\tsystemd\n")
    })
}

/// Nspawn alone would leave the host running: the kernel ends all of a host with its
/// process 1, and with nothing else.
fn end(machine: &str, nspawn: &mut Child) {
    let _ = control_group::clear(machine);
    let _ = nspawn.kill();
    let _ = nspawn.wait();
}

impl Drop for Machine {
    fn drop(&mut self) {
        end(&self.name, &mut self.nspawn);
    }
}
