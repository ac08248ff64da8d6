//! Building a slot: files are laid out in a fresh directory, from data that was
//! validated, and never through a link.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fleet_proto::digest::{Digest, Hasher};
use fleet_proto::ids::ComponentName;
use fleet_proto::release::SignedManifest;
use fleet_proto::tree::{Entry, Tree, TreePath};

use super::{FILES, MANIFEST, SIGNATURES, Slot, SlotError, TREES, tree_path};
use crate::boundary::{Boundary, boundary};
use crate::durable::{self, FileError, failed};
use crate::facts::on_disk;

const COPY_BYTES: usize = 256 << 10;

/// A file that no slot on this node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    pub digest: Digest,
    pub bytes: u64,
}

/// A slot that is not one yet.
pub struct Building {
    staging: PathBuf,
    slot: PathBuf,
    trees: BTreeMap<ComponentName, Tree>,
}

/// A build that was given up, as when the order was withdrawn, leaves nothing behind.
/// Thousands of files take a while to go, and whoever gave up must not wait for it.
impl Drop for Building {
    fn drop(&mut self) {
        let staging = std::mem::take(&mut self.staging);
        let remove = move || {
            let _swept_at_the_next_start = durable::remove(&staging);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

impl Building {
    pub(super) fn begin(staging: PathBuf, slot: PathBuf) -> Result<Self, FileError> {
        durable::remove(&staging)?;
        for directory in [staging.clone(), staging.join(TREES), staging.join(FILES)] {
            make_directory(&directory)?;
        }
        Ok(Self {
            staging,
            slot,
            trees: BTreeMap::new(),
        })
    }

    pub fn write_manifest(&self, signed: &SignedManifest) -> Result<(), FileError> {
        let signatures = self.staging.join(SIGNATURES);
        let text = serde_json::to_vec(&signed.signatures)
            .map_err(|error| failed("encode", &signatures)(io::Error::other(error)))?;
        write_new(&self.staging.join(MANIFEST), &signed.bytes, false)?;
        write_new(&signatures, &text, false)
    }

    /// Takes a component's tree, and makes its directories and links.
    pub fn write_tree(
        &mut self,
        component: &ComponentName,
        encoded: &[u8],
        tree: Tree,
    ) -> Result<(), FileError> {
        write_new(&tree_path(&self.staging, component), encoded, false)?;
        let root = self.staging.join(FILES).join(component.as_str());
        make_directory(&root)?;
        let mut made = BTreeSet::new();
        for (path, entry) in tree.entries() {
            for parent in path.parents() {
                if made.insert(parent.to_owned()) {
                    make_directory(&root.join(parent))?;
                }
            }
            let place = root.join(path.as_str());
            match entry {
                Entry::Directory => {
                    if made.insert(path.as_str().to_owned()) {
                        make_directory(&place)?;
                    }
                }
                Entry::Link { target } => {
                    std::os::unix::fs::symlink(target, &place).map_err(failed("create", &place))?;
                }
                Entry::File { .. } => {}
            }
        }
        self.trees.insert(component.clone(), tree);
        Ok(())
    }

    /// Copies from other slots what they have, and says what they have not. A copy is
    /// hashed as it is made: a file that somebody changed counts as missing.
    pub fn copy_from(&self, others: &[Slot]) -> Result<BTreeSet<Missing>, SlotError> {
        let known = known_files(others);
        let mut missing = BTreeSet::new();
        for (place, file) in self.files() {
            if is_there(&place) {
                continue;
            }
            let sources = known.get(&file.digest).map(Vec::as_slice).unwrap_or_default();
            let copied = file.bytes == 0
                && file.digest == Digest::of(b"")
                && write_new(&place, b"", file.executable).is_ok();
            if copied {
                continue;
            }
            let mut found = false;
            for source in sources {
                if copy_checked(source, &place, &file)? {
                    found = true;
                    break;
                }
            }
            if !found {
                missing.insert(Missing {
                    digest: file.digest,
                    bytes: file.bytes,
                });
            }
        }
        Ok(missing)
    }

    /// Lays out fetched blobs by moving them, so that a release takes its room once.
    /// Gives back those that are not what they should be, or not there: a power cut may
    /// have emptied what an earlier download had written.
    pub fn place_from(&self, incoming: &Path) -> Result<BTreeSet<Missing>, FileError> {
        let (present, absent): (Vec<_>, Vec<_>) = self.files().partition(|(place, _)| is_there(place));
        // What lies in its place was hashed when it was laid there.
        let mut placed: BTreeMap<Digest, PathBuf> = present
            .into_iter()
            .map(|(place, file)| (file.digest, place))
            .collect();
        let mut missing = BTreeSet::new();
        for (place, file) in absent {
            let is_placed = match placed.get(&file.digest) {
                Some(twin) => copy_checked(twin, &place, &file)?,
                None => move_checked(&incoming.join(file.digest.to_string()), &place, &file)?,
            };
            if is_placed {
                placed.entry(file.digest).or_insert(place);
            } else {
                missing.insert(Missing {
                    digest: file.digest,
                    bytes: file.bytes,
                });
            }
        }
        Ok(missing)
    }

    /// What the files that are not in their places yet will take on the disk.
    pub fn bytes_needed(&self) -> u64 {
        self.files()
            .filter(|(place, _)| !is_there(place))
            .map(|(_, file)| on_disk(file.bytes))
            .fold(0, u64::saturating_add)
    }

    pub fn files_count(&self) -> usize {
        self.trees.values().map(|tree| tree.files().count()).sum()
    }

    /// Of all its files.
    pub fn digests(&self) -> BTreeSet<Digest> {
        self.files().map(|(_, file)| file.digest).collect()
    }

    pub fn finish(self) -> Result<(), FileError> {
        super::sync_file_system(&self.staging)?;
        boundary(Boundary::SlotSynced);
        let slots = durable::parent(&self.slot);
        if is_there(&self.slot) {
            // One that could not be read was built anew.
            let old = durable::beside(&self.staging, "old");
            durable::remove(&old)?;
            std::fs::rename(&self.slot, &old).map_err(failed("replace", &self.slot))?;
        }
        std::fs::rename(&self.staging, &self.slot).map_err(failed("rename", &self.staging))?;
        boundary(Boundary::SlotRenamed);
        durable::sync_directory(slots)?;
        durable::sync_directory(durable::parent(slots))?;
        boundary(Boundary::SlotBuilt);
        Ok(())
    }

    fn files(&self) -> impl Iterator<Item = (PathBuf, Wanted)> {
        self.trees.iter().flat_map(|(component, tree)| {
            let root = self.staging.join(FILES).join(component.as_str());
            tree.entries().iter().filter_map(move |(path, entry)| {
                let Entry::File {
                    digest,
                    bytes,
                    executable,
                } = entry
                else {
                    return None;
                };
                let wanted = Wanted {
                    digest: *digest,
                    bytes: *bytes,
                    executable: *executable,
                };
                Some((root.join(TreePath::as_str(path)), wanted))
            })
        })
    }
}

struct Wanted {
    digest: Digest,
    bytes: u64,
    executable: bool,
}

fn known_files(slots: &[Slot]) -> BTreeMap<Digest, Vec<PathBuf>> {
    let mut known: BTreeMap<Digest, Vec<PathBuf>> = BTreeMap::new();
    for slot in slots {
        for component in &slot.manifest.components {
            let Ok(tree) = slot.tree(&component.name) else {
                continue;
            };
            let root = slot.files(&component.name);
            for (path, digest, _) in tree.files() {
                known.entry(digest).or_default().push(root.join(path.as_str()));
            }
        }
    }
    known
}

/// The tree of some slot with this digest, if its bytes are still those.
pub fn known_tree(slots: &[Slot], digest: Digest) -> Option<Vec<u8>> {
    slots.iter().find_map(|slot| {
        slot.manifest.components.iter().find_map(|component| {
            let bytes = std::fs::read(tree_path(&slot.path, &component.name)).ok()?;
            (Digest::of(&bytes) == digest).then_some(bytes)
        })
    })
}

/// False, and nothing left behind, if the source is not there or not what it should be.
fn copy_checked(source: &Path, place: &Path, wanted: &Wanted) -> Result<bool, FileError> {
    let Ok(mut from) = open_itself(source) else {
        return Ok(false);
    };
    if !is_file_of(&from, wanted.bytes) {
        return Ok(false);
    }
    let mut to = create_new(place, wanted.executable)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; COPY_BYTES.min(usize::try_from(wanted.bytes).unwrap_or(COPY_BYTES).max(1))];
    let mut left = wanted.bytes;
    loop {
        let count = from.read(&mut buffer).map_err(failed("read", source))?;
        if count == 0 || left == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        to.write_all(&buffer[..count]).map_err(failed("write", place))?;
        left = left.saturating_sub(count as u64);
    }
    drop(to);
    if hasher.finish() == (wanted.digest, wanted.bytes) {
        return Ok(true);
    }
    durable::remove(place)?;
    Ok(false)
}

/// As [`copy_checked`], and the source is gone when it went well.
fn move_checked(source: &Path, place: &Path, wanted: &Wanted) -> Result<bool, FileError> {
    let Ok(file) = open_itself(source) else {
        return Ok(false);
    };
    if !is_file_of(&file, wanted.bytes) {
        return Ok(false);
    }
    let found = Digest::of_reader(&file).map_err(failed("read", source))?;
    if found != (wanted.digest, wanted.bytes) {
        return Ok(false);
    }
    set_mode(&file, place, wanted.executable)?;
    match std::fs::rename(source, place) {
        Ok(()) => Ok(true),
        // Somebody has put the apps on a disk of their own.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let is_copied = copy_checked(source, place, wanted)?;
            durable::remove(source)?;
            Ok(is_copied)
        }
        Err(error) => Err(failed("rename", source)(error)),
    }
}

fn is_there(place: &Path) -> bool {
    place.symlink_metadata().is_ok()
}

/// Never what a link points to, and without waiting for whoever writes into a pipe that
/// lies there.
fn open_itself(path: &Path) -> io::Result<File> {
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
}

fn is_file_of(file: &File, bytes: u64) -> bool {
    file.metadata()
        .is_ok_and(|about| about.is_file() && about.len() == bytes)
}

fn write_new(path: &Path, bytes: &[u8], executable: bool) -> Result<(), FileError> {
    create_new(path, executable)?
        .write_all(bytes)
        .map_err(failed("write", path))
}

/// Never through a link and never over a file. The mode is set apart from opening, for
/// the umask must not decide whether a program can be run.
fn create_new(path: &Path, executable: bool) -> Result<File, FileError> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits())
        .open(path)
        .map_err(failed("create", path))?;
    set_mode(&file, path, executable)?;
    Ok(file)
}

fn set_mode(file: &File, path: &Path, executable: bool) -> Result<(), FileError> {
    let mode = if executable { 0o755 } else { 0o644 };
    file.set_permissions(Permissions::from_mode(mode))
        .map_err(failed("set the mode of", path))
}

fn make_directory(path: &Path) -> Result<(), FileError> {
    std::fs::create_dir(path).map_err(failed("create", path))?;
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(failed("set the mode of", path))
}
