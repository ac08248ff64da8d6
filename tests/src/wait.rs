//! Waiting for a state, with a limit, and never for a moment.

use std::time::{Duration, Instant};

/// Looks again and again until there is something to see.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        if Instant::now() > deadline {
            anyhow::bail!("waited {limit:?} for {what}");
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}
