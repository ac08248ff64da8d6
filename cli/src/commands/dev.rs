use crate::error::Error;
use crate::exit::Exit;
use crate::session::Session;

/// x
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  fleetctl dev")]
pub struct Args {}
pub async fn run(_args: Args, _session: &Session) -> Result<Exit, Error> {
    Ok(Exit::Done)
}
