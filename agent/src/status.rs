//! How the node is, for people on it: the same document from a running agent and from
//! the files of a stopped one.

use std::collections::BTreeMap;

use fleet_proto::ids::{AppName, ComponentName, NodeId};
use fleet_proto::quantity::Bytes;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{AppStatus, Health};
use fleet_proto::time::Timestamp;
use fleet_proto::view::DrainView;
use serde::{Deserialize, Serialize};

use crate::drained;
use crate::layout::Layout;
use crate::ledger::Ledger;
use crate::process::run_directory::RunDirectory;
use crate::process::standing::glance;
use crate::slots::Slots;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub node: NodeId,
    pub agent_version: String,
    pub daemon: Daemon,
    /// The coordinator with which a session is open.
    pub coordinator: Option<String>,
    pub certificate_expires_at: Option<Timestamp>,
    #[serde(default)]
    pub drained: Option<DrainView>,
    pub apps: Vec<AppView>,
    /// What the coordinator has not been told yet.
    pub history_waiting: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Daemon {
    Running,
    Stopped,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppView {
    #[serde(flatten)]
    pub status: AppStatus,
    /// Newest last.
    pub good: Vec<ReleaseRef>,
    pub components: Vec<ComponentView>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComponentView {
    pub component: ComponentName,
    pub pid: Option<i32>,
    pub keeper_pid: Option<i32>,
    pub restarts: u64,
    pub since: Option<Timestamp>,
    pub last_exit: Option<String>,
}

/// A release on the disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseView {
    pub app: AppName,
    pub release: ReleaseRef,
    pub counter: u64,
    pub is_current: bool,
    pub is_good: bool,
    /// Components whose processes live in it; more than the current one may have some.
    #[serde(default)]
    pub in_use_by: Vec<ComponentName>,
    pub bytes: Bytes,
}

pub fn apps(layout: &Layout, ledger: &Ledger, health: &BTreeMap<AppName, Health>) -> Vec<AppView> {
    ledger
        .apps
        .iter()
        .map(|(app, record)| {
            let known = health.get(app).cloned();
            let empty = record.current.is_none();
            let unknown = if empty { Health::Empty } else { Health::Unknown };
            let components = components(layout, app);
            let health = if ledger.service.drained && is_still(&components) {
                drained::health(!empty)
            } else {
                known.unwrap_or(unknown)
            };
            AppView {
                status: record.status(app, health),
                good: record.good.iter().map(|good| good.release.clone()).collect(),
                components,
            }
        })
        .collect()
}

/// By what runs, so that it is the same for an agent that is stopped.
pub fn drained(layout: &Layout, ledger: &Ledger) -> Option<DrainView> {
    let all_still = || ledger.apps.keys().all(|app| is_still(&components(layout, app)));
    ledger.service.drained.then(|| match all_still() {
        true => DrainView::Drained,
        false => DrainView::Draining,
    })
}

fn is_still(components: &[ComponentView]) -> bool {
    components
        .iter()
        .all(|component| component.pid.is_none() && component.keeper_pid.is_none())
}

fn components(layout: &Layout, app: &AppName) -> Vec<ComponentView> {
    let runs = layout.runs_on_disk(app).into_iter();
    runs.map(|component| {
        let state = glance(&RunDirectory::new(layout.run(app, &component)));
        ComponentView {
            component,
            pid: state.as_ref().and_then(|state| state.main).map(|main| main.pid),
            keeper_pid: state
                .as_ref()
                .and_then(|state| state.keeper)
                .map(|keeper| keeper.pid),
            restarts: state.as_ref().map_or(0, |state| state.restarts),
            since: state.as_ref().map(|state| state.since),
            last_exit: state.and_then(|state| state.last_exit),
        }
    })
    .collect()
}

pub fn releases(layout: &Layout, ledger: &Ledger) -> Vec<ReleaseView> {
    let mut views = Vec::new();
    for app in layout.apps_on_disk() {
        let record = ledger.apps.get(&app);
        let slots = Slots::new(layout, &app);
        let in_use = slots.in_use();
        for (digest, slot) in slots.all() {
            let bytes = slot
                .manifest
                .components
                .iter()
                .filter_map(|component| slot.tree(&component.name).ok())
                .map(|tree| tree.bytes())
                .sum();
            let release = ReleaseRef {
                version: slot.manifest.version.clone(),
                digest,
            };
            views.push(ReleaseView {
                app: app.clone(),
                counter: slot.manifest.counter,
                is_current: record.is_some_and(|record| record.current_release() == Some(&release)),
                is_good: record.is_some_and(|record| record.is_good(&release)),
                in_use_by: in_use.by(&digest).to_vec(),
                bytes: Bytes(bytes),
                release,
            });
        }
    }
    views.sort_by(|a, b| (&a.app, a.counter).cmp(&(&b.app, b.counter)));
    views
}
