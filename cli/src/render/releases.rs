//! Releases: a list, one in full, and how a push went.

use std::fmt::Write;

use fleet_proto::quantity::Bytes;
use fleet_proto::release::{Check, Manifest, OnChange, Probe, Run, SignedManifest};
use fleet_proto::view::ReleaseView;

use super::rollouts::count;
use super::table::Table;
use crate::push::Pushed;

pub fn table(releases: &[ReleaseView]) -> String {
    let mut table = Table::new(&[
        "app",
        "version",
        "digest",
        "components",
        "signed by",
        "pushed",
        "by",
    ]);
    for release in releases {
        table.row(vec![
            release.app.to_string(),
            release.release.to_string(),
            release.release.digest.short(),
            release.components.join(","),
            release.signed_by.join(","),
            release.pushed_at.to_string(),
            release.by.clone(),
        ]);
    }
    if table.is_empty() {
        return "no release yet; `fleetctl release push v1.0.0` makes one".to_owned();
    }
    table.print()
}

pub fn pushed(pushed: &Pushed) -> String {
    let Pushed {
        app, version, digest, ..
    } = pushed;
    if pushed.already_there {
        let digest = digest.short();
        return match pushed.uploaded_bytes {
            0 => format!("{app} {version} ({digest}) is there already; nothing to do"),
            bytes => format!(
                "{app} {version} ({digest}) is there already; uploaded what was damaged or missing: {}, {}",
                files(pushed.uploaded_files),
                Bytes(bytes)
            ),
        };
    }
    format!(
        "pushed {app} {version} ({}): {}, {}; uploaded {}, {}",
        digest.short(),
        files(pushed.files),
        Bytes(pushed.bytes),
        files(pushed.uploaded_files),
        Bytes(pushed.uploaded_bytes)
    )
}

fn files(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "file")
}

fn how(run: &Run) -> String {
    match run {
        Run::Supervise(run) => format!("runs {}", run.command.join(" ")),
        Run::Systemd(run) => {
            let units: Vec<String> = run.units().iter().map(ToString::to_string).collect();
            let verb = match run.on_change {
                OnChange::Restart => "restarts",
                OnChange::Reload => "reloads",
            };
            let mut text = format!("{verb} {}", units.join(" "));
            if let Some(user) = &run.user {
                let _infallible = write!(text, " of {user}");
            }
            if let Some(file) = &run.file {
                let _infallible = write!(text, ", installed from {file}");
            }
            text
        }
        Run::Pm2(pm2) => {
            let apps = match pm2.only.as_slice() {
                [] => "the app of its name".to_owned(),
                only => only.join(" "),
            };
            format!("{apps} of {} by pm2", pm2.file)
        }
        Run::Static(files) => format!("links {} to its files", files.root),
        Run::Agent(agent) => format!("updates the agent by {}", agent.package),
    }
}

fn looked_at(check: &Check) -> String {
    match &check.probe {
        Probe::Http { url, status, .. } => format!("GET {url} answers {status}"),
        Probe::Tcp { address } => format!("{address} accepts a connection"),
        Probe::Exec { command } => format!("`{}` exits with 0", command.join(" ")),
        Probe::Process => "the process runs and is not restarting".to_owned(),
    }
}

pub fn manifest(signed: &SignedManifest, manifest: &Manifest) -> String {
    let mut text = format!(
        "{} {} ({})\ncreated {}, counter {}",
        manifest.app,
        manifest.version,
        signed.digest(),
        manifest.created_at,
        manifest.counter
    );
    for signature in &signed.signatures {
        let _infallible = write!(text, "\nsigned by {} {}", signature.key.id(), signature.key);
    }
    for component in &manifest.components {
        let _infallible = write!(text, "\ncomponent {}: {}", component.name, how(&component.run));
        for (platform, artifact) in &component.artifacts {
            let _infallible = write!(
                text,
                "\n  {platform}: {}, {} ({})",
                files(artifact.files),
                Bytes(artifact.bytes),
                artifact.tree.short()
            );
        }
        for check in &component.checks {
            let what = looked_at(check);
            let _infallible = write!(text, "\n  check {} every {}: {what}", check.name, check.interval);
        }
        for check in &component.smoke {
            let _infallible = write!(text, "\n  smoke {}: {}", check.name, looked_at(check));
        }
    }
    let strategy = &manifest.strategy;
    let _infallible = write!(
        text,
        "\nwaves {}, at most {} unavailable",
        strategy.waves, strategy.max_unavailable
    );
    if let Some(least) = strategy.min_available {
        let _infallible = write!(text, " and at least {least} available");
    }
    text
}
