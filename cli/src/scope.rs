//! Which app, which environment: flags, `FLEET_APP`/`FLEET_ENV`, the `fleet.toml` at
//! hand, the settings, else the only one there is.

use std::path::{Path, PathBuf};

use fleet_proto::ids::{AppName, EnvironmentName};
use fleet_proto::view::StatusView;

use crate::app_file;
use crate::error::Error;
use crate::settings::Settings;

/// For what belongs to an app in every environment, as releases do.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct AppArgs {
    /// The app; by default FLEET_APP, the fleet.toml here or above, or the only one
    #[arg(long, env = "FLEET_APP", hide_env_values = true, value_name = "APP")]
    pub app: Option<AppName>,
}

#[derive(Debug, Clone, Default, clap::Args)]
pub struct ScopeArgs {
    #[command(flatten)]
    pub app: AppArgs,
    /// The environment; by default FLEET_ENV, or the only one
    #[arg(
        long = "env",
        env = "FLEET_ENV",
        hide_env_values = true,
        value_name = "ENVIRONMENT"
    )]
    pub environment: Option<EnvironmentName>,
}

/// What is asked for; empty means the only one there is, which the coordinator knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    pub app: String,
    pub environment: String,
}

impl AppArgs {
    /// Empty when nothing names one.
    pub fn resolve(&self, settings: &Settings) -> Result<String, Error> {
        if let Some(app) = &self.app {
            return Ok(app.to_string());
        }
        let above = app_of_file_above()?;
        Ok(above.map_or_else(|| settings.app.clone().unwrap_or_default(), |app| app.to_string()))
    }
}

impl ScopeArgs {
    pub fn resolve(&self, settings: &Settings) -> Result<Scope, Error> {
        let environment = self.environment.as_ref().map(ToString::to_string);
        Ok(Scope {
            app: self.app.resolve(settings)?,
            environment: environment
                .or_else(|| settings.environment.clone())
                .unwrap_or_default(),
        })
    }
}

fn app_of_file_above() -> Result<Option<AppName>, Error> {
    let here = std::env::current_dir().map_err(Error::file("cannot tell the current directory"))?;
    match find_above(&here) {
        Some(path) => app_file::name_of(&path).map(Some),
        None => Ok(None),
    }
}

/// The nearest `fleet.toml`, in this directory or above it.
pub fn find_above(directory: &Path) -> Option<PathBuf> {
    directory
        .ancestors()
        .map(|directory| directory.join(app_file::NAME))
        .find(|path| path.is_file())
}

impl Scope {
    /// Fills in what was left open from what there is. Exactly one must fit.
    pub fn among(&self, status: &StatusView) -> Result<Self, Error> {
        let fits = |wanted: &str, name: &str| wanted.is_empty() || wanted == name;
        let all: Vec<Self> = status
            .environments
            .iter()
            .flat_map(|environment| {
                environment.apps.iter().map(|app| Self {
                    app: app.app.to_string(),
                    environment: environment.environment.to_string(),
                })
            })
            .collect();
        let mut fitting = all
            .iter()
            .filter(|scope| fits(&self.app, &scope.app) && fits(&self.environment, &scope.environment));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(only.clone()),
            (None, _) => Err(Error::Refused {
                message: format!("nothing fits {}", self.wanted()),
                hint: Some(list(&all)),
            }),
            (Some(_), Some(_)) => Err(Error::usage(
                format!("more than one app and environment fit {}", self.wanted()),
                list(&all),
            )),
        }
    }

    fn wanted(&self) -> String {
        let or_any = |name: &str| {
            if name.is_empty() {
                "any".to_owned()
            } else {
                format!("`{name}`")
            }
        };
        format!(
            "app {}, environment {}",
            or_any(&self.app),
            or_any(&self.environment)
        )
    }
}

fn list(all: &[Scope]) -> String {
    if all.is_empty() {
        return "push a release first: `fleetctl release push v1.0.0`".to_owned();
    }
    let each: Vec<String> = all
        .iter()
        .map(|scope| format!("--app {} --env {}", scope.app, scope.environment))
        .collect();
    format!("there are {}", each.join("; "))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn status(scopes: &[(&str, &[&str])]) -> StatusView {
        let environments: Vec<_> = scopes
            .iter()
            .map(|(environment, apps)| {
                let apps: Vec<_> = apps
                    .iter()
                    .map(|app| {
                        serde_json::json!({ "app": app, "desired": null, "nodes": 0, "healthy": 0,
                            "unavailable": 0, "versions": {} })
                    })
                    .collect();
                serde_json::json!({ "environment": environment, "select": "", "apps": apps })
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "coordinator": { "version": "0.1.0", "term": 1, "position": 0, "now": 0 },
            "environments": environments, "rollouts": [], "nodes": [],
        }))
        .unwrap()
    }

    #[test]
    fn the_only_one_is_taken_and_several_are_listed() {
        let two = status(&[("dev", &["shop", "blog"])]);
        let wanted = |app: &str| Scope {
            app: app.to_owned(),
            environment: String::new(),
        };
        assert_eq!(wanted("shop").among(&two).unwrap().environment, "dev");
        let error = wanted("").among(&two).unwrap_err();
        assert_eq!(
            error.to_string(),
            "more than one app and environment fit app any, environment any"
        );
        assert_eq!(
            error.hint().unwrap(),
            "there are --app shop --env dev; --app blog --env dev"
        );
        assert!(wanted("news").among(&two).is_err());
    }
}
