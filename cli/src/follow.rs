//! Following a rollout, and the rollback that it leads to, until nothing more happens
//! by itself.

use std::time::{Duration, Instant};

use fleet_proto::time::Timestamp;
use fleet_proto::view::{RolloutStateView, RolloutView};

use crate::error::Error;
use crate::exit::Exit;
use crate::operator::{Answer, Answers, Operator};
use crate::render::live::Live;
use crate::render::progress::Progress;
use crate::render::screen::Screen;

/// A coordinator that restarts is back within seconds; one that moves to another
/// machine within minutes. After that a person should know.
const LOST_MAX: Duration = Duration::from_secs(300);
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How often progress is shown anew without news: for clocks, and for waits that last.
const REDRAW: Duration = Duration::from_millis(500);

/// How the following ended.
pub struct Followed {
    pub rollout: Answer<RolloutView>,
    pub rollback: Option<Answer<RolloutView>>,
    /// Ctrl-C: the rollout goes on, nobody looks.
    pub interrupted: bool,
}

impl Followed {
    pub fn exit(&self) -> Exit {
        match self.rollout.view.state {
            RolloutStateView::Succeeded => Exit::Done,
            // As far as the waves that were asked for reach.
            RolloutStateView::Held if !self.interrupted => Exit::Done,
            _ => Exit::Failed,
        }
    }
}

/// Nothing more happens until a person acts.
fn is_at_rest(view: &RolloutView) -> bool {
    view.state.is_ended()
        || view.state == RolloutStateView::Held
        || (view.state == RolloutStateView::Paused && view.needs_person)
}

/// What is known of the two rollouts.
struct Known {
    rollout: Answer<RolloutView>,
    rollback: Option<Answer<RolloutView>>,
}

impl Known {
    fn take(&mut self, answer: Answer<RolloutView>) {
        if answer.view.number == self.rollout.view.number {
            self.rollout = answer;
        } else if self.rollout.view.rollback == Some(answer.view.number) {
            self.rollback = Some(answer);
        }
    }

    /// The number to watch, as long as something may still happen.
    fn unsettled(&self) -> Option<u64> {
        let rollout = &self.rollout.view;
        if !is_at_rest(rollout) {
            return Some(rollout.number.0);
        }
        let back = rollout.rollback?;
        let settled = self
            .rollback
            .as_ref()
            .is_some_and(|answer| is_at_rest(&answer.view));
        (!settled).then_some(back.0)
    }

    fn views(&self) -> Vec<&RolloutView> {
        let back = self.rollback.as_ref().map(|answer| &answer.view);
        std::iter::once(&self.rollout.view).chain(back).collect()
    }

    fn end(self, interrupted: bool) -> Followed {
        Followed {
            rollout: self.rollout,
            rollback: self.rollback,
            interrupted,
        }
    }
}

/// Where progress is shown: redrawn in place, or one line a change.
enum Display {
    Live(Live),
    Lines(Progress),
}

impl Display {
    fn show(&mut self, screen: &Screen, known: &Known) {
        match self {
            Self::Live(live) => {
                let frame = live.frame(&known.views(), Timestamp::now(), screen.size());
                screen.draw(&frame);
            }
            Self::Lines(progress) => {
                for line in known
                    .views()
                    .into_iter()
                    .flat_map(|view| progress.changes(view, Timestamp::now()))
                {
                    screen.say(&line);
                }
            }
        }
    }

    /// A line that stays, above whatever is drawn.
    fn remark(&mut self, screen: &Screen, line: &str) {
        if let Self::Live(live) = self {
            screen.draw(&live.wipe());
        }
        screen.say(line);
    }
}

pub async fn follow(
    operator: &mut Operator,
    screen: &Screen,
    first: Answer<RolloutView>,
) -> Result<Followed, Error> {
    let mut display = if screen.live {
        Display::Live(Live::default())
    } else {
        Display::Lines(Progress::default())
    };
    let mut known = Known {
        rollout: first,
        rollback: None,
    };
    display.show(screen, &known);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    tokio::select! {
        result = keep_watching(operator, screen, &mut display, &mut known) => {
            result.map(|()| known.end(false))
        }
        _ = &mut interrupt => Ok(known.end(true)),
    }
}

async fn keep_watching(
    operator: &mut Operator,
    screen: &Screen,
    display: &mut Display,
    known: &mut Known,
) -> Result<(), Error> {
    let mut lost: Option<Instant> = None;
    let mut backoff = BACKOFF_FIRST;
    while let Some(number) = known.unsettled() {
        let error = match operator.watch(number).await {
            Ok(mut answers) => {
                let heard = &mut |display: &mut Display| {
                    backoff = BACKOFF_FIRST;
                    if lost.take().is_some() {
                        display.remark(screen, "the coordinator is back");
                    }
                };
                watch(&mut answers, number, screen, display, known, heard)
                    .await
                    .err()
            }
            Err(error) => Some(error),
        };
        if known.unsettled() != Some(number) {
            continue;
        }
        if let Some(error) = error {
            if !matches!(error, Error::Unreachable { .. }) {
                return Err(error);
            }
            match lost {
                Some(since) if since.elapsed() > LOST_MAX => return Err(error),
                Some(_) => {}
                None => {
                    lost = Some(Instant::now());
                    display.remark(
                        screen,
                        &format!("{error}; trying again, the rollout goes on as far as it can"),
                    );
                }
            }
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
    Ok(())
}

/// Until the stream ends, or there is something else to watch.
async fn watch(
    answers: &mut Answers<RolloutView>,
    number: u64,
    screen: &Screen,
    display: &mut Display,
    known: &mut Known,
    heard: &mut impl FnMut(&mut Display),
) -> Result<(), Error> {
    let mut redraw = tokio::time::interval(REDRAW);
    while known.unsettled() == Some(number) {
        tokio::select! {
            answer = answers.next() => {
                let Some(answer) = answer? else { return Ok(()) };
                heard(display);
                known.take(answer);
                display.show(screen, known);
            }
            _ = redraw.tick() => {
                display.show(screen, known);
            }
        }
    }
    Ok(())
}
