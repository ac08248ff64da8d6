//! How long a unit is down for a new release, beside a plain restart of the same unit.

use std::time::{Duration, Instant};

use anyhow::Context;
use fleet_tests::hosts::fleet::HostFleet;
use fleet_tests::hosts::host::Host;
use fleet_tests::hosts::pieces::{Piece, push};
use serde_json::{Value, json};

const ROUNDS: usize = 7;

/// Nothing where no host can be booted.
pub fn measure() -> anyhow::Result<()> {
    if !fleet_tests::hosts::can_boot() {
        return Ok(());
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
        plain.push(was_down(host)?);
        roll_out(&fleet, ["v1.1.0", "v1.0.0"][round % 2])?;
        by_fleet.push(was_down(host)?);
    }
    let (kilobytes, of_files, percent) = at_rest(host)?;
    let (plain_ms, fleet_ms) = (median(&plain, Down::all_ms), median(&by_fleet, Down::all_ms));
    let figures = json!({
        "rounds": ROUNDS,
        "systemctl_restart_ms": plain_ms,
        "fleet_ms": fleet_ms,
        "fleet_stop_ms": median(&by_fleet, |down| down.stop_ms),
        "fleet_between_ms": median(&by_fleet, |down| down.between_ms),
        "fleet_start_ms": median(&by_fleet, |down| down.start_ms),
        "added_ms": ((fleet_ms - plain_ms) * 1e3).round() / 1e3,
        "agent_at_rest_kb": kilobytes,
        "agent_at_rest_of_files_kb": of_files,
        "agent_at_rest_core_percent": percent,
    });
    super::say("restart", &figures);
    Ok(())
}

/// What the agent takes while it looks after the unit and nothing is to be done: resident
/// kilobytes, those of them that are its program and libraries, and its share of a core.
fn at_rest(host: &Host) -> anyhow::Result<(u64, u64, f64)> {
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
    let status = host.run(&["cat", &format!("{process}/status")])?.stdout;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let kilobytes: Option<u64> = field("VmRSS");
    #[expect(clippy::cast_precision_loss, reason = "a few hundred ticks of 10 ms")]
    let percent = ticks as f64 / seconds;
    let of_files: Option<u64> = field("RssFile");
    Ok((
        kilobytes.context(status.clone())?,
        of_files.context(status)?,
        (percent * 1e3).round() / 1e3,
    ))
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

/// How long a unit was down.
struct Down {
    stop_ms: f64,
    between_ms: f64,
    start_ms: f64,
}

impl Down {
    fn all_ms(&self) -> f64 {
        self.stop_ms + self.between_ms + self.start_ms
    }
}

/// What systemd writes of a unit: that it begins to stop, has stopped, begins to start, is there.
const STOPPING: &str = "de5b426a63be47a7b6ac3eaac82e2f6f";
const STOPPED: &str = "9d1aaa27d60140bd96365438aad20286";
const STARTING: &str = "7d4958e842da4a758f6c1cdc7b36dcc5";
const STARTED: &str = "39f53479d3a045ac8e11786248231fbf";

/// By systemd's own words, for it forgets the times of a unit that was disabled: from when the
/// unit was told to stop until it said that it was ready.
fn was_down(host: &Host) -> anyhow::Result<Down> {
    anyhow::ensure!(
        host.run(&["journalctl", "--sync"])?.code == 0,
        "the journal is not written"
    );
    let shown = host.run(&["journalctl", "--unit=shop", "--output=json", "--lines=40"])?;
    let entries = shown.stdout.lines().map(serde_json::from_str::<Value>);
    let entries: Vec<Value> = entries.collect::<Result<_, _>>()?;
    let newest = |what: &str| -> anyhow::Result<f64> {
        let entry = entries.iter().rfind(|entry| entry["MESSAGE_ID"] == what);
        let at = entry.and_then(|entry| entry["__MONOTONIC_TIMESTAMP"].as_str());
        let at: f64 = at.context(shown.stdout.clone())?.parse()?;
        Ok(at / 1e3)
    };
    let (stopping, stopped) = (newest(STOPPING)?, newest(STOPPED)?);
    let (starting, started) = (newest(STARTING)?, newest(STARTED)?);
    anyhow::ensure!(stopping < started, "it is not there again");
    Ok(Down {
        stop_ms: stopped - stopping,
        between_ms: starting - stopped,
        start_ms: started - starting,
    })
}

fn median(all: &[Down], figure: impl Fn(&Down) -> f64) -> f64 {
    let mut figures: Vec<f64> = all.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
