//! The latest readings, and what they come to: an error rate, a response time.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Enough for a rate in percent, and no more than a few minutes of checks.
const READINGS_MAX: usize = 200;
/// Below this a rate is an anecdote: one failure in five is not twenty percent.
const READINGS_MIN: usize = 20;

#[derive(Debug, Clone, Default)]
pub struct Window {
    results: VecDeque<(bool, Option<Duration>)>,
}

/// How the node was before the switch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    pub error_percent: f64,
    pub p50: Option<Duration>,
    pub p95: Option<Duration>,
}

impl Window {
    pub fn push(&mut self, passed: bool, latency: Option<Duration>) {
        if self.results.len() == READINGS_MAX {
            self.results.pop_front();
        }
        self.results.push_back((passed, latency));
    }

    pub fn clear(&mut self) {
        self.results.clear();
    }

    pub fn failed(&self) -> usize {
        self.results.iter().filter(|(passed, _)| !passed).count()
    }

    #[expect(clippy::cast_precision_loss, reason = "a percentage needs no more")]
    pub fn error_percent(&self) -> Option<f64> {
        if self.results.len() < READINGS_MIN {
            return None;
        }
        Some(self.failed() as f64 * 100.0 / self.results.len() as f64)
    }

    pub fn p50(&self) -> Option<Duration> {
        self.percentile(50)
    }

    pub fn p95(&self) -> Option<Duration> {
        self.percentile(95)
    }

    fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut latencies: Vec<Duration> = self.results.iter().filter_map(|(_, latency)| *latency).collect();
        if latencies.len() < READINGS_MIN {
            return None;
        }
        latencies.sort();
        latencies
            .get((latencies.len() * percent).div_ceil(100) - 1)
            .copied()
    }

    /// None where there is too little to compare with.
    pub fn baseline(&self) -> Option<Baseline> {
        Some(Baseline {
            error_percent: self.error_percent()?,
            p50: self.p50(),
            p95: self.p95(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_readings_are_no_rate() {
        let mut window = Window::default();
        for _ in 0..READINGS_MIN - 1 {
            window.push(false, Some(Duration::from_millis(1)));
        }
        assert_eq!((window.error_percent(), window.p95()), (None, None));
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let mut window = Window::default();
        for ms in 1..=100 {
            window.push(ms > 10, Some(Duration::from_millis(ms)));
        }
        assert_eq!(window.p50(), Some(Duration::from_millis(50)));
        assert_eq!(window.p95(), Some(Duration::from_millis(95)));
        assert_eq!(window.error_percent(), Some(10.0));
    }
}
