use fleet_proto::wire::Nothing;
use fleet_proto::wire::act_request::Act;

use super::act::{self, ActArgs};
use crate::error::Error;
use crate::exit::Exit;
use crate::session::Session;

/// End a rollout now; nodes that are on their way go back
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl abort 42 --reason \"wrong release\"")]
pub struct Args {
    #[command(flatten)]
    act: ActArgs,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    act::act(&args.act, Act::Abort(Nothing {}), session).await
}
