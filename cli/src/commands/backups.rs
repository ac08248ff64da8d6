use std::path::{Path, PathBuf};

use fleet_proto::ids::{AppName, RolloutNumber};

use crate::error::Error;
use crate::exit::Exit;
use crate::render;
use crate::session::Session;

/// What was backed up before migrations, and the coordinator keeps
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Example:
  fleetctl backups
  fleetctl backups fetch 42 --to shop.dump     what was backed up before rollout 42 migrated"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Only of this app
    #[arg(long, value_name = "APP")]
    app: Option<AppName>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write a backup to a file
    #[command(after_help = "Example:\n  fleetctl backups fetch 42 --to shop.dump")]
    Fetch(FetchArgs),
}

#[derive(Debug, clap::Args)]
struct FetchArgs {
    /// The number of the rollout that migrated
    #[arg(value_name = "N")]
    number: RolloutNumber,
    /// Where to; nothing that is there is overwritten
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

pub async fn run(args: Args, session: &Session) -> Result<Exit, Error> {
    if let Some(Verb::Fetch(args)) = &args.verb {
        return fetch(args, session).await;
    }
    let app = args.app.as_ref().map(ToString::to_string).unwrap_or_default();
    let answer = session.operator().await?.backups(&app).await?;
    session
        .screen
        .document(&answer.json, |_| render::backups::table(&answer.view))?;
    Ok(Exit::Done)
}

async fn fetch(args: &FetchArgs, session: &Session) -> Result<Exit, Error> {
    let mut file = created(&args.to)?;
    let written = session
        .operator()
        .await?
        .fetch_backup(args.number.0, &mut file)
        .await;
    let bytes = match written.and_then(|bytes| whole(&args.to, &file).map(|()| bytes)) {
        Ok(bytes) => bytes,
        Err(error) => {
            // A part of a backup is worse than none.
            let _never_whole = std::fs::remove_file(&args.to);
            return Err(error);
        }
    };
    let path = args.to.display().to_string();
    let json = serde_json::json!({ "rollout": args.number, "file": path, "bytes": bytes }).to_string();
    session
        .screen
        .document(&json, |_| render::backups::fetched(&path, bytes))?;
    Ok(Exit::Done)
}

/// For nobody but its owner: it is all of a database.
fn created(path: &Path) -> Result<std::fs::File, Error> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| {
            Error::usage(
                format!("cannot make {}: {error}", path.display()),
                "--to names a new file",
            )
        })
}

fn whole(path: &Path, file: &std::fs::File) -> Result<(), Error> {
    file.sync_all().map_err(|error| {
        Error::usage(
            format!("cannot write {}: {error}", path.display()),
            "is the disk full?",
        )
    })
}
