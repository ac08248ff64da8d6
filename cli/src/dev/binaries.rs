//! The programs that a fleet is made of.

use std::path::{Path, PathBuf};

use crate::error::Error;

#[derive(Debug, Clone)]
pub struct Binaries {
    pub coordinator: PathBuf,
    pub agent: PathBuf,
    pub sample: PathBuf,
    /// Where `fleetctl` itself is.
    pub directory: PathBuf,
}

impl Binaries {
    /// Beside this very program first: one build, one fleet. Then `PATH`.
    pub fn find() -> Result<Self, Error> {
        let own = std::env::current_exe().map_err(Error::file("cannot tell where fleetctl is"))?;
        let directory = own.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self {
            coordinator: find("fleet-coordinator", &directory)?,
            agent: find("fleet-agent", &directory)?,
            sample: find("fleet-sample", &directory)?,
            directory,
        })
    }
}

fn find(name: &str, beside: &Path) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(beside.to_owned())
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            Error::refused(
                format!(
                    "there is no `{name}` beside fleetctl ({}) or on the PATH",
                    beside.display()
                ),
                "in a checkout, `cargo build --workspace` makes it",
            )
        })
}
