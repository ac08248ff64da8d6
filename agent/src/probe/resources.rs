//! What a component's processes take of the node.

use std::time::Instant;

use crate::facts::{self, PAGE_BYTES, TICKS_PER_SECOND};
use crate::process::run_directory::RunDirectory;
use crate::process::standing::{glance, processes};

/// In percent of the node's cores and memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    pub cpu: f64,
    pub memory: f64,
}

/// Measures one component; processor time needs two looks.
pub struct Meter {
    run: RunDirectory,
    before: Option<(Instant, u64)>,
}

impl Meter {
    pub fn new(run: RunDirectory) -> Self {
        Self { run, before: None }
    }

    #[expect(clippy::cast_precision_loss, reason = "a percentage needs no more")]
    pub fn look(&mut self) -> Option<Share> {
        let own = processes(&glance(&self.run)?);
        let (ticks, pages) = own.iter().fold((0, 0), |(ticks, pages), stat| {
            (ticks + stat.cpu_ticks, pages + stat.resident_pages)
        });
        let now = Instant::now();
        let before = self.before.replace((now, ticks));
        let (then, ticks_then) = before?;
        let seconds = now.duration_since(then).as_secs_f64().max(0.001);
        let cores = f64::from(facts::cpus());
        let cpu = ticks.saturating_sub(ticks_then) as f64 / TICKS_PER_SECOND as f64 / seconds / cores * 100.0;
        let total = facts::memory().total.max(1);
        let memory = (pages * PAGE_BYTES) as f64 / total as f64 * 100.0;
        Some(Share { cpu, memory })
    }
}
