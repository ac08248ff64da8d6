//! The command line as a whole.

use clap::{Parser, Subcommand};

use crate::commands::{
    abort, backups, completions, dashboard, dev, drift, events, explain, halt, history, init, key, logs, man,
    migration, node, nodes, operator, pause, plan, release, resume, retry, rollback, rollout, status, token,
    top, unhalt,
};
use crate::render::screen::Format;
use crate::settings::Where;

/// Deploys releases to fleets of machines, wave by wave, and puts them back when they are bad.
#[derive(Debug, Parser)]
#[command(
    name = "fleetctl",
    version,
    propagate_version = false,
    arg_required_else_help = true
)]
#[command(after_help = "\
Example:
  fleetctl dev --story                               a whole fleet on this machine, and what it does
  fleetctl release push v1.0.0                       pack, sign and upload what fleet.toml describes
  fleetctl rollout v1.0.0 --waves 10,50,100          and follow it

Exit codes: 0 done as asked; 1 refused, failed, rolled back, aborted, or waiting for a person; 2 usage;\n3 cannot reach the coordinator or a node that was asked, or not allowed")]
pub struct Cli {
    #[command(flatten)]
    pub given: Where,
    /// How to print what was asked for
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        value_name = "FORMAT",
        help_heading = "Global options"
    )]
    pub output: Format,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Dev(dev::Args),
    Init(init::Args),
    #[command(subcommand)]
    Key(key::Verb),
    #[command(subcommand)]
    Release(release::Verb),
    Plan(plan::Args),
    Rollout(rollout::Args),
    Status(status::Args),
    Top(top::Args),
    Explain(explain::Args),
    History(history::Args),
    Nodes(nodes::Args),
    #[command(subcommand)]
    Node(node::Verb),
    #[command(subcommand)]
    Token(token::Verb),
    Pause(pause::Args),
    Resume(resume::Args),
    Abort(abort::Args),
    Retry(retry::Args),
    #[command(subcommand)]
    Operator(operator::Verb),
    Dashboard(dashboard::Args),
    Backups(backups::Args),
    Migration(migration::Args),
    Rollback(rollback::Args),
    Halt(halt::Args),
    Unhalt(unhalt::Args),
    Events(events::Args),
    Logs(logs::Args),
    Drift(drift::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// How errors are to be printed, as far as a command line tells that makes no sense
/// otherwise.
pub fn format_wanted(words: impl Iterator<Item = String>) -> Format {
    let mut words = words.take_while(|word| word != "--");
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--output") {
            Some("") => words.next(),
            Some(rest) => rest.strip_prefix('=').map(str::to_owned),
            None => None,
        };
        if value.as_deref() == Some("json") {
            return Format::Json;
        }
    }
    Format::Text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, CommandFactory};

    fn without_example(command: &Command, path: &str, found: &mut Vec<String>) {
        let path = format!("{path} {}", command.get_name());
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        if !help.contains("fleetctl") {
            found.push(path.clone());
        }
        for inner in command.get_subcommands() {
            without_example(inner, &path, found);
        }
    }

    #[test]
    fn the_format_is_found_on_a_line_that_makes_no_sense() {
        for (line, format) in [
            ("stats --output json", Format::Json),
            ("--output=json stats", Format::Json),
            ("stats --output text json", Format::Text),
            ("stats --outputs=json", Format::Text),
            ("stats -- --output json", Format::Text),
            ("stats --output", Format::Text),
        ] {
            let words = line.split(' ').map(str::to_owned);
            assert_eq!(format_wanted(words), format, "{line}");
        }
    }

    #[test]
    fn every_help_has_an_example() {
        let mut found = Vec::new();
        without_example(&Cli::command(), "", &mut found);
        assert!(found.is_empty(), "{found:?}");
        Cli::command().debug_assert();
    }
}
