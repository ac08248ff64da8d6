//! The edge: words in, text and an exit code out.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use fleetctl::cli::{Cli, format_wanted};
use fleetctl::commands;
use fleetctl::error::Error;
use fleetctl::exit::Exit;
use fleetctl::render::error::Mistake;
use fleetctl::render::screen::{Screen, not_written};
use fleetctl::session::Session;

fn main() -> anyhow::Result<ExitCode> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return Ok(not_a_verb(&usage).into()),
    };
    let screen = Screen::of_this_process(cli.output);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let exit = match runtime.block_on(run(cli, screen)) {
        Ok(exit) => exit,
        Err(error) => {
            screen.fail(&Mistake::from(&error));
            error.exit()
        }
    };
    // A reader of files that is still at it would hold the exit up.
    runtime.shutdown_background();
    Ok(exit.into())
}

/// Help and version are answers; everything else is a mistake.
fn not_a_verb(usage: &clap::Error) -> Exit {
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let screen = Screen::of_this_process(format_wanted(words.skip(1)));
    if usage.use_stderr() && screen.is_json() {
        screen.fail(&Mistake::from(usage));
        return Exit::Usage;
    }
    match usage.print().or_else(|error| not_written(error).map(drop)) {
        _ if usage.use_stderr() => Exit::Usage,
        Ok(()) => Exit::Done,
        Err(error) => {
            screen.fail(&Mistake::from(&error));
            error.exit()
        }
    }
}

async fn run(cli: Cli, screen: Screen) -> Result<Exit, Error> {
    let session = Session::open(screen, cli.given)?;
    commands::run(cli.verb, &session).await
}
