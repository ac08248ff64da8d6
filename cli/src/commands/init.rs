use std::path::{Path, PathBuf};

use crate::app_file;
use crate::error::Error;
use crate::exit::Exit;
use crate::session::Session;
use crate::starter;

/// Write a commented fleet.toml for what is found in the directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl init
  fleetctl init shop --app shop")]
pub struct Args {
    /// The app's directory
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// The app's name; by default the directory's
    #[arg(long, value_name = "NAME")]
    app: Option<fleet_proto::ids::AppName>,
}

pub fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let path = args.directory.join(app_file::NAME);
    if path.exists() {
        return Err(Error::refused(
            format!("{} exists, and is not overwritten", path.display()),
            format!("edit it, or move it away: mv '{0}' '{0}.old'", path.display()),
        ));
    }
    let app = match &args.app {
        Some(app) => app.to_string(),
        None => name_of(&args.directory),
    };
    let found = starter::look(&args.directory);
    let text = starter::write(&app, &found);
    std::fs::write(&path, text).map_err(Error::file(format!("cannot write {}", path.display())))?;
    session.screen.data(&path.display().to_string())?;
    session.screen.say(&format!(
        "found {}; read the file, then: fleetctl release push v1.0.0",
        found.what
    ));
    Ok(Exit::Done)
}

/// The directory's name with whatever a name may not hold turned into `-`.
fn name_of(directory: &Path) -> String {
    let full = directory.canonicalize().unwrap_or_default();
    let name = full
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let name: String = name
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .take(63)
        .collect();
    let name = name.trim_start_matches(['-', '_', '.']);
    if name.is_empty() {
        "app".to_owned()
    } else {
        name.to_owned()
    }
}
