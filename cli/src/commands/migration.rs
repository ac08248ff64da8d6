use clap::ValueEnum;
use fleet_proto::ids::RolloutNumber;
use fleet_proto::wire::ResolveMigration;
use fleet_proto::wire::act_request::Act;

use crate::error::Error;
use crate::exit::Exit;
use crate::render;
use crate::session::Session;

/// Say how a migration stands of which nobody saw the end
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl migration 42 done             the database has it; then `fleetctl resume 42`
  fleetctl migration 42 not-done         it has not; it is done then

Look at the database first: a migration runs at most once, and this is taken for the truth.")]
pub struct Args {
    /// The number of the rollout that waits for the answer, or of the one that began it
    #[arg(value_name = "N")]
    number: RolloutNumber,
    /// What the database says
    #[arg(value_name = "STAND", value_enum)]
    stand: Stand,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Stand {
    Done,
    NotDone,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let mut operator = session.operator().await?;
    let done = matches!(args.stand, Stand::Done);
    let act = Act::ResolveMigration(ResolveMigration { done });
    let answer = operator.act(args.number.0, "", act).await?;
    let view = &answer.view;
    session.screen.document(&answer.json, |_| {
        let headline = render::rollouts::headline(view);
        format!("{headline}: {}", render::rollouts::standing(view))
    })?;
    Ok(Exit::Done)
}
