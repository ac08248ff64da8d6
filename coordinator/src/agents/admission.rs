//! How fast nodes come in. After a restart all of them knock at once; those in the
//! middle of a step go first, the others one after the other.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A greeting costs a handshake, an event and its share of a turn: about a millisecond of
/// a core altogether. A fleet of ten thousand is back within the grace that a restart gives.
const ADMITTED_PER_SECOND: u32 = 500;
/// Whoever would have to wait for longer is told to come back: a waiting stream is memory.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Full: come back after this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full(pub Duration);

/// Two queues, so that those whom a rollout waits for do not stand behind the others.
#[derive(Default)]
pub struct Admission {
    in_step: Queue,
    others: Queue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// In the middle of a step.
    InStep,
    Other,
}

impl Admission {
    /// Returns when the caller may come in.
    pub(super) async fn wait(&self, standing: Standing) -> Result<(), Full> {
        let queue = match standing {
            Standing::InStep => &self.in_step,
            Standing::Other => &self.others,
        };
        let turn = queue.take_place(Instant::now())?;
        sleep_until(turn).await;
        Ok(())
    }
}

#[derive(Default)]
struct Queue {
    /// When the next one may come in.
    next: Mutex<Option<Instant>>,
}

impl Queue {
    fn take_place(&self, now: Instant) -> Result<Instant, Full> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        let wait = turn - now;
        if wait > WAIT_MAX {
            return Err(Full(wait));
        }
        *next = Some(turn + Duration::from_secs(1) / ADMITTED_PER_SECOND);
        Ok(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_at_a_bounded_rate_and_the_queue_is_bounded_too() {
        let admission = Queue::default();
        let now = Instant::now();
        assert_eq!(admission.take_place(now), Ok(now));
        let places: Vec<_> = (0..10_000).map(|_| admission.take_place(now)).collect();
        let let_in = places.iter().filter(|place| place.is_ok()).count();
        assert_eq!(let_in, 5 * ADMITTED_PER_SECOND as usize);
        assert!(matches!(places.last(), Some(Err(Full(wait))) if *wait > WAIT_MAX));
        // The queue has moved on: there is a place again.
        let later = now + Duration::from_secs(2);
        assert!(admission.take_place(later).is_ok());
    }
}
