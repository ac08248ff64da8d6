use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::view::EventView;
use fleet_proto::wire::EventsQuery;

use crate::error::Error;
use crate::exit::Exit;
use crate::operator::{Answer, Operator};
use crate::patience::Patience;
use crate::render;
use crate::render::screen::Reader;
use crate::session::Session;

/// Print what happened, in the order of the journal
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl events --rollout 42
  fleetctl events --follow --output json")]
pub struct Args {
    /// Go on with what happens from now on
    #[arg(long, short)]
    follow: bool,
    /// Only this rollout's
    #[arg(long, value_name = "N")]
    rollout: Option<RolloutNumber>,
    /// Only this node's
    #[arg(long, value_name = "NODE")]
    node: Option<NodeId>,
    /// Only those after this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: u64,
    /// Only so many, the newest
    #[arg(long, value_name = "N", default_value_t = 0)]
    newest: u32,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let query = EventsQuery {
        after: args.after,
        follow: args.follow,
        rollout: args.rollout.map_or(0, |number| number.0),
        node: args.node.as_ref().map_or_else(String::new, ToString::to_string),
        newest: args.newest,
    };
    let mut operator = session.operator().await?;
    tokio::select! {
        result = print(&mut operator, query, session) => result,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
    }
}

/// Each event once, whatever becomes of the streams: the position says where to go on.
async fn print(operator: &mut Operator, mut query: EventsQuery, session: &Session) -> Result<Exit, Error> {
    let mut patience = Patience::default();
    loop {
        let broken = match operator.events(query.clone()).await {
            Ok(mut events) => loop {
                match events.next().await {
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                    Ok(Some(event)) => {
                        if let Some(remark) = patience.heard() {
                            session.screen.say(remark);
                        }
                        query.after = event.view.position;
                        query.newest = 0;
                        if print_one(&event, session)? == Reader::Gone {
                            return Ok(Exit::Done);
                        }
                    }
                }
            },
            Err(error) => Some(error),
        };
        match broken {
            None if !query.follow => return Ok(Exit::Done),
            Some(error) if !query.follow || query.after == 0 => return Err(error),
            None => {}
            Some(error) => {
                if let Some(remark) = patience.judge(error)? {
                    session.screen.say(&remark);
                }
            }
        }
        patience.pause().await;
    }
}

fn print_one(event: &Answer<EventView>, session: &Session) -> Result<Reader, Error> {
    session
        .screen
        .document(&event.json, |_| render::events::line(&event.view))
}
