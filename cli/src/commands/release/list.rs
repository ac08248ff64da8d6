use crate::error::Error;
use crate::exit::Exit;
use crate::render;
use crate::scope::AppArgs;
use crate::session::Session;

/// List releases, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  fleetctl release list --app shop")]
pub struct Args {
    #[command(flatten)]
    app: AppArgs,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let app = args.app.resolve(&session.settings)?;
    let answer = session.operator().await?.releases(&app).await?;
    session
        .screen
        .document(&answer.json, |_| render::releases::table(&answer.view))?;
    Ok(Exit::Done)
}
