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
        let control = self.control()?;
        let version = control.lines().find_map(|line| line.strip_prefix("Version: "));
        let higher = format!("{}.1", version.context("a package without a version")?);
        self.changed(directory, &[("Version", &higher)], |tree| {
            let defaults = std::fs::read_to_string(tree.join("DEBIAN/conffiles"))?;
            for path in defaults.lines() {
                let mut file = File::options()
                    .append(true)
                    .open(tree.join(path.trim_start_matches('/')))?;
                file.write_all(b"# Since the higher version.\n")?;
            }
            Ok(())
        })
    }

    /// Another one, made in the directory: with these fields, and with its files as they are
    /// changed.
    pub fn changed(
        &self,
        directory: &Path,
        fields: &[(&str, &str)],
        change: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let tree = tempfile::tempdir_in(directory)?;
        let tree_path = tree.path().join("tree").display().to_string();
        let package = self.file.display().to_string();
        succeed("dpkg-deb", ["--raw-extract", &package, &tree_path])?;
        let control = Path::new(&tree_path).join("DEBIAN/control");
        let changed = |line: &str| {
            let field = line.split(':').next().unwrap_or_default();
            match fields.iter().find(|(name, _)| *name == field) {
                Some((name, value)) => format!("{name}: {value}\n"),
                None => format!("{line}\n"),
            }
        };
        let text: String = self.control()?.lines().map(changed).collect();
        std::fs::write(&control, text)?;
        change(Path::new(&tree_path))?;
        let values: Vec<&str> = fields.iter().map(|(_, value)| *value).collect();
        let file = directory.join(format!("{}-{}.deb", self.name, values.join("-")));
        let file_path = file.display().to_string();
        succeed("dpkg-deb", ["--build", "-Znone", &tree_path, &file_path])?;
        Ok(Self {
            name: self.name.clone(),
            file,
        })
    }

    fn control(&self) -> anyhow::Result<String> {
        succeed("dpkg-deb", ["--field", &self.file.display().to_string()])
    }

    pub fn file(&self) -> &Path {
        &self.file
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
