use fleet_proto::version::Version;

use crate::error::Error;
use crate::exit::Exit;
use crate::render;
use crate::scope::AppArgs;
use crate::session::Session;

/// Show one release: its components, checks and signatures
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  fleetctl release show v1.0.0")]
pub struct Args {
    #[arg(value_name = "VERSION")]
    version: Version,
    #[command(flatten)]
    app: AppArgs,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let app = args.app.resolve(&session.settings)?;
    let signed = session
        .operator()
        .await?
        .release(&app, args.version.as_str())
        .await?;
    let manifest = signed.read()?;
    session
        .screen
        .value(&manifest, |_| render::releases::manifest(&signed, &manifest))?;
    Ok(Exit::Done)
}
