//! What a release does to its database, and by which commands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Manifest;
use crate::ids::ComponentName;
use crate::migration::{MigrationAct, MigrationPlan, Undo};
use crate::quantity::Span;

/// Commands are run on one node, in the directory of a component and with its variables.
/// `${…}` is filled in as in [`super::Supervise`]; besides there is `${backup}`, the file of
/// the newest backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migrations {
    pub component: ComponentName,
    /// Ends with 0 when it is applied, with 1 when it is not. Anything else is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
    pub up: Vec<String>,
    /// Of what `up` has left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Vec<String>>,
    #[serde(default)]
    pub undo: Undo,
    /// Of each command.
    #[serde(default = "five_minutes")]
    pub timeout: Span,
    /// As whom; the agent's own user if nobody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// Before `up`. What the command leaves in `${backup}` is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    pub command: Vec<String>,
    /// So many of the app's are kept, on the node and by the coordinator.
    #[serde(default = "five")]
    pub keep: u32,
    /// Whether the coordinator gets a copy, before anything is changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub upload: bool,
    /// A dump takes longer than the change that it is made for.
    #[serde(default = "half_an_hour")]
    pub timeout: Span,
}

impl Migrations {
    /// What a rollout has to know.
    pub fn plan(&self) -> MigrationPlan {
        let acts = [&self.status, &Some(self.up.clone()), &self.verify];
        let commands = acts.into_iter().flatten().count() as u64;
        let backup_ms = self.backup.as_ref().map_or(0, |backup| {
            // To be made, and to be brought to the coordinator.
            let times = if backup.upload { 2 } else { 1 };
            backup.timeout.as_millis().saturating_mul(times)
        });
        let all = self.timeout.as_millis().saturating_mul(commands);
        MigrationPlan {
            has_status: self.status.is_some(),
            has_contract: self.contract.is_some(),
            undo: self.undo,
            timeout: Span::from_millis(all.saturating_add(backup_ms)),
        }
    }

    pub fn command(&self, act: MigrationAct) -> Option<&[String]> {
        match act {
            MigrationAct::Up => Some(&self.up),
            MigrationAct::Status => self.status.as_deref(),
            MigrationAct::Down => self.down.as_deref(),
            MigrationAct::Contract => self.contract.as_deref(),
        }
    }

    pub(super) fn must_make_sense(&self, manifest: &Manifest) -> Result<(), String> {
        let component = &self.component;
        if !manifest.components.iter().any(|known| known.name == *component) {
            return Err(format!(
                "the migrations run in the files of `{component}`, and there is no such component"
            ));
        }
        let named = [
            ("up", Some(&self.up)),
            ("status", self.status.as_ref()),
            ("verify", self.verify.as_ref()),
            ("down", self.down.as_ref()),
            ("contract", self.contract.as_ref()),
            ("backup", self.backup.as_ref().map(|backup| &backup.command)),
        ];
        let is_empty = |command: &Vec<String>| command.first().is_none_or(String::is_empty);
        if let Some((name, _)) = named.iter().find(|(_, command)| command.is_some_and(is_empty)) {
            return Err(format!("the migrations' `{name}` has an empty command"));
        }
        match (&self.down, self.undo) {
            (None, Undo::Down) => {
                Err("the migrations are to be undone by `down`, and there is none".to_owned())
            }
            (Some(_), Undo::Keep | Undo::Never) => {
                Err("the migrations have a `down` that is never run".to_owned())
            }
            _ if self.timeout == Span::ZERO => Err("the migrations have no time".to_owned()),
            _ if self.backup.as_ref().is_some_and(|backup| backup.keep == 0) => {
                Err("the migrations' backup is not kept".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn five_minutes() -> Span {
    Span::from_secs(300)
}

fn half_an_hour() -> Span {
    Span::from_secs(1800)
}

const fn five() -> u32 {
    5
}
