//! What an intent names, found in the state; and what is said where it is not there.

use fleet_proto::config::nearest;
use fleet_proto::ids::{AppName, EnvironmentName};
use fleet_proto::version::Version;

use crate::rollout::input::{Intent, Refusal, RefusalKind};
use crate::rollout::state::{Environment, Release, State};

#[derive(Debug, Clone)]
pub struct Target<'a> {
    pub app: AppName,
    pub environment: EnvironmentName,
    pub within: &'a Environment,
    pub release: &'a Release,
}

pub(super) fn find_target<'a>(state: &'a State, intent: &Intent) -> Result<Target<'a>, Refusal> {
    let app = find_app(state, intent.app.as_ref())?;
    let (environment, within) = find_environment(state, intent.environment.as_ref())?;
    let version = intent
        .version
        .as_ref()
        .ok_or_else(|| Refusal::new(RefusalKind::Usage, "no version was named"))?;
    let release = find_release(state, &app, version)?;
    Ok(Target {
        app,
        environment,
        within,
        release,
    })
}

/// The named app, else the only one there is.
pub fn find_app(state: &State, named: Option<&AppName>) -> Result<AppName, Refusal> {
    let known: Vec<String> = state.releases.keys().map(ToString::to_string).collect();
    match (named, known.len()) {
        (Some(app), _) if state.releases.contains_key(app) => Ok(app.clone()),
        (Some(app), _) => Err(unknown("app", app.as_str(), &known)),
        (None, 1) => state
            .releases
            .keys()
            .next()
            .cloned()
            .ok_or_else(|| Refusal::new(RefusalKind::NotFound, "there is no app")),
        (None, 0) => Err(Refusal::new(
            RefusalKind::NotFound,
            "there is no app: no release was pushed yet",
        )
        .hint("fleetctl release push v1.0.0")),
        (None, _) => Err(Refusal::new(
            RefusalKind::Usage,
            format!("which app? there are {}", known.join(", ")),
        )
        .hint("name one with --app or FLEET_APP")),
    }
}

/// The named environment, else the only one there is.
pub fn find_environment<'a>(
    state: &'a State,
    named: Option<&EnvironmentName>,
) -> Result<(EnvironmentName, &'a Environment), Refusal> {
    let known: Vec<String> = state.environments.keys().map(ToString::to_string).collect();
    let mut all = state.environments.iter();
    match (named, all.next(), all.next()) {
        (Some(name), ..) => state
            .environments
            .get(name)
            .map(|within| (name.clone(), within))
            .ok_or_else(|| unknown("environment", name.as_str(), &known)),
        (None, Some((name, within)), None) => Ok((name.clone(), within)),
        (None, ..) => Err(Refusal::new(
            RefusalKind::Usage,
            format!("which environment? there are {}", known.join(", ")),
        )
        .hint("name one with --env or FLEET_ENV")),
    }
}

pub fn find_release<'a>(state: &'a State, app: &AppName, version: &Version) -> Result<&'a Release, Refusal> {
    state.release(app, version).ok_or_else(|| {
        let known: Vec<String> = state
            .releases
            .get(app)
            .map(|releases| releases.keys().map(ToString::to_string).collect())
            .unwrap_or_default();
        unknown(&format!("release of {app}"), version.as_str(), &known)
    })
}

fn unknown(what: &str, name: &str, known: &[String]) -> Refusal {
    let refusal = Refusal::new(
        RefusalKind::NotFound,
        format!("there is no {what} called `{name}`"),
    );
    match nearest(name, known) {
        Some(near) => refusal.hint(format!("did you mean `{near}`? {}", list(known))),
        None if known.is_empty() => refusal,
        None => refusal.hint(list(known)),
    }
}

/// The newest names of a long list are the ones that are asked for.
fn list(known: &[String]) -> String {
    const SHOWN: usize = 10;
    let skipped = known.len().saturating_sub(SHOWN);
    let shown = known[skipped..].join(", ");
    match (known.len(), skipped) {
        (1, _) => format!("there is {shown}"),
        (_, 0) => format!("there are {shown}"),
        (_, more) => format!("there are {shown} and {more} more"),
    }
}
