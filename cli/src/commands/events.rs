use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::view::EventView;
use fleet_proto::wire::EventsQuery;

use crate::error::Error;
use crate::exit::Exit;
use crate::operator::Answers;
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
    let mut events = session.operator().await?.events(query).await?;
    tokio::select! {
        result = print(&mut events, session) => result,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
    }
}

async fn print(events: &mut Answers<EventView>, session: &Session) -> Result<Exit, Error> {
    while let Some(event) = events.next().await? {
        let reader = session
            .screen
            .document(&event.json, |_| render::events::line(&event.view));
        if reader == Reader::Gone {
            break;
        }
    }
    Ok(Exit::Done)
}
