//! What the agent counts of itself and of its apps, for metrics and for heartbeats. Nothing
//! is decided by it, and nothing of it outlives the agent.

mod app;
mod restarts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fleet_proto::digest::Digest;
use fleet_proto::exposition::Histogram;
use fleet_proto::ids::AppName;
use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;

pub use app::{AppFigures, Checked, OfApp};

/// Those that take time here; in the others a step waits, or is over.
const PHASES: [Phase; 7] = [
    Phase::Fetching,
    Phase::Staged,
    Phase::Migrating,
    Phase::Activating,
    Phase::Verifying,
    Phase::Baking,
    Phase::RollingBack,
];

/// Shared by whoever has something to count.
#[derive(Debug, Clone, Default)]
pub struct Figures(Arc<Mutex<Counted>>);

#[derive(Debug, Clone)]
pub struct Counted {
    pub apps: BTreeMap<AppName, OfApp>,
    pub phases: BTreeMap<&'static str, Histogram>,
    pub ledger_writes: Histogram,
    /// Since when no coordinator is there, if none is: at most since this agent began.
    pub silent_since: Timestamp,
    pub certificate_expires_at: Option<Timestamp>,
}

impl Default for Counted {
    fn default() -> Self {
        Self {
            apps: BTreeMap::new(),
            phases: PHASES
                .map(|phase| (phase.word(), Histogram::new(Histogram::WHILES)))
                .into(),
            ledger_writes: Histogram::new(Histogram::MOMENTS),
            silent_since: Timestamp::now(),
            certificate_expires_at: None,
        }
    }
}

/// How an app stands, as far as it is in the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stands {
    pub phase: Option<Phase>,
    pub last_good: Option<Digest>,
    pub is_healthy: bool,
}

impl Figures {
    fn change<T>(&self, change: impl FnOnce(&mut Counted) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// As they are now.
    pub fn counted(&self) -> Counted {
        self.change(|counted| counted.clone())
    }

    /// For whoever looks after one app.
    pub fn of(&self, app: &AppName) -> AppFigures {
        AppFigures::new(self.clone(), app.clone())
    }

    pub fn note_silent(&self, since: Timestamp) {
        self.change(|counted| counted.silent_since = since);
    }

    pub fn note_certificate(&self, expires_at: Timestamp) {
        self.change(|counted| counted.certificate_expires_at = Some(expires_at));
    }

    pub fn note_ledger_written(&self, took: Duration) {
        self.change(|counted| counted.ledger_writes.observe(took.as_secs_f64()));
    }

    /// Of all apps. What an app leaves when its phase changes has come to its end.
    pub fn note_apps(&self, apps: impl IntoIterator<Item = (AppName, Stands)>) {
        let now = Instant::now();
        self.change(|counted| {
            for (app, stands) in apps {
                let Counted { apps, phases, .. } = &mut *counted;
                if let Some((phase, took)) = apps.entry(app).or_default().stand(stands, now)
                    && let Some(of_phase) = phases.get_mut(phase.word())
                {
                    of_phase.observe(took.as_secs_f64());
                }
            }
        });
    }

    /// Apps that are restarted again and again.
    pub fn restarting(&self) -> BTreeSet<AppName> {
        let now = Instant::now();
        self.change(|counted| {
            let restarting = counted.apps.iter().filter(|(_, app)| app.is_restarting(now));
            restarting.map(|(app, _)| app.clone()).collect()
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn stands(phase: Phase) -> Stands {
        Stands {
            phase: Some(phase),
            ..Stands::default()
        }
    }

    #[test]
    fn a_phase_is_observed_when_it_is_left_and_only_then() {
        let figures = Figures::default();
        let shop: AppName = "shop".parse().unwrap();
        let observed = |phase: Phase| figures.counted().phases[phase.word()].count();
        for phase in [Phase::Fetching, Phase::Fetching, Phase::Activating, Phase::Done] {
            figures.note_apps([(shop.clone(), stands(phase))]);
        }
        assert_eq!((observed(Phase::Fetching), observed(Phase::Activating)), (1, 1));
        assert_eq!(observed(Phase::Verifying), 0);
    }

    #[test]
    fn an_app_that_is_restarted_again_and_again_is_told() {
        let figures = Figures::default();
        let shop = figures.of(&"shop".parse().unwrap());
        // What was before this agent looked is nobody's restart now.
        for restarts in [7, 8, 9] {
            shop.note_restarts("web", restarts);
            assert!(figures.restarting().is_empty(), "{restarts}");
        }
        shop.note_restarts("web", 10);
        assert_eq!(figures.restarting().len(), 1);
        let counted = figures.counted();
        let of_shop = counted.apps.values().next().unwrap();
        assert_eq!(of_shop.restarts().collect::<Vec<_>>(), [("web", 3)]);
    }
}
