//! A package of what is installed: what a node goes back to that has no other package any
//! more. Files of configuration are in it as they are now.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::OwnPackageError;
use super::command::ask;
use super::package::{NAME, without};
use super::place::{Kept, Place, digest_of};
use super::record::Package;
use crate::durable::{self, failed};

const WITHIN: Duration = Duration::from_secs(120);
/// What dpkg has taken out of the package to run or to read by itself.
const CONTROL: [&str; 7] = [
    "preinst",
    "postinst",
    "prerm",
    "postrm",
    "triggers",
    "shlibs",
    "conffiles",
];

/// Puts it together, and keeps it as that package.
pub fn keep(place: &Place, package: &Package) -> Result<(), OwnPackageError> {
    let tree = place.path("tree");
    durable::remove(&tree)?;
    control(&tree.join("DEBIAN"))?;
    files(&tree)?;
    let built = place.path("built.deb");
    let (from, to) = (tree.display().to_string(), built.display().to_string());
    // Quickly, for it is wanted seldom, and then at once.
    let build = ["--root-owner-group", "-Zgzip", "-z1", "--build", &from, &to];
    ask("dpkg-deb", &build, WITHIN)?;
    durable::remove(&tree)?;
    let file = digest_of(&built)?;
    std::fs::File::open(&built)
        .and_then(|file| file.sync_all())
        .map_err(failed("sync", &built))?;
    let kept = place.path("kept.deb");
    std::fs::rename(&built, &kept).map_err(failed("rename", &built))?;
    Ok(place.write_kept(&Kept {
        package: package.clone(),
        file,
    })?)
}

fn control(directory: &Path) -> Result<(), OwnPackageError> {
    std::fs::create_dir_all(directory).map_err(failed("create", directory))?;
    mode(directory, 0o755)?;
    let status = ask("dpkg-query", &["--status", NAME], WITHIN)?;
    write(
        &directory.join("control"),
        &without(&status, &["Status", "Conffiles", "Config-Version"]),
        0o644,
    )?;
    let there = ask("dpkg-query", &["--control-list", NAME], WITHIN)?;
    for name in CONTROL
        .into_iter()
        .filter(|name| there.lines().any(|line| line == *name))
    {
        let mut text = ask("dpkg-query", &["--control-show", NAME, name], WITHIN)?;
        if name == "conffiles" {
            // What somebody has removed is not in the package, and cannot be named in it.
            let left = text.lines().filter(|path| Path::new(path).exists());
            text = left.map(|path| format!("{path}\n")).collect();
        }
        let is_run = !matches!(name, "triggers" | "shlibs" | "conffiles");
        write(&directory.join(name), &text, if is_run { 0o755 } else { 0o644 })?;
    }
    Ok(())
}

fn files(tree: &Path) -> Result<(), OwnPackageError> {
    let listed = ask("dpkg-query", &["--listfiles", NAME], WITHIN)?;
    for path in listed.lines().map(Path::new) {
        let Ok(relative) = path.strip_prefix("/") else {
            continue;
        };
        // Some machines leave documentation out.
        let Ok(about) = path.symlink_metadata() else {
            continue;
        };
        let to = tree.join(relative);
        // On most machines some of the directories are links, as /lib is to /usr/lib.
        let holds_others = listed
            .lines()
            .any(|other| Path::new(other).parent() == Some(path));
        if about.is_dir() || holds_others {
            std::fs::create_dir_all(&to).map_err(failed("create", &to))?;
            let about = path.metadata().map_err(failed("read", path))?;
            mode(&to, about.permissions().mode() & 0o7777)?;
        } else if about.is_symlink() {
            let target = std::fs::read_link(path).map_err(failed("read", path))?;
            std::os::unix::fs::symlink(target, &to).map_err(failed("create", &to))?;
        } else {
            std::fs::copy(path, &to).map_err(failed("copy", path))?;
        }
    }
    mode(tree, 0o755)
}

fn write(path: &Path, text: &str, its_mode: u32) -> Result<(), OwnPackageError> {
    std::fs::write(path, text).map_err(failed("write", path))?;
    mode(path, its_mode)
}

fn mode(path: &Path, mode: u32) -> Result<(), OwnPackageError> {
    let permissions = std::fs::Permissions::from_mode(mode);
    Ok(std::fs::set_permissions(path, permissions).map_err(failed("set the mode of", path))?)
}
