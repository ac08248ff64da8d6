//! An agent in small: the same answers to the same orders, without processes.

use std::collections::BTreeMap;

use fleet_proto::fence::{Fence, Freshness};
use fleet_proto::ids::AppName;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{
    AppStatus, Command, FailureClass, Health, Order, Phase, ServiceStatus, StepStatus,
};

use super::fleet::{failure, step_status};

pub struct VirtualNode {
    pub connected: bool,
    pub apps: BTreeMap<AppName, VirtualApp>,
    pub service: ServiceStatus,
}

pub struct VirtualApp {
    app: AppName,
    pub current: Option<ReleaseRef>,
    pub ill: bool,
    /// Has just started, and has not looked at its app yet.
    pub unsure: bool,
    pub(super) seen: Fence,
    /// The newest order.
    taken: Option<Order>,
    /// It took an order for a repetition of another one.
    pub mistaken: bool,
    good: Vec<ReleaseRef>,
    step: Option<StepStatus>,
}

impl VirtualNode {
    pub fn new(apps: [AppName; 2]) -> Self {
        let apps = apps.into_iter().map(|app| (app.clone(), VirtualApp::new(app)));
        Self {
            connected: false,
            apps: apps.collect(),
            service: ServiceStatus::default(),
        }
    }

    pub fn status(&self) -> Vec<AppStatus> {
        let mut apps: Vec<AppStatus> = self.apps.values().map(VirtualApp::status).collect();
        let stopped = apps.iter_mut().filter(|app| app.current.is_some());
        for app in stopped.filter(|_| self.service.drained) {
            app.health = Health::Unhealthy {
                why: "stopped: the node is drained".into(),
            };
        }
        apps
    }

    pub fn take(&mut self, command: &Command) {
        self.apps.get_mut(&command.app).unwrap().take(command);
    }

    /// True when something happened.
    pub fn advance(&mut self, fails: Option<FailureClass>) -> bool {
        let moved = self.apps.values_mut().map(|app| app.advance(fails));
        moved.fold(false, |any, moved| any | moved)
    }
}

impl VirtualApp {
    fn new(app: AppName) -> Self {
        Self {
            app,
            current: None,
            ill: false,
            unsure: false,
            seen: Fence::ZERO,
            taken: None,
            mistaken: false,
            good: vec![],
            step: None,
        }
    }

    pub fn status(&self) -> AppStatus {
        let broken = self.ill || self.step.as_ref().is_some_and(|step| step.phase.disturbs());
        AppStatus {
            fence_seen: self.seen,
            current: self.current.clone(),
            last_good: self.good.last().cloned(),
            health: match (&self.current, broken) {
                (None, _) => Health::Empty,
                (Some(_), _) if self.unsure => Health::Unknown,
                (Some(_), true) => Health::Unhealthy { why: "503".into() },
                (Some(_), false) => Health::Healthy,
            },
            step: self.step.clone(),
            app: self.app.clone(),
        }
    }

    /// On its way from one release to another.
    pub fn moves(&self) -> bool {
        let step = self.step.as_ref();
        step.is_some_and(|step| step.phase != Phase::Baking && !step.phase.is_settled())
    }

    pub fn take(&mut self, command: &Command) {
        match command.fence.freshness_after(self.seen) {
            Freshness::Stale => return,
            Freshness::Duplicate => {
                self.seen.term = command.fence.term;
                if self.taken.as_ref() != Some(&command.order) {
                    self.mistaken = true;
                }
                return;
            }
            Freshness::New => self.seen = command.fence,
        }
        self.taken = Some(command.order.clone());
        match &command.order {
            Order::Deploy { release } => {
                self.step = Some(step_status(command, Some(release.clone()), Phase::Fetching));
            }
            // None of the releases here has one.
            Order::Migrate { .. } => {}
            Order::Commit => self.commit(command),
            Order::Revert { leave, to, .. } => self.revert(command, leave.as_ref(), to.as_ref()),
        }
    }

    fn commit(&mut self, command: &Command) {
        let Some(step) = &mut self.step else { return };
        step.generation = command.fence.generation;
        if step.phase == Phase::Baking {
            step.phase = Phase::Done;
            if let Some(current) = &self.current
                && self.good.last() != Some(current)
            {
                self.good.retain(|known| known != current);
                self.good.push(current.clone());
            }
        }
    }

    fn revert(&mut self, command: &Command, leave: Option<&ReleaseRef>, to: Option<&ReleaseRef>) {
        let old = self.step.take();
        let on_its_way = old.is_some_and(|step| step.release.as_ref() == leave && !step.phase.is_settled());
        self.good.retain(|known| Some(known) != leave);
        if self.current.as_ref() != leave {
            let target = self.current.clone();
            let phase = if on_its_way {
                Phase::RollingBack
            } else {
                Phase::RolledBack
            };
            self.step = Some(step_status(command, target, phase));
            return;
        }
        let target = to.cloned().or_else(|| self.good.last().cloned());
        self.step = Some(step_status(command, target, Phase::RollingBack));
    }

    /// The next thing that happens by itself; true when something did.
    pub fn advance(&mut self, fails: Option<FailureClass>) -> bool {
        let Some(step) = &mut self.step else { return false };
        match (step.phase, fails) {
            (Phase::Fetching, Some(FailureClass::Infrastructure)) => {
                step.failure = Some(failure(FailureClass::Infrastructure));
                step.phase = Phase::Failed;
            }
            (Phase::Fetching, _) => step.phase = Phase::Activating,
            (Phase::Activating, _) => {
                self.current.clone_from(&step.release);
                step.phase = Phase::Verifying;
            }
            (Phase::Verifying | Phase::Baking, Some(FailureClass::Release)) => {
                step.failure = Some(failure(FailureClass::Release));
                step.phase = Phase::RollingBack;
                step.release = self.good.last().cloned();
            }
            (Phase::Verifying, _) => step.phase = Phase::Baking,
            (Phase::RollingBack, _) => {
                self.current.clone_from(&step.release);
                step.phase = Phase::RolledBack;
            }
            _ => return false,
        }
        true
    }
}
