use std::path::PathBuf;

use fleet_proto::ids::ComponentName;
use fleet_proto::version::Version;

use crate::error::Error;
use crate::exit::Exit;
use crate::release_keys::KeyArgs;
use crate::session::Session;
use crate::{app_file, push, render, scope};

/// Pack the components, sign the manifest, upload what the coordinator lacks
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl release push v1.0.0
  fleetctl release push v1.0.1 --file shop/fleet.toml --component web=build/web --key release.key")]
pub struct Args {
    /// The version; a release never changes under it
    #[arg(value_name = "VERSION")]
    version: Version,
    /// The app's fleet.toml; by default the one here or above
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Other files for a component, as web=build/web; may be given several times
    #[arg(long = "component", value_name = "NAME=PATH", value_parser = component_path)]
    components: Vec<(ComponentName, PathBuf)>,
    #[command(flatten)]
    keys: KeyArgs,
}

fn component_path(text: &str) -> Result<(ComponentName, PathBuf), String> {
    let (name, path) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not NAME=PATH; write it as web=build/web"))?;
    Ok((
        name.parse().map_err(|error| format!("{error}"))?,
        PathBuf::from(path),
    ))
}

pub async fn run(args: Args, session: &Session) -> Result<Exit, Error> {
    let path = match args.file {
        Some(path) => path,
        None => {
            let here = std::env::current_dir().map_err(Error::file("cannot tell the current directory"))?;
            scope::find_above(&here).unwrap_or_else(|| PathBuf::from(app_file::NAME))
        }
    };
    let file = app_file::read(&path)?;
    let keys = args.keys.read(&session.settings)?;
    let mut operator = session.operator().await?;
    session
        .screen
        .say(&format!("app {}, release {}", file.app, args.version));
    let pushed = push::push(&mut operator, file, &args.version, &args.components, &keys).await?;
    session
        .screen
        .value(&pushed, |_| render::releases::pushed(&pushed))?;
    Ok(Exit::Done)
}
