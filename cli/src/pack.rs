//! A directory or a file becomes a [`Tree`]: what there is, by content.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fleet_proto::digest::Digest;
use fleet_proto::release::Artifact;
use fleet_proto::tree::{Entry, Tree, TreeError, TreePath};

const SETUID_OR_SETGID: u32 = 0o6000;
const EXECUTABLE: u32 = 0o111;

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("cannot read {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is {what}, which a release cannot hold", .path.display())]
    Odd { path: PathBuf, what: &'static str },
    #[error("{} has the setuid or setgid bit; a release cannot hold it", .path.display())]
    Setuid { path: PathBuf },
    #[error("the name of {} is not UTF-8", .path.display())]
    Name { path: PathBuf },
    #[error("{} holds no file", .path.display())]
    Empty { path: PathBuf },
    #[error("{}", .path.display())]
    Tree {
        path: PathBuf,
        #[source]
        source: TreeError,
    },
}

impl PackError {
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Setuid { path } => Some(format!("chmod ug-s '{}'", path.display())),
            Self::Odd { path, .. } => Some(format!("rm '{}'", path.display())),
            Self::Tree {
                source: TreeError::Link { .. },
                ..
            } => Some("a link may only lead to something within the component's own directory".to_owned()),
            Self::Read { .. } | Self::Name { .. } | Self::Empty { .. } | Self::Tree { .. } => None,
        }
    }
}

/// Where a blob's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    File { path: PathBuf, bytes: u64 },
    Memory(Vec<u8>),
}

/// One component on one platform, ready to be sent.
#[derive(Debug)]
pub struct Packed {
    pub artifact: Artifact,
    /// Every blob that must be there before an agent can lay the tree out.
    pub blobs: BTreeMap<Digest, Source>,
    tree: Tree,
}

impl Packed {
    /// Why a program could never be started out of this tree, if that can be told from
    /// here: one that is named by a path of its own, and not looked for on the node.
    pub fn why_not_started(&self, program: &str) -> Option<String> {
        if program.starts_with('/') || !program.contains('/') || program.contains("${") {
            return None;
        }
        let parts: Vec<&str> = program
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect();
        let entry = |place: &str| {
            let mut entries = self.tree.entries().iter();
            entries.find(|(path, _)| path.as_str() == place)
        };
        // Where links lead is the node's to find out.
        let leads_elsewhere = parts.contains(&"..")
            || (1..parts.len())
                .any(|n| matches!(entry(&parts[..n].join("/")), Some((_, Entry::Link { .. }))));
        if leads_elsewhere {
            return None;
        }
        let found = entry(&parts.join("/"));
        match found {
            None => Some(format!("starts `{program}`, which is not among its files")),
            Some((_, Entry::Directory)) => Some(format!("starts `{program}`, which is a directory")),
            Some((
                _,
                Entry::File {
                    executable: false, ..
                },
            )) => Some(format!("starts `{program}`, which is not executable")),
            Some((_, Entry::File { .. } | Entry::Link { .. })) => None,
        }
    }
}

impl Packed {
    pub fn has_file(&self, path: &TreePath) -> bool {
        let mut entries = self.tree.entries().iter();
        entries.any(|(place, entry)| place == path && matches!(entry, Entry::File { .. }))
    }
}

pub fn pack(path: &Path) -> Result<Packed, PackError> {
    // The component itself may be a link (`dist -> build/42`); what is in it is not followed.
    let root = path.canonicalize().map_err(|source| PackError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut packer = Packer::default();
    let metadata = packer.metadata(&root)?;
    if metadata.is_dir() {
        packer.directory(&root, "")?;
    } else {
        let name = path.file_name().unwrap_or(root.as_os_str());
        let name = name.to_str().ok_or_else(|| PackError::Name {
            path: path.to_owned(),
        })?;
        packer.entry(&root, name, &metadata)?;
    }
    packer.finish(path)
}

#[derive(Default)]
struct Packer {
    entries: BTreeMap<TreePath, Entry>,
    blobs: BTreeMap<Digest, Source>,
}

impl Packer {
    fn metadata(&self, path: &Path) -> Result<Metadata, PackError> {
        path.symlink_metadata().map_err(|source| PackError::Read {
            path: path.to_owned(),
            source,
        })
    }

    fn directory(&mut self, path: &Path, prefix: &str) -> Result<(), PackError> {
        let unreadable = |source| PackError::Read {
            path: path.to_owned(),
            source,
        };
        for entry in path.read_dir().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            let name = entry
                .file_name()
                .into_string()
                .map_err(|_| PackError::Name { path: path.clone() })?;
            let metadata = self.metadata(&path)?;
            self.entry(&path, &format!("{prefix}{name}"), &metadata)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: &str, metadata: &Metadata) -> Result<(), PackError> {
        let place = TreePath::try_from(name.to_owned()).map_err(|source| PackError::Tree {
            path: path.to_owned(),
            source,
        })?;
        let kind = metadata.file_type();
        let entry = if kind.is_symlink() {
            self.link(path)?
        } else if kind.is_file() {
            self.file(path, metadata)?
        } else if kind.is_dir() {
            // Checked before the descent, so that a path too deep is refused early.
            self.entries.insert(place, Entry::Directory);
            return self.directory(path, &format!("{name}/"));
        } else {
            return Err(PackError::Odd {
                path: path.to_owned(),
                what: odd(kind),
            });
        };
        self.entries.insert(place, entry);
        Ok(())
    }

    fn link(&self, path: &Path) -> Result<Entry, PackError> {
        let target = path.read_link().map_err(|source| PackError::Read {
            path: path.to_owned(),
            source,
        })?;
        let target = target
            .into_os_string()
            .into_string()
            .map_err(|_| PackError::Name {
                path: path.to_owned(),
            })?;
        Ok(Entry::Link { target })
    }

    fn file(&mut self, path: &Path, metadata: &Metadata) -> Result<Entry, PackError> {
        let mode = metadata.permissions().mode();
        if mode & SETUID_OR_SETGID != 0 {
            return Err(PackError::Setuid {
                path: path.to_owned(),
            });
        }
        let (digest, bytes) =
            File::open(path)
                .and_then(Digest::of_reader)
                .map_err(|source| PackError::Read {
                    path: path.to_owned(),
                    source,
                })?;
        self.blobs.entry(digest).or_insert_with(|| Source::File {
            path: path.to_owned(),
            bytes,
        });
        Ok(Entry::File {
            digest,
            bytes,
            executable: mode & EXECUTABLE != 0,
        })
    }

    fn finish(mut self, path: &Path) -> Result<Packed, PackError> {
        let wrong = |source| PackError::Tree {
            path: path.to_owned(),
            source,
        };
        let tree = Tree::new(self.entries).map_err(wrong)?;
        let files = tree.files().count() as u64;
        if files == 0 {
            return Err(PackError::Empty {
                path: path.to_owned(),
            });
        }
        let encoded = tree.encode().map_err(wrong)?;
        let digest = Digest::of(&encoded);
        let bytes = tree.bytes();
        self.blobs.insert(digest, Source::Memory(encoded));
        Ok(Packed {
            artifact: Artifact {
                tree: digest,
                files,
                bytes,
            },
            blobs: self.blobs,
            tree,
        })
    }
}

fn odd(kind: std::fs::FileType) -> &'static str {
    if kind.is_socket() {
        "a socket"
    } else if kind.is_fifo() {
        "a named pipe"
    } else {
        "a device"
    }
}
