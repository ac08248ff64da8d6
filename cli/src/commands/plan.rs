use crate::error::Error;
use crate::exit::Exit;
use crate::intent::IntentArgs;
use crate::render;
use crate::session::Session;

/// Show the plan and every gate's verdict, without starting
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl plan v1.0.0 --waves 10,50,100

Exit code 0 when a rollout would start now, 1 when not.")]
pub struct Args {
    #[command(flatten)]
    intent: IntentArgs,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let intent = args.intent.intent(session.scope(&args.intent.scope)?);
    let plan = session.operator().await?.plan(intent).await?;
    session
        .screen
        .document(&plan.json, |paint| render::plan::plan(&plan.view, paint))?;
    Ok(if plan.view.would_start {
        Exit::Done
    } else {
        Exit::Failed
    })
}
