//! Following a rollout, and the rollback that it leads to, until nothing more happens
//! by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_proto::ids::RolloutNumber;
use fleet_proto::time::Timestamp;
use fleet_proto::view::{RolloutStateView, RolloutView};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::exit::Exit;
use crate::operator::{Answer, Answers, Operator};
use crate::patience::Patience;
use crate::render::live::Live;
use crate::render::progress::Progress;
use crate::render::screen::Screen;
use crate::render::top::model::News;

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
        match exit(&self.rollout.view) {
            Exit::Done if self.interrupted && !self.rollout.view.state.is_ended() => Exit::Failed,
            exit => exit,
        }
    }
}

/// What a rollout that stands like this is to a script that waited for it.
pub fn exit(view: &RolloutView) -> Exit {
    match view.state {
        // Held: as far as the waves that were asked for reach.
        RolloutStateView::Succeeded | RolloutStateView::Held => Exit::Done,
        _ => Exit::Failed,
    }
}

/// Nothing more happens until a person acts.
fn is_at_rest(view: &RolloutView) -> bool {
    view.state.is_ended() || matches!(view.state, RolloutStateView::Held | RolloutStateView::Paused)
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
}

/// Where progress is shown: redrawn in place, or one line a change; or somebody else draws.
enum Display {
    Live(Live),
    Lines(Progress),
    Told(Told),
}

/// Each view once, to whoever draws.
struct Told {
    to: mpsc::Sender<News>,
    last: BTreeMap<RolloutNumber, RolloutView>,
}

impl Told {
    fn tell(&mut self, view: &RolloutView) {
        if self.last.get(&view.number) != Some(view)
            && self.to.try_send(News::Rollout(Box::new(view.clone()))).is_ok()
        {
            self.last.insert(view.number, view.clone());
        }
    }
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
            Self::Told(told) => known.views().into_iter().for_each(|view| told.tell(view)),
        }
    }

    /// A line that stays, above whatever is drawn.
    fn remark(&mut self, screen: &Screen, line: &str) {
        match self {
            Self::Live(live) => screen.draw(&live.wipe()),
            Self::Lines(_) => {}
            // Whoever draws sees that for themselves.
            Self::Told(_) => return,
        }
        screen.say(line);
    }
}

pub async fn follow(
    operator: &mut Operator,
    screen: &Screen,
    first: Answer<RolloutView>,
) -> Result<Followed, Error> {
    let display = if screen.live {
        Display::Live(Live::default())
    } else {
        Display::Lines(Progress::default())
    };
    let interrupt = async {
        // Without a handler Ctrl-C ends the program all the same.
        let _no_handler = tokio::signal::ctrl_c().await;
        Ok(())
    };
    follow_on(operator, screen, display, first, interrupt).await
}

/// While somebody else draws what `to` is told, until they had enough of it.
pub async fn follow_beside(
    operator: &mut Operator,
    screen: &Screen,
    first: Answer<RolloutView>,
    to: mpsc::Sender<News>,
    drawing: impl Future<Output = Result<(), Error>>,
) -> Result<Followed, Error> {
    let told = Told {
        to,
        last: BTreeMap::new(),
    };
    follow_on(operator, screen, Display::Told(told), first, drawing).await
}

async fn follow_on(
    operator: &mut Operator,
    screen: &Screen,
    display: Display,
    first: Answer<RolloutView>,
    interrupt: impl Future<Output = Result<(), Error>>,
) -> Result<Followed, Error> {
    let mut follower = Follower {
        screen,
        display,
        known: Known {
            rollout: first,
            rollback: None,
        },
        patience: Patience::default(),
    };
    follower.show();
    let interrupted = tokio::select! {
        result = follower.keep_watching(operator) => result.map(|()| false),
        result = interrupt => result.map(|()| true),
    }?;
    Ok(Followed {
        rollout: follower.known.rollout,
        rollback: follower.known.rollback,
        interrupted,
    })
}

struct Follower<'a> {
    screen: &'a Screen,
    display: Display,
    known: Known,
    patience: Patience,
}

impl Follower<'_> {
    fn show(&mut self) {
        self.display.show(self.screen, &self.known);
    }

    fn remark(&mut self, line: Option<&str>) {
        if let Some(line) = line {
            self.display.remark(self.screen, line);
        }
    }

    /// Streams break and coordinators restart; what is followed goes on.
    async fn keep_watching(&mut self, operator: &mut Operator) -> Result<(), Error> {
        while let Some(number) = self.known.unsettled() {
            let result = match operator.watch(number).await {
                Ok(mut answers) => self.watch(number, &mut answers).await,
                Err(error) => Err(error),
            };
            if self.known.unsettled() != Some(number) {
                continue;
            }
            if let Err(error) = result {
                let remark = self.patience.judge(error)?;
                self.remark(remark.as_deref());
            }
            self.patience.pause().await;
        }
        Ok(())
    }

    /// Until the stream ends, or there is something else to watch.
    async fn watch(&mut self, number: u64, answers: &mut Answers<RolloutView>) -> Result<(), Error> {
        let mut redraw = tokio::time::interval(REDRAW);
        while self.known.unsettled() == Some(number) {
            tokio::select! {
                answer = answers.next() => {
                    let Some(answer) = answer? else { return Ok(()) };
                    let remark = self.patience.heard();
                    self.remark(remark);
                    self.known.take(answer);
                }
                _ = redraw.tick() => {}
            }
            self.show();
        }
        Ok(())
    }
}
