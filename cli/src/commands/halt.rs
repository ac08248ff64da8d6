use fleet_proto::ids::EnvironmentName;

use crate::error::Error;
use crate::exit::Exit;
use crate::render;
use crate::session::Session;

/// Stop everything: nothing moves until it is unhalted, but for an emergency
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl halt --reason \"payments are down\"
  fleetctl halt --env staging --reason \"load test\"

What is on its way on a node comes to its end there: verified, or put back.")]
pub struct Args {
    /// Only this environment
    #[arg(long, value_name = "NAME")]
    env: Option<EnvironmentName>,
    /// Why; shown to everybody who wonders
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let environment = args.env.as_ref().map_or("", |name| name.as_str());
    let answer = session.operator().await?.halt(environment, &args.reason).await?;
    let status = &answer.view;
    session
        .screen
        .document(&answer.json, |paint| render::status::halted(status, paint))?;
    Ok(Exit::Done)
}
