//! Waiting longer each time, and never in step with the others.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LAST: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub struct Backoff {
    ceiling: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { ceiling: FIRST }
    }
}

impl Backoff {
    pub fn reset(&mut self) {
        self.ceiling = FIRST;
    }

    /// Full jitter: anything up to the ceiling, so that ten thousand agents that lost
    /// the same coordinator do not come back in one instant.
    pub fn pause(&mut self) -> Duration {
        let pause = self.ceiling.mul_f64(random_share());
        self.ceiling = (self.ceiling * 2).min(LAST);
        pause
    }
}

/// Four fifths to six fifths of it.
pub fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.8 + 0.4 * random_share())
}

/// From 0 to 1. The hasher's seed is random, and this needs to be no better than it.
#[expect(clippy::cast_precision_loss, reason = "a share of a pause needs no more")]
fn random_share() -> f64 {
    let random = RandomState::new().hash_one(());
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            assert!(backoff.pause() <= LAST);
        }
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}
