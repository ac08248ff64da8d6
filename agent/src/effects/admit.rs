//! May this release run here? Asked before a byte of it is fetched.

use std::collections::BTreeMap;

use fleet_proto::ids::{AppName, EnvironmentName};
use fleet_proto::quantity::Span;
use fleet_proto::release::{
    Component, Manifest, Platform, Pm2, Probe, ReleaseRef, Run, SignedManifest, Systemd,
};
use fleet_proto::session::FailureClass;

use super::converge::describe;
use super::{Failed, chain, failure};
use crate::config::Config;
use crate::ledger::AppRecord;
use crate::probe::http;
use crate::template::{TemplateError, Words};

/// A release that is bad must not decide for how long it cannot be left.
const GRACE_MAX: Span = Span::from_secs(600);

/// What the ledger says that matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    pub floor: u64,
    /// The node itself ran it well before.
    pub was_good: bool,
    /// For which it was ordered.
    pub environment: Option<EnvironmentName>,
}

impl History {
    pub fn of(
        record: Option<&AppRecord>,
        release: &ReleaseRef,
        environment: Option<EnvironmentName>,
    ) -> Self {
        Self {
            floor: record.map_or(0, |record| record.floor),
            was_good: record.is_some_and(|record| record.has_proven(release)),
            environment,
        }
    }
}

pub fn admit(
    config: &Config,
    app: &AppName,
    release: &ReleaseRef,
    signed: &SignedManifest,
    history: &History,
) -> Result<Manifest, Failed> {
    let refuse = |message: String| Err(failure(FailureClass::Release, message));
    if !config.accepts(app) {
        return refuse(format!(
            "this node does not accept app {app}; `apps` in its agent.toml names those it does"
        ));
    }
    // Bytes that are not the ones that were ordered say nothing about the release.
    if signed.digest() != release.digest {
        return Err(failure(
            FailureClass::Infrastructure,
            format!(
                "the manifest that came for {release} is another: expected {}, found {}",
                release.digest.short(),
                signed.digest().short()
            ),
        ));
    }
    let manifest = signed.verify(&config.trust).map_err(|error| {
        failure(
            FailureClass::Release,
            format!("{release} must not run here: {}", chain(&error)),
        )
    })?;
    manifest.check().map_err(|error| {
        failure(
            FailureClass::Release,
            format!("{release} must not run here: {}", chain(&error)),
        )
    })?;
    if manifest.app != *app || manifest.version != release.version {
        return refuse(format!(
            "the signed manifest is for {} {}, ordered was {app} {release}",
            manifest.app, manifest.version
        ));
    }
    if manifest.counter < history.floor && !history.was_good {
        let mut failure = failure(
            FailureClass::Release,
            format!(
                "{release} is older than what this node ran well (counter {}, floor {}), and never ran well here itself",
                manifest.counter, history.floor
            ),
        );
        failure.figure = Some(manifest.counter.to_string());
        failure.limit = Some(history.floor.to_string());
        return Err(failure);
    }
    let vars = manifest.vars(history.environment.as_ref(), &config.vars);
    for component in &manifest.components {
        if component.artifact_for(&Platform::here()).is_none() {
            return refuse(format!(
                "component {} of {release} has no artifact for {}",
                component.name,
                Platform::here()
            ));
        }
        // What can never work is found now, while the old release runs.
        can_be_described(config, &manifest, &vars, component).map_err(|why| {
            failure(
                FailureClass::Release,
                format!("component {}: {why}", component.name),
            )
        })?;
    }
    Ok(manifest)
}

/// Every command, variable and check as this node would run it.
fn can_be_described(
    config: &Config,
    manifest: &Manifest,
    vars: &BTreeMap<String, String>,
    component: &Component,
) -> Result<(), String> {
    let words = Words {
        node: config.node.clone(),
        app: manifest.app.clone(),
        version: manifest.version.clone(),
        directory: "/".into(),
        vars: vars.clone(),
        config: (!component.files.is_empty()).then(|| "/".into()),
        secrets: describe::secret_files(component, |_| "/".into()),
        backup: None,
    };
    fill(&words, component).map_err(|error| error.to_string())?;
    match &component.run {
        Run::Supervise(supervise) if supervise.grace > GRACE_MAX => {
            return Err(format!(
                "its grace is {}, the limit is {GRACE_MAX}: so long a rollback would wait for it",
                supervise.grace
            ));
        }
        Run::Systemd(Systemd { user: Some(user), .. }) | Run::Pm2(Pm2 { user: Some(user), .. })
            if !is_user(user) =>
        {
            return Err(format!("there is no user {user} on this node"));
        }
        Run::Supervise(_) | Run::Systemd(_) | Run::Pm2(_) | Run::Static(_) | Run::Agent(_) => {}
    }
    for check in &component.checks {
        let wrong = |error: &dyn std::error::Error| format!("check {}: {error}", check.name);
        match &check.probe {
            Probe::Http { url, .. } => {
                let filled = words.fill(url).map_err(|error| wrong(&error))?;
                http::parse(&filled).map_err(|error| format!("check {}: `{url}` {error}", check.name))?;
            }
            Probe::Tcp { address } => words.fill(address).map(drop).map_err(|error| wrong(&error))?,
            Probe::Exec { command } => words.fill_all(command).map(drop).map_err(|error| wrong(&error))?,
            Probe::Process => {}
        }
    }
    Ok(())
}

fn fill(words: &Words, component: &Component) -> Result<(), TemplateError> {
    let env = match &component.run {
        Run::Supervise(supervise) => {
            words.fill_all(&supervise.command)?;
            &supervise.env
        }
        Run::Systemd(systemd) => &systemd.env,
        Run::Pm2(pm2) => {
            pm2.home.iter().try_for_each(|home| words.fill(home).map(drop))?;
            &pm2.env
        }
        Run::Static(files) => return words.fill(&files.root).map(drop),
        Run::Agent(_) => return Ok(()),
    };
    env.values().try_for_each(|value| words.fill(value).map(drop))
}

fn is_user(name: &str) -> bool {
    nix::unistd::User::from_name(name).is_ok_and(|user| user.is_some())
}
