use std::time::Duration;

use fleet_proto::ids::RolloutNumber;
use fleet_proto::time::Timestamp;

use crate::error::Error;
use crate::exit::Exit;
use crate::follow;
use crate::operator::Operator;
use crate::render;
use crate::render::screen::Reader;
use crate::scope::{Scope, ScopeArgs};
use crate::session::Session;

use super::{rollout, top};

const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Show what is so: environments, rollouts and nodes, or one rollout
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl status
  fleetctl status 42 --watch             ends when the rollout does, with its exit code
  fleetctl status --output json")]
pub struct Args {
    /// One rollout's number
    #[arg(value_name = "N")]
    number: Option<RolloutNumber>,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Go on showing it as it changes: on a terminal as `fleetctl top` does, else as text
    #[arg(long)]
    watch: bool,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let scope = session.scope(&args.scope)?;
    let mut operator = session.operator().await?;
    match (args.number, args.watch) {
        (None, false) => {
            show(&mut operator, &scope, session).await?;
            Ok(Exit::Done)
        }
        (None, true) if session.screen.full => top::look(operator, &scope).await,
        (None, true) => watch(&mut operator, &scope, session).await,
        (Some(number), false) => {
            let answer = operator.rollout(number.0).await?;
            session.screen.document(&answer.json, |paint| {
                render::status::rollout(&answer.view, Timestamp::now(), paint)
            })?;
            Ok(Exit::Done)
        }
        (Some(number), true) => {
            let answer = operator.rollout(number.0).await?;
            let followed = match session.screen.full {
                true => top::follow(operator, &scope, session, answer).await?,
                false => follow::follow(&mut operator, &session.screen, answer).await?,
            };
            rollout::report(&session.screen, &followed)
        }
    }
}

async fn show(operator: &mut Operator, scope: &Scope, session: &Session) -> Result<Reader, Error> {
    let answer = operator.status(&scope.app, &scope.environment).await?;
    session
        .screen
        .document(&answer.json, |paint| render::status::status(&answer.view, paint))
}

/// Once a second, until Ctrl-C; on a clean screen where only stderr has one.
async fn watch(operator: &mut Operator, scope: &Scope, session: &Session) -> Result<Exit, Error> {
    let mut interval = tokio::time::interval(WATCH_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        tokio::select! {
            _ = &mut interrupt => return Ok(Exit::Done),
            _ = interval.tick() => {
                if session.screen.live {
                    session.screen.draw("\x1b[H\x1b[2J");
                }
                match show(operator, scope, session).await {
                    Ok(Reader::There) => {}
                    Ok(Reader::Gone) => return Ok(Exit::Done),
                    // Watching is for hard times too: a coordinator that is away may come back.
                    Err(error @ Error::Unreachable { .. }) => session.screen.say(&error.to_string()),
                    Err(error) => return Err(error),
                }
            }
        }
    }
}
