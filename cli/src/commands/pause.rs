use fleet_proto::wire::Nothing;
use fleet_proto::wire::act_request::Act;

use super::act::{self, ActArgs};
use crate::error::Error;
use crate::exit::Exit;
use crate::session::Session;

/// Pause a rollout: what is in flight ends, nothing new begins
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl pause 42 --reason \"looking at the error rate\"")]
pub struct Args {
    #[command(flatten)]
    act: ActArgs,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    act::act(&args.act, Act::Pause(Nothing {}), session).await
}
