use std::path::PathBuf;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::error::Error;
use crate::exit::Exit;
use crate::session::Session;

/// Write a man page for every verb to a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl man ~/.local/share/man/man1")]
pub struct Args {
    /// Made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let directory = &args.directory;
    let failed = || Error::file(format!("cannot write man pages to {}", directory.display()));
    std::fs::create_dir_all(directory).map_err(failed())?;
    clap_mangen::generate_to(Cli::command(), directory).map_err(failed())?;
    session
        .screen
        .say(&format!("wrote man pages to {}", directory.display()));
    Ok(Exit::Done)
}
