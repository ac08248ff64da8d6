//! An agent that stops at a named instant of its work, for tests to end it exactly there:
//! `agent/src/boundary.rs` names them.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::hosts::fleet::succeed_on;
use crate::hosts::host::Host;
use crate::hosts::package::{modified, newest_below};
use crate::layers::workspace;
use crate::process::program;

const AGENT: &str = "/usr/bin/fleet-agent";
const DROP_IN: &str = "/etc/systemd/system/fleet-agent.service.d/50-boundaries.conf";
/// All of it is gone with the power.
const ENVIRONMENT: &str = "/run/fleet-stop.env";
const MARK: &str = "/run/fleet-stop";
const PASSED: &str = "/run/fleet-stop.passed";

/// In place of the agent that the package brought.
pub fn install_agent_with_boundaries(host: &Host) -> anyhow::Result<()> {
    host.write(AGENT, &std::fs::read(agent()?)?, 0o755)?;
    let drop_in = format!("[Service]\nEnvironmentFile=-{ENVIRONMENT}\nRestartSec=100ms\n");
    host.write(DROP_IN, drop_in.as_bytes(), 0o644)?;
    succeed_on(host, &["systemctl", "daemon-reload"])?;
    succeed_on(host, &["systemctl", "restart", "fleet-agent"])?;
    succeed_on(host, &["sync"])?;
    Ok(())
}

/// Built beside the programs that the tests run, and of the same sources.
fn agent() -> anyhow::Result<PathBuf> {
    let built = program("fleet-agent")?;
    let target = built.ancestors().nth(2).unwrap_or(Path::new("/"));
    let agent = target.join("boundaries/debug/fleet-agent");
    let sources = ["agent/src", "proto/src"].map(|path| newest_below(&workspace().join(path)));
    let is_fresh = sources.iter().all(|source| modified(&agent) >= *source);
    is_fresh
        .then_some(agent)
        .context("there is no agent with boundaries of these sources\nhint: make agent-with-boundaries")
}

/// From now on it lists the boundaries that it passes, and stops at this one.
pub fn stop_at(host: &Host, boundary: &str) -> anyhow::Result<()> {
    go_on(host)?;
    let environment = format!("FLEET_STOP_MARK={MARK}\nFLEET_STOP_AT={boundary}\n");
    host.write(ENVIRONMENT, environment.as_bytes(), 0o644)?;
    succeed_on(host, &["systemctl", "restart", "fleet-agent"])?;
    Ok(())
}

/// Whatever is started from now on stops nowhere.
fn go_on(host: &Host) -> anyhow::Result<()> {
    succeed_on(host, &["rm", "--force", ENVIRONMENT, MARK, PASSED])?;
    Ok(())
}

/// Those that were passed since, in order.
pub fn passed(host: &Host) -> anyhow::Result<Vec<String>> {
    let list = String::from_utf8(host.read(PASSED)?)?;
    Ok(list.lines().map(str::to_owned).collect())
}

/// Until all of the process stands still.
pub fn wait_until_stopped(host: &Host) -> anyhow::Result<()> {
    let wait = format!(
        "for i in $(seq 1500); do
            test -s {MARK} && grep --quiet '^State:.T' /proc/$(cat {MARK})/status && exit 0
            sleep 0.02
         done
         exit 1"
    );
    succeed_on(host, &["sh", "-c", &wait]).context("it never came to that boundary")?;
    Ok(())
}

/// Ends what has stopped, and the agent if that was an errand of its; systemd starts it anew.
pub fn kill_what_stopped(host: &Host) -> anyhow::Result<()> {
    let kill = format!(
        "stopped=$(cat {MARK}); agent=$(systemctl show --value --property MainPID fleet-agent)
         rm --force {ENVIRONMENT} {MARK} {PASSED}
         kill -KILL $stopped
         test $agent = $stopped || kill -KILL $agent"
    );
    succeed_on(host, &["sh", "-c", &kill])?;
    Ok(())
}
