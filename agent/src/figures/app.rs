//! Of one app: its phase, its checks, its restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fleet_proto::ids::AppName;
use fleet_proto::session::Phase;

use super::restarts::Restarts;
use super::{Figures, Stands};

#[derive(Debug, Clone, Default)]
pub struct OfApp {
    pub stands: Stands,
    since: Option<Instant>,
    pub checks: BTreeMap<String, Checked>,
    components: BTreeMap<String, Restarts>,
}

/// What came of one check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    pub passed: u64,
    pub missed: u64,
    pub passes_now: bool,
}

impl OfApp {
    /// Gives the phase that has ended with it, and how long it took.
    pub(super) fn stand(&mut self, stands: Stands, now: Instant) -> Option<(Phase, Duration)> {
        let before = self.stands.phase;
        let is_other = stands.phase != before;
        self.stands = stands;
        if !is_other {
            return None;
        }
        let since = self.since.replace(now);
        before.zip(since.map(|since| now.duration_since(since)))
    }

    pub(super) fn is_restarting(&self, now: Instant) -> bool {
        self.components.values().any(|restarts| restarts.is_loop(now))
    }

    /// Each component, and how often it was started again since the agent looks.
    pub fn restarts(&self) -> impl Iterator<Item = (&str, u64)> {
        let components = self.components.iter();
        components.map(|(component, restarts)| (component.as_str(), restarts.counted()))
    }
}

/// The part of one app in what is counted.
#[derive(Debug, Clone)]
pub struct AppFigures {
    figures: Figures,
    app: AppName,
}

impl AppFigures {
    pub(super) fn new(figures: Figures, app: AppName) -> Self {
        Self { figures, app }
    }

    fn change(&self, change: impl FnOnce(&mut OfApp)) {
        self.figures
            .change(|counted| change(counted.apps.entry(self.app.clone()).or_default()));
    }

    /// A release with these checks and components runs from now on: what others were called
    /// is forgotten, or it would pile up with each release.
    pub fn begin(&self, checks: &[String], components: &BTreeSet<String>) {
        self.change(|app| {
            app.checks.retain(|check, _| checks.contains(check));
            app.components
                .retain(|component, _| components.contains(component));
            for check in checks {
                app.checks.entry(check.clone()).or_default().passes_now = false;
            }
            for component in components {
                let component = app.components.entry(component.clone()).or_default();
                component.begin_anew();
            }
        });
    }

    pub fn note_check(&self, check: &str, passed: bool) {
        self.change(|app| {
            let checked = app.checks.entry(check.to_owned()).or_default();
            checked.passes_now = passed;
            *if passed {
                &mut checked.passed
            } else {
                &mut checked.missed
            } += 1;
        });
    }

    pub fn note_restarts(&self, component: &str, restarts: u64) {
        let now = Instant::now();
        self.change(|app| {
            let component = app.components.entry(component.to_owned()).or_default();
            component.note(restarts, now);
        });
    }
}
