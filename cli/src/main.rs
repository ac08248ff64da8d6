//! The edge: words in, text and an exit code out.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use fleetctl::cli::Cli;
use fleetctl::error::Error;
use fleetctl::exit::Exit;
use fleetctl::render::screen::{Screen, not_written};
use fleetctl::session::Session;
use fleetctl::{commands, render};

fn main() -> anyhow::Result<ExitCode> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            // Help and version are answers; everything else is a mistake.
            let exit = if usage.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            return Ok(
                match usage.print().or_else(|error| not_written(error).map(drop)) {
                    Ok(()) => exit,
                    Err(error) => {
                        let _nobody_to_tell = writeln!(std::io::stderr(), "{}", render::error::error(&error));
                        error.exit()
                    }
                }
                .into(),
            );
        }
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
            screen.say(&render::error::error(&error));
            error.exit()
        }
    };
    // A reader of files that is still at it would hold the exit up.
    runtime.shutdown_background();
    Ok(exit.into())
}

async fn run(cli: Cli, screen: Screen) -> Result<Exit, Error> {
    let session = Session::open(screen, cli.given)?;
    commands::run(cli.verb, &session).await
}
