//! News for whoever looks: the journal is listened to, and what is so is asked for when it
//! has moved, as often as it costs little.

use std::time::Duration;

use fleet_proto::view::{EventView, StatusView};
use fleet_proto::wire::EventsQuery;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::Error;
use crate::operator::{Answer, Operator};
use crate::render::top::model::News;
use crate::scope::Scope;

/// Of a small fleet. Whoever looks sees steps move, not jump.
const BETWEEN_SMALL: Duration = Duration::from_millis(500);
/// A status of ten thousand nodes is some megabytes.
const BETWEEN_LARGE: Duration = Duration::from_secs(2);
const LARGE_BYTES: usize = 256 << 10;
/// Asking, sending and reading may take this part of the time, on whatever machine and line.
const SHARE: u32 = 5;
/// Without news: what waits until some time stops waiting without an event.
const BETWEEN_STILL: Duration = Duration::from_secs(10);
/// A coordinator that restarts is back within seconds.
const RETRY: Duration = Duration::from_secs(1);
/// So far back events are read at first.
const EVENTS_BACK: u64 = 100;
/// Events that came together are told together.
const EVENTS_EVERY: Duration = Duration::from_millis(250);

pub struct Feed {
    operator: Operator,
    scope: Scope,
    news: Sender<News>,
    /// The last event that was told.
    position: u64,
    pace: Pace,
}

/// When it may be asked again.
#[derive(Debug, Clone, Copy)]
struct Pace {
    asked: Instant,
    took: Duration,
    bytes: usize,
}

impl Pace {
    fn next(&self, moved: bool) -> Instant {
        let least = match self.bytes {
            0..LARGE_BYTES => BETWEEN_SMALL,
            _ => BETWEEN_LARGE,
        };
        let least = least.max(self.took * SHARE);
        self.asked + if moved { least } else { least.max(BETWEEN_STILL) }
    }
}

impl Feed {
    /// `first` is known already.
    pub fn new(operator: Operator, scope: Scope, news: Sender<News>, first: &Answer<StatusView>) -> Self {
        Self {
            operator,
            scope,
            news,
            position: first.view.coordinator.position.saturating_sub(EVENTS_BACK),
            pace: Pace {
                asked: Instant::now(),
                took: Duration::ZERO,
                bytes: first.json.len(),
            },
        }
    }

    /// A coordinator that is away is waited for, as long as somebody looks; that it does not
    /// allow it any more is an end.
    pub async fn run(mut self) -> Result<(), Error> {
        loop {
            match self.listen().await {
                Ok(()) => {}
                Err(error @ Error::Unreachable { .. }) => self.tell(News::Lost(error.to_string())).await,
                Err(error) => return Err(error),
            }
            sleep(RETRY).await;
            match self.ask().await {
                Err(error @ Error::Unreachable { .. }) => self.tell(News::Lost(error.to_string())).await,
                other => other?,
            }
        }
    }

    async fn tell(&self, news: News) {
        // Whoever looked has gone, and with them this.
        let _gone = self.news.send(news).await;
    }

    async fn ask(&mut self) -> Result<(), Error> {
        let asked = Instant::now();
        let answer = self
            .operator
            .status(&self.scope.app, &self.scope.environment)
            .await?;
        self.pace = Pace {
            asked: Instant::now(),
            took: asked.elapsed(),
            bytes: answer.json.len(),
        };
        self.tell(News::Status(Box::new(answer.view))).await;
        Ok(())
    }

    /// Until the stream of events ends or breaks.
    async fn listen(&mut self) -> Result<(), Error> {
        let query = EventsQuery {
            after: self.position,
            follow: true,
            ..EventsQuery::default()
        };
        let mut events = self.operator.events(query).await?;
        let mut heard: Vec<EventView> = Vec::new();
        let mut moved = false;
        let mut told = Instant::now();
        loop {
            tokio::select! {
                event = events.next() => {
                    let Some(event) = event? else { return Ok(()) };
                    self.position = event.view.position;
                    moved = true;
                    heard.push(event.view);
                }
                () = sleep_until(told + EVENTS_EVERY), if !heard.is_empty() => {
                    self.tell(News::Events(std::mem::take(&mut heard))).await;
                    told = Instant::now();
                }
                () = sleep_until(self.pace.next(moved)) => {
                    moved = false;
                    self.ask().await?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dear_is_asked_for_seldom() {
        let asked = Instant::now();
        let ms = Duration::from_millis;
        for (took, bytes, moved, expected) in [
            (ms(5), 10_000, true, ms(500)),
            (ms(200), 10_000, true, ms(1000)),
            (ms(50), 6 << 20, true, ms(2000)),
            (ms(900), 6 << 20, true, ms(4500)),
            (ms(5), 10_000, false, ms(10_000)),
        ] {
            let pace = Pace { asked, took, bytes };
            assert_eq!(pace.next(moved) - asked, expected, "{took:?} {bytes}");
        }
    }
}
