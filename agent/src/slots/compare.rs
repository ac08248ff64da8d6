//! A slot against what was signed: every file that is not as it was laid out, and those that
//! somebody has put beside them.

use std::collections::BTreeSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fleet_proto::digest::Digest;
use fleet_proto::quantity::Bytes;
use fleet_proto::release::Component;
use fleet_proto::tree::{Entry, Tree};

use nix::fcntl::OFlag;

use super::Slot;

/// What an app writes into its slot may be without end.
const LOOKED_AT_MAX: usize = 100_000;

/// One path that is otherwise, below the component's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub path: PathBuf,
    pub kind: Kind,
    pub expected: String,
    pub found: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Changed,
    Added,
    Missing,
    Mode,
}

/// Not all of it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    #[error("the list of its files is not the one that was signed")]
    NoTree,
    #[error("there are more than {LOOKED_AT_MAX} files in its slot")]
    TooMany,
    #[error("it takes too long")]
    TooLong,
}

/// Told of each step: how many bytes were read for it. Says whether there is time for more.
pub type Pace<'a> = dyn FnMut(u64) -> bool + 'a;

impl Slot {
    pub fn differences(
        &self,
        component: &Component,
        pace: &mut Pace<'_>,
        take: &mut dyn FnMut(Difference),
    ) -> Result<(), Incomplete> {
        let tree = self.signed_tree(component).ok_or(Incomplete::NoTree)?;
        let root = self.files(&component.name);
        for (path, entry) in tree.entries() {
            let read = match entry {
                Entry::File { bytes, .. } => *bytes,
                Entry::Directory | Entry::Link { .. } => 0,
            };
            if !pace(read) {
                return Err(Incomplete::TooLong);
            }
            if let Some((kind, expected, found)) = difference(&root.join(path.as_str()), entry) {
                take(Difference {
                    path: PathBuf::from(path.as_str()),
                    kind,
                    expected,
                    found,
                });
            }
        }
        added(&root, &tree, pace, take)
    }
}

fn difference(path: &Path, entry: &Entry) -> Option<(Kind, String, String)> {
    let Ok(about) = path.symlink_metadata() else {
        return Some((Kind::Missing, what(entry), "nothing".to_owned()));
    };
    let changed = |found: String| Some((Kind::Changed, what(entry), found));
    match entry {
        Entry::Directory if about.is_dir() => mode(&about, 0o755),
        Entry::Link { target } if about.is_symlink() => {
            let found = std::fs::read_link(path).unwrap_or_default();
            match found == Path::new(target) {
                true => None,
                false => changed(format!("a link to {}", found.display())),
            }
        }
        Entry::File {
            digest,
            bytes,
            executable,
        } if about.is_file() => {
            // Whatever lies there instead may be without end.
            if about.len() != *bytes {
                return changed(Bytes(about.len()).to_string());
            }
            let found = open(path).and_then(|file| Digest::of_reader(file.take(bytes.saturating_add(1))));
            match found {
                Ok(found) if found == (*digest, *bytes) => {
                    mode(&about, if *executable { 0o755 } else { 0o644 })
                }
                Ok((digest, bytes)) => changed(file(&digest, bytes)),
                Err(error) => changed(format!("a file that cannot be read: {error}")),
            }
        }
        Entry::Directory | Entry::Link { .. } | Entry::File { .. } => changed(kind_of(&about).to_owned()),
    }
}

/// Not what somebody has put into its place meanwhile, as a pipe from which nothing comes.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
}

fn mode(about: &Metadata, expected: u32) -> Option<(Kind, String, String)> {
    let found = about.permissions().mode() & 0o7777;
    (found != expected).then(|| (Kind::Mode, format!("{expected:o}"), format!("{found:o}")))
}

fn what(entry: &Entry) -> String {
    match entry {
        Entry::Directory => "a directory".to_owned(),
        Entry::Link { target } => format!("a link to {target}"),
        Entry::File { digest, bytes, .. } => file(digest, *bytes),
    }
}

fn file(digest: &Digest, bytes: u64) -> String {
    let short: String = digest.to_string().chars().take(12).collect();
    format!("{short}, {bytes} bytes")
}

fn kind_of(about: &Metadata) -> &'static str {
    match () {
        () if about.is_dir() => "a directory",
        () if about.is_symlink() => "a link",
        () if about.is_file() => "a file",
        () => "neither file nor directory",
    }
}

/// What was not laid out; of a directory that was not, nothing more.
fn added(
    root: &Path,
    tree: &Tree,
    pace: &mut Pace<'_>,
    take: &mut dyn FnMut(Difference),
) -> Result<(), Incomplete> {
    let known: BTreeSet<&Path> = tree
        .entries()
        .keys()
        .map(|path| Path::new(path.as_str()))
        .collect();
    let above = tree
        .entries()
        .keys()
        .flat_map(|path| path.parents().map(Path::new));
    let directories: BTreeSet<&Path> = above.collect();
    let mut ahead = vec![PathBuf::new()];
    let mut looked_at = 0;
    while let Some(directory) = ahead.pop() {
        for entry in std::fs::read_dir(root.join(&directory))
            .into_iter()
            .flatten()
            .flatten()
        {
            looked_at += 1;
            if looked_at > LOOKED_AT_MAX {
                return Err(Incomplete::TooMany);
            }
            if !pace(0) {
                return Err(Incomplete::TooLong);
            }
            let path = directory.join(entry.file_name());
            let is_known = known.contains(path.as_path()) || directories.contains(path.as_path());
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_known {
                let found = entry.metadata().map_or("something", |about| kind_of(&about));
                take(Difference {
                    path,
                    kind: Kind::Added,
                    expected: "nothing".to_owned(),
                    found: found.to_owned(),
                });
            } else if is_directory {
                ahead.push(path);
            }
        }
    }
    Ok(())
}
