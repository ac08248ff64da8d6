//! Debian packages as a person installs them, of the programs that were built just now:
//! `make packages-for-tests` puts them beside those.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;

use crate::fleet::Ended;
use crate::hosts::host::Host;
use crate::layers::workspace;
use crate::process::{program, succeed};

pub struct Package {
    name: String,
    file: PathBuf,
}

impl Package {
    /// By its name, which is that of its program too.
    pub fn of(name: &str) -> anyhow::Result<Self> {
        let program = program(name)?;
        // Those for tests lie with their programs, those for people beside these.
        let with = program.parent().context("a program without a directory")?;
        let directories = [Some(with), with.parent()];
        let mut directories = directories
            .into_iter()
            .flatten()
            .map(|place| place.join("debian"));
        let file = directories
            .find_map(|directory| find(&directory, name))
            .filter(|package| modified(package) >= modified(&program))
            .filter(|package| modified(package) >= newest_below(&workspace().join("packaging")))
            .with_context(|| format!("{name} is not packaged\nhint: make packages-for-tests"))?;
        Ok(Self {
            name: name.to_owned(),
            file,
        })
    }

    /// The same with a higher version, made in the directory, and with other defaults in its
    /// configuration.
    pub fn with_higher_version(&self, directory: &Path) -> anyhow::Result<Self> {
        let tree = directory.join(&self.name);
        let file = directory.join(format!("{}-higher.deb", self.name));
        let (tree_path, file_path) = (tree.display().to_string(), file.display().to_string());
        let package = self.file.display().to_string();
        succeed("dpkg-deb", ["--raw-extract", &package, &tree_path])?;
        let control = tree.join("DEBIAN/control");
        let text = std::fs::read_to_string(&control)?;
        let higher = |line: &str| match line.strip_prefix("Version: ") {
            Some(version) => format!("Version: {version}.1\n"),
            None => format!("{line}\n"),
        };
        std::fs::write(&control, text.lines().map(higher).collect::<String>())?;
        let defaults = std::fs::read_to_string(tree.join("DEBIAN/conffiles"))?;
        for path in defaults.lines() {
            let mut file = File::options()
                .append(true)
                .open(tree.join(path.trim_start_matches('/')))?;
            file.write_all(b"# Since the higher version.\n")?;
        }
        succeed("dpkg-deb", ["--build", "-Znone", &tree_path, &file_path])?;
        std::fs::remove_dir_all(tree)?;
        Ok(Self {
            name: self.name.clone(),
            file,
        })
    }

    /// As unattended upgrades do, where nobody answers questions.
    pub fn install_on(&self, host: &Host) -> anyhow::Result<Ended> {
        let path = format!("/var/tmp/{}.deb", self.name);
        host.write(&path, &std::fs::read(&self.file)?, 0o644)?;
        let keep = ["--force-confdef", "--force-confold"];
        let installed = host.run(&[&["dpkg"][..], &keep, &["--install", &path]].concat())?;
        host.run(&["rm", &path])?;
        anyhow::ensure!(
            installed.code == 0,
            "installing {} on {}: {}{}",
            self.name,
            host.name(),
            installed.stdout,
            installed.stderr
        );
        Ok(installed)
    }
}

/// What `cargo deb` has put there.
fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    let prefix = format!("{name}_");
    std::fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.starts_with(&prefix) && file.ends_with(".deb")
        })
}

/// Packages of yesterday's programs and units would test those of yesterday.
pub(super) fn newest_below(path: &Path) -> Option<SystemTime> {
    match std::fs::read_dir(path) {
        Ok(entries) => entries
            .filter_map(|entry| newest_below(&entry.ok()?.path()))
            .max(),
        Err(_) => modified(path),
    }
}

pub(super) fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|about| about.modified()).ok()
}
