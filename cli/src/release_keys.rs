//! Release keys on this machine.

use std::path::{Path, PathBuf};

use fleet_proto::signing::{PublicKey, SecretKey};

use crate::error::Error;
use crate::settings::Settings;

#[derive(Debug, Clone, Default, clap::Args)]
pub struct KeyArgs {
    /// A file with a secret release key; several sign together where nodes ask for k of n
    #[arg(
        long = "key",
        env = "FLEET_RELEASE_KEY",
        hide_env_values = true,
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub keys: Vec<PathBuf>,
}

impl KeyArgs {
    pub fn read(&self, settings: &Settings) -> Result<Vec<SecretKey>, Error> {
        let paths: Vec<&PathBuf> = if self.keys.is_empty() {
            settings.release_key.iter().collect()
        } else {
            self.keys.iter().collect()
        };
        if paths.is_empty() {
            return Err(Error::usage(
                "which release key signs it? none is named",
                "give --key FILE or set FLEET_RELEASE_KEY; `fleetctl key new release.key` makes one",
            ));
        }
        paths.into_iter().map(|path| read_secret(path)).collect()
    }
}

pub fn read_secret(path: &Path) -> Result<SecretKey, Error> {
    let text = read(path)?;
    SecretKey::from_file_text(&text).map_err(|source| Error::Key {
        path: path.to_owned(),
        source,
    })
}

/// A public key itself, or a file that holds one.
pub fn public(text: &str) -> Result<PublicKey, Error> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let path = Path::new(text);
    read(path)?.parse().map_err(|source| Error::Key {
        path: path.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::usage(
            format!("there is no release key at {}", path.display()),
            "`fleetctl key new release.key` makes one",
        ),
        _ => Error::file(format!("cannot read {}", path.display()))(source),
    })
}

/// `release.key` has its public half in `release.key.pub`.
pub fn public_path(secret: &Path) -> PathBuf {
    let mut name = secret.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}
