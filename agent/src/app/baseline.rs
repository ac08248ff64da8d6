//! How the node was before the switch: kept, for an agent that starts in the middle judges by
//! it too.

use fleet_proto::release::ReleaseRef;
use serde::{Deserialize, Serialize};

use super::{RunLane, Task};
use crate::durable;
use crate::effects::chain;
use crate::install::Purpose;
use crate::probe::window::Baseline;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// Before the switch to this, in this rollout.
    release: Option<ReleaseRef>,
    rollout: u64,
    baseline: Baseline,
}

impl RunLane {
    /// From what runs until now; else what an agent before this one has kept for the same move.
    pub(super) fn baseline(&mut self, now: &Task) -> Option<Baseline> {
        let measured = self.crew.take().and_then(|crew| crew.judge.baseline());
        match (now.work.purpose, measured) {
            (Purpose::Activate, Some(baseline)) => {
                self.keep(now, baseline);
                Some(baseline)
            }
            (Purpose::Activate, None) => self.kept(now),
            // Taken in hand again: what it is now is no measure of itself.
            (Purpose::Verify | Purpose::Bake | Purpose::Smoke, measured) => self.kept(now).or(measured),
            (Purpose::Rest | Purpose::PutBack, measured) => measured,
        }
    }

    /// Without it the release is judged by its limits alone: no reason not to go on.
    fn keep(&self, now: &Task, baseline: Baseline) {
        let kept = Kept {
            release: now.work.run.clone(),
            rollout: now.work.order.0.0,
            baseline,
        };
        let path = self.converge.layout.baseline(&self.converge.app);
        let text = serde_json::to_vec(&kept).unwrap_or_default();
        if let Err(error) = tokio::task::block_in_place(|| durable::replace(&path, &text, 0o600)) {
            tracing::warn!(app = %self.converge.app, error = chain(&error), "the baseline is not kept");
        }
    }

    fn kept(&self, now: &Task) -> Option<Baseline> {
        let path = self.converge.layout.baseline(&self.converge.app);
        let text = tokio::task::block_in_place(|| std::fs::read(path)).ok()?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        let is_of_it = kept.release == now.work.run && kept.rollout == now.work.order.0.0;
        is_of_it.then_some(kept.baseline)
    }
}
