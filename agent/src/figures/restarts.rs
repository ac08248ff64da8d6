//! How often a component was started again by its manager.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So often within so long, and it is no accident any more. Managers wait longer from one
/// restart to the next, some of them for minutes.
const LOOP_RESTARTS: usize = 3;
const LOOP_WITHIN: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Default)]
pub struct Restarts {
    /// By its manager's count, which begins anew with each process that it takes in hand.
    known: Option<u64>,
    counted: u64,
    newest: VecDeque<Instant>,
}

impl Restarts {
    /// Another process takes its place: what became of this one says nothing of that.
    pub fn begin_anew(&mut self) {
        self.known = None;
        self.newest.clear();
    }

    pub fn note(&mut self, restarts: u64, now: Instant) {
        let before = self.known.replace(restarts);
        // Those from before this agent looked are not news.
        let Some(before) = before else { return };
        let new = if restarts < before {
            restarts
        } else {
            restarts - before
        };
        self.counted += new;
        for _ in 0..new.min(LOOP_RESTARTS as u64) {
            self.newest.push_back(now);
        }
        while self.newest.len() > LOOP_RESTARTS {
            self.newest.pop_front();
        }
    }

    pub fn counted(&self) -> u64 {
        self.counted
    }

    pub fn is_loop(&self, now: Instant) -> bool {
        let oldest = self.newest.front();
        self.newest.len() == LOOP_RESTARTS
            && oldest.is_some_and(|oldest| now.duration_since(*oldest) < LOOP_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_counts_anew_has_still_restarted() {
        let mut restarts = Restarts::default();
        let now = Instant::now();
        for count in [4, 5, 1] {
            restarts.note(count, now);
        }
        assert_eq!(restarts.counted(), 2);
        assert!(!restarts.is_loop(now));
        restarts.note(2, now);
        assert!(restarts.is_loop(now));
        assert!(!restarts.is_loop(now + LOOP_WITHIN));
        restarts.begin_anew();
        restarts.note(9, now);
        assert!(!restarts.is_loop(now) && restarts.counted() == 3);
    }
}
