use fleet_proto::labels::Selector;
use fleet_proto::time::Timestamp;

use crate::error::Error;
use crate::exit::Exit;
use crate::render;
use crate::session::Session;

/// List nodes: labels, connection, what they run
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl nodes
  fleetctl nodes --select zone=a,role!=db")]
pub struct Args {
    /// Only nodes with these labels
    #[arg(long, value_name = "SELECTOR")]
    select: Option<Selector>,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let select = args.select.as_ref().map_or_else(String::new, ToString::to_string);
    let answer = session.operator().await?.nodes(&select).await?;
    session.screen.document(&answer.json, |paint| {
        render::nodes::table(&answer.view, Timestamp::now(), paint)
    })?;
    Ok(Exit::Done)
}
