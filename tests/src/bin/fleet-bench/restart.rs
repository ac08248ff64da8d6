//! How long a unit is down for a new release, beside a plain restart of the same unit.

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
    Ok(Some(json!({
        "rounds": ROUNDS,
        "systemctl_restart_ms": plain,
        "fleet_ms": by_fleet,
        "added_ms": ((by_fleet - plain) * 1e3).round() / 1e3,
    })))
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
