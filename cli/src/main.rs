//! The edge: words in, text and an exit code out.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use fleetctl::cli::Cli;
use fleetctl::error::Error;
use fleetctl::exit::Exit;
use fleetctl::render::screen::{Format, Screen};
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
            // It could not be read, so this is all that is known of how it should look.
            let asks_for_json = std::env::args().any(|word| word == "json" || word == "--output=json");
            if exit == Exit::Usage && asks_for_json {
                let screen = Screen::of_this_process(Format::Json);
                return Ok(told(&screen, &usage_error(&usage)).into());
            }
            let _reader_gone = usage.print();
            return Ok(exit.into());
        }
    };
    let screen = Screen::of_this_process(cli.output);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let mut exit = match runtime.block_on(run(cli, screen)) {
        Ok(exit) => exit,
        Err(error) => told(&screen, &error),
    };
    if let Some(error) = render::screen::lost() {
        exit = told(&screen, &Error::file("cannot write what was asked for")(error));
    }
    // A reader of files that is still at it would hold the exit up.
    runtime.shutdown_background();
    Ok(exit.into())
}

/// The first line says what is wrong; the rest is help for people.
fn usage_error(usage: &clap::Error) -> Error {
    let text = usage.to_string();
    let first = text.lines().next().unwrap_or_default();
    let message = first.strip_prefix("error: ").unwrap_or(first);
    Error::usage(message, "fleetctl --help")
}

fn told(screen: &Screen, error: &Error) -> Exit {
    let text = match screen.format {
        Format::Text => render::error::error(error),
        Format::Json => render::error::json(error),
    };
    screen.say(&text);
    error.exit()
}

async fn run(cli: Cli, screen: Screen) -> Result<Exit, Error> {
    let session = Session::open(screen, cli.given)?;
    commands::run(cli.verb, &session).await
}
