use fleet_proto::waves::WaveSpec;
use fleet_proto::wire::Resume;
use fleet_proto::wire::act_request::Act;

use super::act::{self, ActArgs};
use crate::error::Error;
use crate::exit::Exit;
use crate::session::Session;

/// Let a paused rollout go on, or widen a held one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl resume 42
  fleetctl resume 42 --waves 50,100")]
pub struct Args {
    #[command(flatten)]
    act: ActArgs,
    /// New waves for a rollout that is held at its last one
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    waves: Option<WaveSpec>,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let waves = args.waves.as_ref().map_or_else(String::new, ToString::to_string);
    act::act(&args.act, Act::Resume(Resume { waves }), session).await
}
