use fleet_proto::ids::EnvironmentName;

use crate::error::Error;
use crate::exit::Exit;
use crate::render;
use crate::session::Session;

/// Let everything go on that was halted
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl unhalt
  fleetctl unhalt --env staging")]
pub struct Args {
    /// Only this environment, which was halted by itself
    #[arg(long, value_name = "NAME")]
    env: Option<EnvironmentName>,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let environment = args.env.as_ref().map_or("", |name| name.as_str());
    let answer = session.operator().await?.unhalt(environment).await?;
    let status = &answer.view;
    session
        .screen
        .document(&answer.json, |paint| render::status::halted(status, paint))?;
    Ok(Exit::Done)
}
