use fleet_proto::ids::RolloutNumber;

use crate::error::Error;
use crate::exit::Exit;
use crate::render;
use crate::session::Session;

/// Say why a rollout stands where it stands, and what would change that
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl explain 42
  fleetctl explain                       the newest rollout")]
pub struct Args {
    /// The rollout's number; by default the newest
    #[arg(value_name = "N")]
    number: Option<RolloutNumber>,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let number = args.number.map_or(0, |number| number.0);
    let answer = session.operator().await?.rollout(number).await?;
    session.screen.document(&answer.json, |paint| {
        render::explain::explain(&answer.view, paint)
    })?;
    Ok(Exit::Done)
}
