//! How long a unit is down for a new release, beside a plain restart of the same unit.

use std::time::{Duration, Instant};

use anyhow::Context;
use fleet_tests::hosts::fleet::HostFleet;
use fleet_tests::hosts::host::Host;
use fleet_tests::hosts::pieces::{Piece, push};
use serde_json::{Value, json};

const ROUNDS: usize = 7;

/// None where no host can be booted.
pub fn measure() -> anyhow::Result<Option<Value>> {
    if !fleet_tests::hosts::can_boot() {
        return Ok(None);
    }
    let fleet = HostFleet::start(1)?;
    for version in ["v1.0.0", "v1.1.0"] {
        push(&fleet.fleet, version, "20s", &[service(version)])?;
    }
    let host = fleet.hosts.host("n01")?;
    roll_out(&fleet, "v1.0.0")?;
    let (mut plain, mut by_fleet) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let restart = host.run(&["systemctl", "restart", "shop"])?;
        anyhow::ensure!(restart.code == 0, "{}", restart.stderr);
        plain.push(was_down_ms(host)?);
        roll_out(&fleet, ["v1.1.0", "v1.0.0"][round % 2])?;
        by_fleet.push(was_down_ms(host)?);
    }
    let (plain, by_fleet) = (median(plain), median(by_fleet));
    let (kilobytes, percent) = at_rest(host)?;
    Ok(Some(json!({
        "rounds": ROUNDS,
        "systemctl_restart_ms": plain,
        "fleet_ms": by_fleet,
        "added_ms": ((by_fleet - plain) * 1e3).round() / 1e3,
        "agent_at_rest_kb": kilobytes,
        "agent_at_rest_core_percent": percent,
    })))
}

/// What the agent takes while it looks after the unit and nothing is to be done: resident
/// kilobytes, and its share of a core.
fn at_rest(host: &Host) -> anyhow::Result<(u64, f64)> {
    const LOOK_FOR: Duration = Duration::from_secs(30);
    let shown = host.run(&[
        "systemctl",
        "show",
        "--value",
        "--property=MainPID",
        "fleet-agent",
    ])?;
    let process = format!("/proc/{}", shown.stdout.trim());
    let used = || -> anyhow::Result<u64> {
        let stat = host.run(&["cat", &format!("{process}/stat")])?.stdout;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        ticks(11)
            .zip(ticks(12))
            .map(|(user, system)| user + system)
            .context(stat.clone())
    };
    let (before, from) = (used()?, Instant::now());
    std::thread::sleep(LOOK_FOR);
    let (ticks, seconds) = (used()? - before, from.elapsed().as_secs_f64());
    let status = host.run(&["grep", "VmRSS", &format!("{process}/status")])?.stdout;
    let kilobytes = status
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok());
    #[expect(clippy::cast_precision_loss, reason = "a few hundred ticks of 10 ms")]
    let percent = ticks as f64 / seconds;
    Ok((kilobytes.context(status)?, (percent * 1e3).round() / 1e3))
}

fn service(version: &str) -> Piece {
    let run = "kind = \"systemd\"\nunit = \"shop.service\"\nfile = \"shop.service\"\n";
    let unit = "[Service]\nType=notify\nNotifyAccess=all\nExecStart=${dir}/run\n\
                [Install]\nWantedBy=multi-user.target\n";
    Piece::new("web", run)
        .with("shop.service", unit)
        .with("run", "#!/bin/sh\nsystemd-notify --ready\nexec sleep infinity\n")
        .with("version", version)
}

fn roll_out(fleet: &HostFleet, version: &str) -> anyhow::Result<()> {
    let ended = fleet.fleet.ctl(&["rollout", version])?;
    anyhow::ensure!(ended.code == 0, "{}{}", ended.stdout, ended.stderr);
    Ok(())
}

/// By systemd's own clock, from the end of being active to being active again.
fn was_down_ms(host: &Host) -> anyhow::Result<f64> {
    let at = |property: &str| -> anyhow::Result<f64> {
        let shown = host.run(&["systemctl", "show", "--value", "--property", property, "shop"])?;
        shown.stdout.trim().parse().context(shown.stderr)
    };
    Ok((at("ActiveEnterTimestampMonotonic")? - at("ActiveExitTimestampMonotonic")?) / 1e3)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
