use fleet_proto::view::RolloutView;

use crate::error::Error;
use crate::exit::Exit;
use crate::render;
use crate::scope::ScopeArgs;
use crate::session::Session;

/// List rollouts, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl history
  fleetctl history --app shop --output json")]
pub struct Args {
    #[command(flatten)]
    scope: ScopeArgs,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let scope = session.scope(&args.scope)?;
    let status = session
        .operator()
        .await?
        .status(&scope.app, &scope.environment)
        .await?
        .view;
    let mut rollouts: Vec<&RolloutView> = status.rollouts.iter().collect();
    rollouts.sort_by_key(|rollout| std::cmp::Reverse(rollout.number));
    session.screen.value(&rollouts, |paint| {
        render::rollouts::table(&rollouts, status.coordinator.now, paint)
    })?;
    Ok(Exit::Done)
}
