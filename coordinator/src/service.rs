//! What a service manager is told. Without one there is nobody to tell.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

pub fn ready() {
    tell(NotifyState::Ready);
}

pub fn stopping() {
    tell(NotifyState::Stopping);
}

fn tell(state: NotifyState<'_>) {
    let _nobody = sd_notify::notify(&[state]);
}

/// That the loop still turns: said by the loop itself, so that one that hangs is noticed,
/// and no more often than needed, for a busy one turns thousands of times a second.
pub struct Pulse {
    every: Option<Duration>,
    last: Option<Instant>,
}

impl Pulse {
    /// As often as this process's service manager wants to hear it.
    pub fn wanted() -> Self {
        Self::within(sd_notify::watchdog_enabled())
    }

    fn within(limit: Option<Duration>) -> Self {
        Self {
            // One may come late, and another one get lost.
            every: limit.map(|limit| limit / 3),
            last: None,
        }
    }

    pub fn beat(&mut self, now: Instant) {
        if self.is_due(now) {
            self.last = Some(now);
            tell(NotifyState::Watchdog);
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let since = |last| now.saturating_duration_since(last);
        self.every
            .is_some_and(|every| self.last.is_none_or(|last| since(last) >= every))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_beats_thrice_within_the_limit_and_not_in_every_turn() {
        let begin = Instant::now();
        let mut pulse = Pulse::within(Some(Duration::from_secs(30)));
        let mut beats = 0;
        for turn in 0..300 {
            let now = begin + Duration::from_millis(100) * turn;
            beats += u32::from(pulse.is_due(now));
            pulse.beat(now);
        }
        assert_eq!(beats, 3);
    }

    #[test]
    fn nobody_is_told_who_does_not_ask() {
        assert!(!Pulse::within(None).is_due(Instant::now()));
    }
}
