//! `[migrations]`.

use std::collections::BTreeMap;

use fleet_proto::ids::ComponentName;
use fleet_proto::migration::Undo;
use fleet_proto::quantity::Span;
use fleet_proto::release::{Backup, Migrations};
use serde::Deserialize;

const TIMEOUT: Span = Span::from_secs(300);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrationsSection {
    component: Option<ComponentName>,
    status: Option<Vec<String>>,
    backup: Option<Backup>,
    up: Vec<String>,
    verify: Option<Vec<String>>,
    down: Option<Vec<String>>,
    contract: Option<Vec<String>>,
    undo: Option<Undo>,
    timeout: Option<Span>,
    user: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
}

impl MigrationsSection {
    /// They run in the first component's files, if none is named; and what can be undone is.
    pub(super) fn into_migrations(self, first: Option<&ComponentName>) -> Option<Migrations> {
        let undo = match self.down {
            Some(_) => Undo::Down,
            None => Undo::Keep,
        };
        Some(Migrations {
            component: self.component.or_else(|| first.cloned())?,
            status: self.status,
            backup: self.backup,
            up: self.up,
            verify: self.verify,
            undo: self.undo.unwrap_or(undo),
            down: self.down,
            contract: self.contract,
            timeout: self.timeout.unwrap_or(TIMEOUT),
            user: self.user,
            env: self.env,
        })
    }
}
