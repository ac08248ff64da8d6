mod list;
mod push;
mod show;
mod verify;

use crate::error::Error;
use crate::exit::Exit;
use crate::session::Session;

/// Releases: push, list, show, verify
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  fleetctl release push v1.0.0
  fleetctl release list")]
pub enum Verb {
    Push(push::Args),
    List(list::Args),
    Show(show::Args),
    Verify(verify::Args),
}

pub async fn run(verb: Verb, session: &Session) -> Result<Exit, Error> {
    match verb {
        Verb::Push(args) => push::run(args, session).await,
        Verb::List(args) => list::run(&args, session).await,
        Verb::Show(args) => show::run(&args, session).await,
        Verb::Verify(args) => verify::run(&args, session).await,
    }
}
