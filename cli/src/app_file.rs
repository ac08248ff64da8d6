//! `fleet.toml`, as an app's author writes it.
//!
//! The manifest's own types say what a run and a check are; the sections here are flat
//! mirrors of them, so that every unknown key is found on its own line.

mod check;
mod migrations;
mod run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fleet_proto::config::{self, ConfigError, Malformed};
use fleet_proto::ids::{AppName, ComponentName, EnvironmentName};
use fleet_proto::release::{
    Check, ConfigFile, EnvironmentOverlay, HealthRules, Hooks, Migrations, Platform, Run, SecretWanted,
    Strategy,
};
use serde::Deserialize;
use toml::Spanned;

use crate::error::Error;

pub const NAME: &str = "fleet.toml";

/// What a `fleet.toml` says, with every path made relative to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppFile {
    pub app: AppName,
    pub components: Vec<ComponentSource>,
    pub health: HealthRules,
    pub strategy: Strategy,
    pub migrations: Option<Migrations>,
    pub vars: BTreeMap<String, String>,
    pub environments: BTreeMap<EnvironmentName, EnvironmentOverlay>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentSource {
    pub name: ComponentName,
    pub paths: BTreeMap<Platform, PathBuf>,
    pub run: Run,
    pub checks: Vec<Check>,
    pub smoke: Vec<Check>,
    pub hooks: Hooks,
    pub files: Vec<ConfigFile>,
    pub secrets: Vec<SecretWanted>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    app: App,
    component: Vec<Component>,
    #[serde(default)]
    health: HealthRules,
    #[serde(default)]
    strategy: Strategy,
    migrations: Option<migrations::MigrationsSection>,
    #[serde(default)]
    vars: BTreeMap<String, String>,
    #[serde(default)]
    environment: BTreeMap<EnvironmentName, EnvironmentOverlay>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct App {
    name: AppName,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Component {
    name: Spanned<ComponentName>,
    path: Option<PathBuf>,
    #[serde(default)]
    platforms: BTreeMap<String, PathBuf>,
    run: run::RunSection,
    #[serde(default)]
    check: Vec<check::CheckSection>,
    #[serde(default)]
    smoke: Vec<check::CheckSection>,
    #[serde(default)]
    hooks: Hooks,
    #[serde(default)]
    file: Vec<ConfigFile>,
    #[serde(default)]
    secret: Vec<SecretWanted>,
}

/// Something that no type can say, and where it stands in the file.
struct Misplaced {
    offset: usize,
    message: String,
    hint: Option<String>,
}

impl Misplaced {
    fn new(offset: usize, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            offset,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    fn within(self, file: &str, text: &str) -> ConfigError {
        let (line, column) = config::place(text.get(..self.offset).unwrap_or_default());
        ConfigError::Malformed(Malformed {
            file: file.to_owned(),
            line,
            column,
            message: self.message,
            hint: self.hint,
        })
    }
}

pub fn read(path: &Path) -> Result<AppFile, Error> {
    let text = text_of(path)?;
    let base = path.parent().unwrap_or(Path::new("."));
    Ok(parse(&path.display().to_string(), &text, base)?)
}

/// Only the app's name, from a file that may be half written otherwise.
pub fn name_of(path: &Path) -> Result<AppName, Error> {
    #[derive(Deserialize)]
    struct OnlyApp {
        app: App,
    }
    let file: OnlyApp = config::parse(&path.display().to_string(), &text_of(path)?)?;
    Ok(file.app.name)
}

fn text_of(path: &Path) -> Result<String, Error> {
    config::read_text(path).map_err(|error| match &error {
        ConfigError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Error::usage(
            format!("there is no {}", path.display()),
            "`fleetctl init` writes one; --file FILE names another",
        ),
        _ => error.into(),
    })
}

/// `file` is its name, for messages; paths in it are taken from `base`.
pub fn parse(file: &str, text: &str, base: &Path) -> Result<AppFile, ConfigError> {
    let parsed: File = config::parse(file, text)?;
    let components = parsed
        .component
        .into_iter()
        .map(|component| component.into_source(base))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|misplaced| misplaced.within(file, text))?;
    let first = components.first().map(|component| component.name.clone());
    Ok(AppFile {
        app: parsed.app.name,
        components,
        health: parsed.health,
        strategy: parsed.strategy,
        migrations: parsed
            .migrations
            .and_then(|section| section.into_migrations(first.as_ref())),
        vars: parsed.vars,
        environments: parsed.environment,
    })
}

impl Component {
    fn into_source(self, base: &Path) -> Result<ComponentSource, Misplaced> {
        let at = self.name.span().start;
        let name = self.name.into_inner();
        let wrong = |message: String, hint: &str| Misplaced::new(at, message, hint);
        let mut paths = BTreeMap::new();
        match (self.path, self.platforms.is_empty()) {
            (Some(path), true) => {
                paths.insert(Platform::any(), base.join(path));
            }
            (None, false) => {
                for (platform, path) in self.platforms {
                    let platform = platform.parse().map_err(|error| {
                        wrong(
                            format!("{error}"),
                            "platforms = { \"linux/amd64\" = \"dist/amd64\" }",
                        )
                    })?;
                    paths.insert(platform, base.join(path));
                }
            }
            (Some(_), false) => {
                return Err(wrong(
                    format!("component `{name}` has both `path` and `platforms`"),
                    "`path` is for files that run everywhere; keep one of the two",
                ));
            }
            (None, true) => {
                return Err(wrong(
                    format!("component `{name}` has no files"),
                    "say where they are: path = \"dist\"",
                ));
            }
        }
        let checks = self.check.into_iter().map(check::CheckSection::into_check);
        let smoke = self.smoke.into_iter().map(check::CheckSection::into_smoke);
        Ok(ComponentSource {
            name,
            paths,
            run: self.run.into_run()?,
            checks: checks.collect::<Result<_, _>>()?,
            smoke: smoke.collect::<Result<_, _>>()?,
            hooks: self.hooks,
            files: self.file,
            secrets: self.secret,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use fleet_proto::release::{GivenAs, Probe};

    const GOOD: &str = r#"
[app]
name = "shop"
[[component]]
name = "web"
path = "dist"
[component.run]
kind = "supervise"
command = ["./server", "--port", "${var.port}"]
env = { LOG = "info" }
[[component.check]]
name = "health"
interval = "1s"
kind = "http"
url = "http://127.0.0.1:${var.port}/health"
json = { status = "healthy" }
latency_max = "500ms"
[[component.check]]
name = "alive"
kind = "process"
[health]
min_healthy = "1s"
[strategy]
waves = "10,50,100"
"#;

    fn refused(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        let text = GOOD.replacen(from, to, 1);
        parse("fleet.toml", &text, Path::new("/app"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_good_file_reads() {
        let file = parse("fleet.toml", GOOD, Path::new("/app")).unwrap();
        let web = &file.components[0];
        assert_eq!(web.paths[&Platform::any()], Path::new("/app/dist"));
        assert_eq!(web.checks[1].probe, Probe::Process);
        assert!(matches!(
            &web.checks[0].probe,
            Probe::Http {
                status: 200,
                latency_max: Some(_),
                ..
            }
        ));
        assert_eq!(file.strategy.waves.to_string(), "10,50,100");
    }

    #[test]
    fn a_unit_and_a_web_root_read() {
        let run = |text: &str| {
            let before = GOOD.find("kind = \"supervise\"").unwrap();
            let after = GOOD.find("[[component.check]]").unwrap();
            let text = format!("{}{text}\n{}", &GOOD[..before], &GOOD[after..]);
            parse("fleet.toml", &text, Path::new("/app")).unwrap().components[0]
                .run
                .clone()
        };
        let worker = run(
            "kind = \"systemd\"\nunit = \"worker@.service\"\ninstances = [\"1\", \"2\"]\n\
             file = \"deploy/worker@.service\"\non_change = \"reload\"",
        );
        let Run::Systemd(worker) = worker else {
            unreachable!("{worker:?}")
        };
        let units: Vec<String> = worker.units().into_iter().map(String::from).collect();
        assert_eq!(units, ["worker@1.service", "worker@2.service"]);
        assert!(matches!(
            run("kind = \"static\"\nroot = \"/srv/shop\""),
            Run::Static(_)
        ));
        assert!(matches!(
            run("kind = \"agent\"\npackage = \"fleet-agent.deb\""),
            Run::Agent(_)
        ));
    }

    #[test]
    fn a_process_of_somebody_else_reads() {
        let text = GOOD.replacen(
            "env = {",
            "user = \"www-data\"\ngroup = \"adm\"\ndirectory = \"/var/lib/shop\"\n\
             limits = { open_files = 65536, processes = 512, core = \"0\", address_space = \"2GiB\" }\nenv = {",
            1,
        );
        let file = parse("fleet.toml", &text, Path::new("/app")).unwrap();
        let Run::Supervise(web) = &file.components[0].run else {
            unreachable!("{file:?}")
        };
        let said = (
            web.user.as_deref(),
            web.group.as_deref(),
            web.directory.as_deref(),
        );
        assert_eq!(said, (Some("www-data"), Some("adm"), Some("/var/lib/shop")));
        assert_eq!(web.limits.core.map(|bytes| bytes.0), Some(0));
        assert_eq!(web.limits.address_space.map(|bytes| bytes.0), Some(2 << 30));
        let wrong = text.replacen("open_files", "open_fils", 1);
        let error = parse("fleet.toml", &wrong, Path::new("/app")).unwrap_err();
        assert!(
            error.to_string().contains("did you mean `open_files`?"),
            "{error}"
        );
    }

    #[test]
    fn hooks_read() {
        let hooks = "[component.hooks]\ndrain = { command = [\"./lb\", \"out\"], timeout = \"2m\" }\n\
                     undrain = { command = [\"./lb\", \"in\"] }\n[[component.check]]\nname = \"health\"";
        let text = GOOD.replacen("[[component.check]]\nname = \"health\"", hooks, 1);
        let file = parse("fleet.toml", &text, Path::new("/app")).unwrap();
        let found = &file.components[0].hooks;
        let drain = found.drain.as_ref().unwrap();
        assert_eq!(
            (drain.command.len(), drain.timeout.to_string()),
            (2, "2m".to_owned())
        );
        assert_eq!(found.undrain.as_ref().unwrap().timeout.to_string(), "30s");
        assert!(found.pre_stop.is_none() && found.post_start.is_none());
        for (wrong, meant) in [("undrian =", "undrain"), ("undrain = { comand", "command")] {
            let (name, _) = wrong.split_once(" =").unwrap();
            let from = if name == "undrain" {
                "undrain = { command"
            } else {
                "undrain ="
            };
            let error = parse("fleet.toml", &text.replacen(from, wrong, 1), Path::new("/app"));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(&format!("did you mean `{meant}`?")), "{error}");
        }
    }

    #[test]
    fn files_to_be_filled_in_read() {
        let file = "[[component.file]]\ntemplate = \"app.conf\"\npath = \"conf/app.conf\"\nmode = \"0600\"\n";
        let text = GOOD.replace("[health]", &format!("{file}[health]"));
        let read = parse("fleet.toml", &text, Path::new("/app")).unwrap();
        assert_eq!(read.components[0].files[0].mode.bits(), 0o600);
        let secret =
            "[[component.secret]]\nname = \"DB\"\nfrom = \"vault\"\nkey = \"shop/db#url\"\nas = \"env\"\n";
        let with_secret = GOOD.replace("[health]", &format!("{secret}[health]"));
        let read = parse("fleet.toml", &with_secret, Path::new("/app")).unwrap();
        assert_eq!(read.components[0].secrets[0].given, GivenAs::Env);
        let error = parse(
            "fleet.toml",
            &with_secret.replace("\"env\"", "\"evn\""),
            Path::new("/app"),
        );
        assert!(error.unwrap_err().to_string().contains("`env`"));
        for (from, to, message) in [
            ("0600", "4755", "`4755` is not a mode"),
            ("conf/app.conf", "../app.conf", "has a part `..`"),
            ("conf/app.conf", "/etc/app.conf", "is absolute"),
            ("mode =", "mod =", "did you mean `mode`?"),
        ] {
            let error = parse("fleet.toml", &text.replace(from, to), Path::new("/app")).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains(message) && error.starts_with("fleet.toml:2"),
                "{error}"
            );
        }
    }

    #[test]
    fn mistakes_name_their_line_and_what_was_meant() {
        for (from, to, message) in [
            (
                "command",
                "comand",
                "fleet.toml:9:1: unknown key `comand`\nhint: did you mean `command`?",
            ),
            (
                "latency_max",
                "latncy_max",
                "fleet.toml:17:1: unknown key `latncy_max`\nhint: did you mean `latency_max`?",
            ),
            (
                "min_healthy",
                "min_helthy",
                "fleet.toml:22:1: unknown key `min_helthy`\nhint: did you mean `min_healthy`?",
            ),
            (
                "[strategy]",
                "[stratgy]",
                "fleet.toml:23:2: unknown key `stratgy`\nhint: did you mean `strategy`?",
            ),
            (
                "path = \"dist\"\n",
                "",
                "fleet.toml:5:8: component `web` has no files\nhint: say where they are: path = \"dist\"",
            ),
            (
                "kind = \"process\"",
                "kind = \"process\"\nurl = \"http://x\"",
                "fleet.toml:19:8: check `alive` is of kind `process`, which has no key `url`\n\
                 hint: leave it out, or write kind = \"http\"",
            ),
            (
                "kind = \"process\"",
                "kind = \"tcp\"",
                "fleet.toml:19:8: check `alive` is of kind `tcp` and lacks the key `address`\n\
                 hint: address = \"127.0.0.1:${var.port}\"",
            ),
            (
                "kind = \"supervise\"",
                "kind = \"static\"",
                "fleet.toml:8:8: kind `static` has no key `command`\n\
                 hint: leave it out, or write kind = \"supervise\"",
            ),
            (
                "kind = \"supervise\"\ncommand = [\"./server\", \"--port\", \"${var.port}\"]",
                "kind = \"systemd\"",
                "fleet.toml:8:8: kind `systemd` lacks the key `unit`\nhint: unit = \"shop-api.service\"",
            ),
            (
                "kind = \"supervise\"\ncommand = [\"./server\", \"--port\", \"${var.port}\"]",
                "kind = \"systemd\"\nunit = \"shop\"",
                "fleet.toml:9:8: `shop` is not the name of a service, as shop-api.service or \
                 worker@.service: it does not end with .service",
            ),
        ] {
            assert_eq!(refused(from, to), message);
        }
        assert!(refused("\"10,50,100\"", "\"50,10\"").starts_with("fleet.toml:24:9: waves are cumulative"));
        assert!(
            refused("\"1s\"\nkind", "\"1x\"\nkind").starts_with("fleet.toml:13:12: `1x` is not a duration")
        );
        assert!(refused("supervise", "supervize").contains("did you mean `supervise`?"));
    }
}
