use fleet_proto::ids::RolloutNumber;
use fleet_proto::wire::Retry;
use fleet_proto::wire::act_request::Act;

use super::rollout;
use crate::error::Error;
use crate::exit::Exit;
use crate::follow;
use crate::session::Session;

/// Try again what failed or remains of a rollout, and nothing else
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl retry 42                      its failed steps; if it has ended, in a new rollout
  fleetctl retry 42 --again              also if the release is known to be bad here")]
pub struct Args {
    /// The rollout's number
    #[arg(value_name = "N")]
    number: RolloutNumber,
    /// Also a release that failed in this environment before
    #[arg(long)]
    again: bool,
    /// Why; kept with the rollout
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Start it, do not follow it
    #[arg(long)]
    detach: bool,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let mut operator = session.operator().await?;
    let act = Act::Retry(Retry { again: args.again });
    let started = operator.act(args.number.0, &args.reason, act).await?;
    if args.detach {
        rollout::detached(&session.screen, &started)?;
        return Ok(Exit::Done);
    }
    let followed = follow::follow(&mut operator, &session.screen, started).await?;
    rollout::report(&session.screen, &followed)
}
