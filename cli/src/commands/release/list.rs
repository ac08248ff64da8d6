use crate::error::Error;
use crate::exit::Exit;
use crate::render;
use crate::scope::ScopeArgs;
use crate::session::Session;

/// List releases, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  fleetctl release list --app shop")]
pub struct Args {
    #[command(flatten)]
    scope: ScopeArgs,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let scope = session.scope(&args.scope)?;
    let answer = session.operator().await?.releases(&scope.app).await?;
    session
        .screen
        .document(&answer.json, |_| render::releases::table(&answer.view));
    Ok(Exit::Done)
}
