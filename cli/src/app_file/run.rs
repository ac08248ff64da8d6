//! `[component.run]`: flat, as `[[component.check]]`.

use std::collections::BTreeMap;

use fleet_proto::quantity::Span;
use fleet_proto::release::{
    AgentPackage, Limits, OnChange, Pm2, Run, StaticFiles, StopSignal, Supervise, Systemd, UnitName,
};
use fleet_proto::tree::TreePath;
use serde::Deserialize;
use toml::Spanned;

use super::Misplaced;

const GRACE: Span = Span::from_secs(10);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSection {
    kind: Spanned<RunKind>,
    command: Option<Vec<String>>,
    stop_signal: Option<StopSignal>,
    grace: Option<Span>,
    env: Option<BTreeMap<String, String>>,
    group: Option<String>,
    directory: Option<String>,
    limits: Option<Limits>,
    unit: Option<UnitName>,
    instances: Option<Vec<String>>,
    file: Option<TreePath>,
    user: Option<String>,
    on_change: Option<OnChange>,
    only: Option<Vec<String>>,
    profile: Option<String>,
    home: Option<String>,
    root: Option<String>,
    package: Option<TreePath>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RunKind {
    Supervise,
    Systemd,
    Pm2,
    Static,
    Agent,
}

impl RunKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Supervise => "supervise",
            Self::Systemd => "systemd",
            Self::Pm2 => "pm2",
            Self::Static => "static",
            Self::Agent => "agent",
        }
    }
}

impl RunSection {
    pub(super) fn into_run(self) -> Result<Run, Misplaced> {
        self.no_foreign_key()?;
        let (at, kind) = (self.kind.span().start, *self.kind.get_ref());
        let lacks = |key: &str, example: &str| {
            let message = format!("kind `{}` lacks the key `{key}`", kind.word());
            Misplaced::new(at, message, example)
        };
        Ok(match kind {
            RunKind::Supervise => Run::Supervise(Supervise {
                command: self
                    .command
                    .ok_or_else(|| lacks("command", "command = [\"./server\"]"))?,
                env: self.env.unwrap_or_default(),
                stop_signal: self.stop_signal.unwrap_or_default(),
                grace: self.grace.unwrap_or(GRACE),
                user: self.user,
                group: self.group,
                directory: self.directory,
                limits: self.limits.unwrap_or_default(),
            }),
            RunKind::Systemd => Run::Systemd(Systemd {
                unit: self
                    .unit
                    .ok_or_else(|| lacks("unit", "unit = \"shop-api.service\""))?,
                instances: self.instances.unwrap_or_default(),
                file: self.file,
                user: self.user,
                on_change: self.on_change.unwrap_or_default(),
                env: self.env.unwrap_or_default(),
            }),
            RunKind::Pm2 => Run::Pm2(Pm2 {
                file: self.file.unwrap_or_else(Pm2::ecosystem),
                only: self.only.unwrap_or_default(),
                profile: self.profile,
                user: self.user,
                home: self.home,
                on_change: self.on_change.unwrap_or_default(),
                env: self.env.unwrap_or_default(),
            }),
            RunKind::Static => Run::Static(StaticFiles {
                root: self
                    .root
                    .ok_or_else(|| lacks("root", "root = \"/var/www/shop\""))?,
            }),
            RunKind::Agent => Run::Agent(AgentPackage {
                package: self
                    .package
                    .ok_or_else(|| lacks("package", "package = \"fleet-agent.deb\""))?,
            }),
        })
    }

    fn no_foreign_key(&self) -> Result<(), Misplaced> {
        use RunKind::{Agent, Pm2, Static, Supervise, Systemd};
        let owners: [(_, _, &[RunKind]); 17] = [
            ("command", self.command.is_some(), &[Supervise]),
            ("stop_signal", self.stop_signal.is_some(), &[Supervise]),
            ("grace", self.grace.is_some(), &[Supervise]),
            ("group", self.group.is_some(), &[Supervise]),
            ("directory", self.directory.is_some(), &[Supervise]),
            ("limits", self.limits.is_some(), &[Supervise]),
            ("env", self.env.is_some(), &[Supervise, Systemd, Pm2]),
            ("unit", self.unit.is_some(), &[Systemd]),
            ("instances", self.instances.is_some(), &[Systemd]),
            ("file", self.file.is_some(), &[Systemd, Pm2]),
            ("user", self.user.is_some(), &[Supervise, Systemd, Pm2]),
            ("on_change", self.on_change.is_some(), &[Systemd, Pm2]),
            ("only", self.only.is_some(), &[Pm2]),
            ("profile", self.profile.is_some(), &[Pm2]),
            ("home", self.home.is_some(), &[Pm2]),
            ("root", self.root.is_some(), &[Static]),
            ("package", self.package.is_some(), &[Agent]),
        ];
        let kind = *self.kind.get_ref();
        let foreign = owners
            .iter()
            .find(|(_, there, owners)| *there && !owners.contains(&kind));
        let Some((key, _, owners)) = foreign else {
            return Ok(());
        };
        let others: Vec<String> = owners
            .iter()
            .map(|owner| format!("kind = \"{}\"", owner.word()))
            .collect();
        Err(Misplaced::new(
            self.kind.span().start,
            format!("kind `{}` has no key `{key}`", kind.word()),
            format!("leave it out, or write {}", others.join(" or ")),
        ))
    }
}
