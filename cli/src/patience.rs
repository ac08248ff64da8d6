//! A coordinator that went away in the middle of something: waited for, not for ever.

use std::time::{Duration, Instant};

use crate::error::Error;

/// A coordinator that restarts is back within seconds; one that moves to another
/// machine within minutes. After that a person should know.
const LOST_MAX: Duration = Duration::from_secs(300);
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

pub struct Patience {
    lost: Option<Instant>,
    backoff: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            lost: None,
            backoff: BACKOFF_FIRST,
        }
    }
}

impl Patience {
    /// Something came. Says so when nothing had for a while.
    pub fn heard(&mut self) -> Option<&'static str> {
        self.backoff = BACKOFF_FIRST;
        self.lost.take().map(|_| "the coordinator is back")
    }

    /// Before the next try: gives up on an error that trying again does not mend, and
    /// after too long. What to tell, the first time, is the answer.
    pub fn judge(&mut self, error: Error) -> Result<Option<String>, Error> {
        if !matches!(error, Error::Unreachable { .. }) {
            return Err(error);
        }
        match self.lost {
            Some(since) if since.elapsed() > LOST_MAX => Err(error),
            Some(_) => Ok(None),
            None => {
                self.lost = Some(Instant::now());
                Ok(Some(format!("{error}; trying again")))
            }
        }
    }

    pub async fn pause(&mut self) {
        tokio::time::sleep(self.backoff).await;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }
}
