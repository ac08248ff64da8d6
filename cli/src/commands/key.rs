use std::path::{Path, PathBuf};

use fleet_proto::signing::SecretKey;
use serde::Serialize;

use crate::error::Error;
use crate::exit::Exit;
use crate::identity::write_private;
use crate::release_keys::{public, public_path};
use crate::render::table::Table;
use crate::session::Session;
use crate::settings;

/// Release keys: who may say what runs on the fleet
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  fleetctl key new release.key")]
pub enum Verb {
    /// Make a release key; its public half is what agents pin
    #[command(after_help = "\
Example:
  fleetctl key new release.key

Put the printed public key into every agent's configuration:
  [trust]
  release_keys = [\"fleet-release-key:…\"]")]
    New {
        /// Where the secret key goes; the public one goes beside it, with .pub behind
        #[arg(value_name = "FILE", default_value = "release.key")]
        file: PathBuf,
    },
    /// List the public release keys of a directory
    #[command(after_help = "Example:\n  fleetctl key list ~/.config/fleet")]
    List {
        /// By default ~/.config/fleet
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

#[derive(Debug, Serialize)]
struct Listed {
    id: String,
    public: String,
    file: PathBuf,
}

pub fn run(verb: &Verb, session: &Session) -> Result<Exit, Error> {
    match verb {
        Verb::New { file } => {
            let public = create(file)?;
            session.screen.value(&public, |_| public.public.clone())?;
            session.screen.say(&format!(
                "wrote the secret key {} to {}; whoever has that file decides what runs",
                public.id,
                file.display()
            ));
        }
        Verb::List { directory } => {
            let directory = directory.clone().or_else(settings::directory).unwrap_or_default();
            let listed = list(&directory)?;
            session.screen.value(&listed, |_| table(&listed))?;
        }
    }
    Ok(Exit::Done)
}

/// Never over an existing key: what it signed could not be followed up.
fn create(file: &Path) -> Result<Listed, Error> {
    let public_file = public_path(file);
    for path in [file, &public_file] {
        if path.exists() {
            return Err(Error::refused(
                format!("{} exists, and a key is never overwritten", path.display()),
                "name another file: `fleetctl key new release-2.key`",
            ));
        }
    }
    let secret = SecretKey::generate()?;
    let public = secret.public();
    let write = |path: &Path, text: &str| {
        write_private(path, text).map_err(Error::file(format!("cannot write {}", path.display())))
    };
    write(file, &secret.to_file_text())?;
    write(&public_file, &format!("{public}\n"))?;
    Ok(Listed {
        id: public.id(),
        public: public.to_string(),
        file: file.to_owned(),
    })
}

fn list(directory: &Path) -> Result<Vec<Listed>, Error> {
    let failed = || Error::file(format!("cannot read {}", directory.display()));
    let mut listed = Vec::new();
    for entry in directory.read_dir().map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        if path.extension().is_none_or(|extension| extension != "pub") {
            continue;
        }
        if let Ok(key) = public(&path.to_string_lossy()) {
            listed.push(Listed {
                id: key.id(),
                public: key.to_string(),
                file: path,
            });
        }
    }
    listed.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(listed)
}

fn table(listed: &[Listed]) -> String {
    let mut table = Table::new(&["key", "public", "file"]);
    for key in listed {
        table.row(vec![
            key.id.clone(),
            key.public.clone(),
            key.file.display().to_string(),
        ]);
    }
    if table.is_empty() {
        return "no release key here; `fleetctl key new release.key` makes one".to_owned();
    }
    table.print()
}
