mod feed;
mod typed;

use std::time::Duration;

use fleet_proto::ids::RolloutNumber;
use fleet_proto::time::Timestamp;
use fleet_proto::view::RolloutView;
use jiff::tz::TimeZone;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::feed::Feed;
use self::typed::{Typed, typed};
use crate::error::Error;
use crate::exit::Exit;
use crate::follow::{self, Followed};
use crate::operator::{Answer, Operator};
use crate::render::top::colours::Colours;
use crate::render::top::keys::Effect;
use crate::render::top::model::{Model, News, Page, Setting};
use crate::render::top::terminal::Full;
use crate::scope::{Scope, ScopeArgs};
use crate::session::Session;

/// Four pictures a second are live to the eye, and bearable over a slow line.
const BETWEEN_PICTURES: Duration = Duration::from_millis(250);
/// Clocks tick.
const CLOCK: Duration = Duration::from_secs(1);
/// How a node is just now is asked of the coordinator's memory, while its page is open.
const NODE_EVERY: Duration = Duration::from_secs(5);
/// News that nobody had time to take in; whoever brings more waits.
const NEWS_AHEAD: usize = 16;

/// Watch the whole fleet on a terminal: rollouts, nodes, and why it is not moving
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl top                           `?` shows the keys, `q` quits
  fleetctl top --env production

It only looks, and may be left open. `fleetctl rollout`, `pause`, `abort` and `halt` act;
`fleetctl status --watch` goes on without a terminal.")]
pub struct Args {
    #[command(flatten)]
    scope: ScopeArgs,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    if !session.screen.full {
        return Err(Error::usage(
            "`fleetctl top` draws on a terminal, and there is none",
            "`fleetctl status --watch` goes on without one, with `--output json` for programs",
        ));
    }
    let scope = session.scope(&args.scope)?;
    let operator = session.operator().await?;
    look(operator, &scope).await
}

/// Until the person has seen enough.
pub async fn look(operator: Operator, scope: &Scope) -> Result<Exit, Error> {
    let (sender, news) = mpsc::channel(NEWS_AHEAD);
    let view = View::open(operator, scope, None, sender).await?;
    view.show(news).await?;
    Ok(Exit::Done)
}

/// Until the rollout has come to rest, or the person has seen enough.
pub async fn follow(
    mut operator: Operator,
    scope: &Scope,
    session: &Session,
    first: Answer<RolloutView>,
) -> Result<Followed, Error> {
    let (sender, news) = mpsc::channel(NEWS_AHEAD);
    let only = Some(first.view.number);
    let asking = operator.clone();
    let to = sender.clone();
    let drawing = async {
        let view = View::open(asking, scope, only, sender).await?;
        view.show(news).await
    };
    follow::follow_beside(&mut operator, &session.screen, first, to, drawing).await
}

/// A terminal, what is on it, and who brings news.
struct View {
    model: Model,
    terminal: Full,
    operator: Operator,
    sender: mpsc::Sender<News>,
    feed: tokio::task::JoinHandle<Result<(), Error>>,
    drawn_at: Instant,
    node_asked_at: Option<Instant>,
}

impl View {
    /// A coordinator that is not there from the beginning is an error like any other.
    async fn open(
        mut operator: Operator,
        scope: &Scope,
        only: Option<RolloutNumber>,
        sender: mpsc::Sender<News>,
    ) -> Result<Self, Error> {
        let first = operator.status(&scope.app, &scope.environment).await?;
        let setting = Setting {
            address: operator.address().to_owned(),
            app: scope.app.parse().ok(),
            environment: Some(scope.environment.clone()).filter(|name| !name.is_empty()),
            only,
            colours: Colours::of_this_process(),
            zone: TimeZone::system(),
        };
        let feed = Feed::new(operator.clone(), scope.clone(), sender.clone(), &first);
        let terminal = Full::open()?;
        let mut model = Model::new(setting, terminal.size()?);
        model.take(News::Status(Box::new(first.view)), Timestamp::now());
        Ok(Self {
            model,
            terminal,
            operator,
            sender,
            feed: tokio::spawn(feed.run()),
            drawn_at: Instant::now(),
            node_asked_at: None,
        })
    }

    async fn show(mut self, mut news: mpsc::Receiver<News>) -> Result<(), Error> {
        let mut typed = typed()?;
        self.draw()?;
        let mut due = self.drawn_at + until_the_clock_ticks();
        loop {
            tokio::select! {
                typed = typed.next() => {
                    match self.on_typed(typed?)? {
                        Effect::Quit => return Ok(()),
                        _ => due = Instant::now(),
                    }
                }
                Some(news) = news.recv() => {
                    self.model.take(news, Timestamp::now());
                    due = due.min(self.drawn_at + BETWEEN_PICTURES);
                }
                ended = &mut self.feed => return ended.unwrap_or_else(|panic| {
                    Err(Error::Answer(format!("whoever reads it broke down: {panic}")))
                }),
                () = tokio::time::sleep_until(due) => {
                    self.ask_node();
                    self.draw()?;
                    due = self.drawn_at + until_the_clock_ticks();
                }
            }
        }
    }

    fn draw(&mut self) -> Result<(), Error> {
        self.drawn_at = Instant::now();
        self.terminal.draw(&self.model, Timestamp::now())
    }

    fn on_typed(&mut self, typed: Typed) -> Result<Effect, Error> {
        let effect = match typed {
            Typed::Key(key) => self.model.on_key(key),
            Typed::Size(size) => {
                self.model.size = size;
                Effect::None
            }
            Typed::Nothing => Effect::None,
            Typed::End => Effect::Quit,
        };
        match effect {
            Effect::Suspend => self.terminal.suspend()?,
            Effect::Redraw => self.terminal.forget()?,
            Effect::AskNode => self.node_asked_at = None,
            Effect::None | Effect::Quit => {}
        }
        Ok(effect)
    }

    /// While its page is open. No answer is one too: then its vitals are not shown.
    fn ask_node(&mut self) {
        let Page::Node(node) = &self.model.page else {
            return;
        };
        if self
            .node_asked_at
            .is_some_and(|asked| asked.elapsed() < NODE_EVERY)
        {
            return;
        }
        self.node_asked_at = Some(Instant::now());
        let (mut operator, sender, node) = (self.operator.clone(), self.sender.clone(), node.to_string());
        tokio::spawn(async move {
            if let Ok(answer) = operator.node(&node).await {
                let _nobody_looks = sender.send(News::Node(Box::new(answer.view))).await;
            }
        });
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

fn until_the_clock_ticks() -> Duration {
    let into = Timestamp::now().0 % 1000;
    CLOCK
        .saturating_sub(Duration::from_millis(into))
        .max(BETWEEN_PICTURES)
}
