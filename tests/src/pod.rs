//! A pod without a cluster: process and network namespaces of its own, the agent as process 1,
//! a root that cannot be written to, a user that is nobody, no capabilities. What it may write
//! to is a directory that outlives its container, as an `emptyDir` does, and `/tmp`.

use std::fs::File;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::hosts::claim::Claim;
use crate::hosts::network::Network;
use crate::process::{program, succeed};
use crate::wait::wait_for;

/// As the images have it.
pub const USER: u32 = 65532;
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the pod finds its configuration and the program; read-only, like everything there.
pub const CONFIG: &str = "/mnt/agent.toml";
/// The `emptyDir`.
pub const STATE: &str = "/srv";
/// Mounts, in a namespace of their own; then what Kubernetes would run, in the place of the
/// shell, which is process 1.
const CONTAINER: &str = "set -e
    ip link set lo up
    mount --bind / $POD/root
    mount -o remount,bind,ro $POD/root
    mount --bind $POD/mnt $POD/root/mnt
    mount -o remount,bind,ro $POD/root/mnt
    mount --bind $POD/srv $POD/root/srv
    mount --bind /dev $POD/root/dev
    mount -t tmpfs -o mode=1777 tmpfs $POD/root/tmp
    mount -t proc proc $POD/root/proc
    exec env --ignore-environment PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/tmp FLEET_AGENT_CONFIG=/mnt/agent.toml chroot $POD/root \
        setpriv --reuid=65532 --regid=65532 --clear-groups --inh-caps=-all --ambient-caps=-all \
        --bounding-set=-all --no-new-privs /mnt/fleet-agent run";

/// Root, and what Debian has for it. A test that has neither says so; in CI that is a failure.
#[expect(clippy::print_stderr, reason = "a skipped test has to say that it was")]
pub fn can_run() -> bool {
    let has = |tool: &str| succeed(tool, ["--version"]).is_ok();
    let missing = if !nix::unistd::geteuid().is_root() {
        "a pod needs root"
    } else if !["unshare", "setpriv", "nsenter"].into_iter().all(has)
        || succeed("nft", ["--version"]).is_err()
    {
        "a pod needs util-linux and nftables (make hosts-base)"
    } else {
        return true;
    };
    assert!(std::env::var_os("CI").is_none(), "CI must run pods: {missing}");
    eprintln!("skipped: {missing}");
    false
}

pub struct Pod {
    directory: PathBuf,
    network: Network,
    container: Option<Container>,
    claim: Claim,
}

struct Container {
    unshare: Child,
    first: Pid,
}

impl Pod {
    /// Laid out, and not started yet.
    pub fn lay_out() -> anyhow::Result<Self> {
        let claim = Claim::take()?;
        let network = Network::create(&claim.name(), claim.number())?;
        let directory = claim.directory().to_owned();
        for name in ["root", "mnt", "srv"] {
            std::fs::create_dir(directory.join(name))?;
        }
        chown(directory.join("srv"), Some(USER), Some(USER))?;
        std::fs::copy(program("fleet-agent")?, directory.join("mnt/fleet-agent"))?;
        Ok(Self {
            directory,
            network,
            container: None,
            claim,
        })
    }

    /// Where a process on this machine listens for it.
    pub fn outside(&self) -> std::net::Ipv4Addr {
        self.network.outside()
    }

    pub fn mount(&self, name: &str, text: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.directory.join("mnt").join(name), text)?)
    }

    /// What the pod has written, or will find.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join("srv").join(name)
    }

    /// A file of its own making, which it may write to.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.file(name);
        std::fs::write(&path, text)?;
        Ok(std::fs::set_permissions(
            path,
            std::fs::Permissions::from_mode(0o666),
        )?)
    }

    /// A container, on what the one before has left.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("log"))?;
        let unshare = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--ipc",
                "--uts",
                "--fork",
                "--kill-child=SIGKILL",
            ])
            .args(["sh", "-c", CONTAINER])
            .env("POD", &self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let parent = unshare.id();
        let container = self.container.insert(Container {
            unshare,
            first: Pid::from_raw(0),
        });
        container.first = wait_for("the pod's first process", PATIENCE, || child_of(parent))?;
        self.connect()
    }

    /// A device in the pod, at the bridge.
    fn connect(&self) -> anyhow::Result<()> {
        let (bridge, first) = (self.network.name(), self.first()?.to_string());
        // By these names it is found if this test is killed.
        let device = format!("vb-{bridge}-pod");
        let peer = format!("vp-{bridge}");
        let address = format!("{}/24", self.network.host(1));
        let link = [
            "link", "add", &device, "master", bridge, "up", "type", "veth", "peer", "name", &peer,
        ];
        succeed("ip", link)?;
        succeed("ip", ["link", "set", &peer, "netns", &first, "name", "eth0"])?;
        let inside = ["--target", &first, "--net", "ip"];
        succeed(
            "nsenter",
            [&inside[..], &["address", "add", &address, "dev", "eth0"]].concat(),
        )?;
        succeed("nsenter", [&inside[..], &["link", "set", "eth0", "up"]].concat())?;
        Ok(())
    }

    /// Process 1, as it is called outside.
    pub fn first(&self) -> anyhow::Result<Pid> {
        let container = self.container.as_ref().context("no container runs")?;
        Ok(container.first)
    }

    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(self.first()?, signal)?)
    }

    /// How the container ends.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let container = self.container.as_mut().context("no container runs")?;
        let ended = wait_for("the pod to end", PATIENCE, || {
            container.unshare.try_wait().transpose()
        })??;
        self.container = None;
        self.disconnect();
        Ok(ended)
    }

    /// The machine takes it away: nothing in it is told.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.wait().map(drop)
    }

    fn disconnect(&self) {
        // It goes with the namespace, at some time; the next container does not wait for that.
        let _gone = succeed(
            "ip",
            ["link", "delete", &format!("vb-{}-pod", self.network.name())],
        );
    }

    /// A probe's command, as the kubelet runs it: in the container, as its user.
    pub fn exec(&self, arguments: &[&str]) -> anyhow::Result<(bool, String)> {
        let first = self.first()?.to_string();
        let output = Command::new("timeout")
            .args(["--kill-after=5", "20", "nsenter", "--target", &first])
            .args(["--mount", "--pid", "--net", "--ipc", "--uts", "--root", "--wd"])
            .args([
                "setpriv",
                "--reuid=65532",
                "--regid=65532",
                "--clear-groups",
                "--bounding-set=-all",
            ])
            .args(["/mnt/fleet-agent", "--config", CONFIG])
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        ))
    }

    /// Name and state of each process in it.
    pub fn processes(&self) -> anyhow::Result<Vec<(Pid, String, char)>> {
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(&self.first()?.to_string());
        let mut processes = Vec::new();
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            if pid.parse::<i32>().is_err() || namespace(&pid) != own {
                continue;
            }
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let Some((name, rest)) = stat.rsplit_once(") ") else {
                continue;
            };
            let name = name.split_once('(').map_or("", |(_, name)| name);
            let state = rest.chars().next().unwrap_or('X');
            processes.push((Pid::from_raw(pid.parse()?), name.to_owned(), state));
        }
        Ok(processes)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// In a new process namespace its parent's only one.
fn child_of(parent: u32) -> Option<Pid> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let first = children.split_whitespace().next()?.parse().ok()?;
    Some(Pid::from_raw(first))
}

impl Drop for Pod {
    fn drop(&mut self) {
        if let Some(mut container) = self.container.take() {
            let _gone = kill(container.first, Signal::SIGKILL);
            let _gone = container.unshare.kill();
            let _gone = container.unshare.wait();
        }
        let _ = self.claim.remove_leftovers();
    }
}
