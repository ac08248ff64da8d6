//! Slots: release directories, and which of them is current.
//!
//! A slot is built beside the others, synced, and renamed into place: it is whole or it
//! is not there. `current` is a link that is replaced by a rename.

mod build;
pub mod compare;
mod in_use;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use fleet_proto::digest::Digest;
use fleet_proto::ids::{AppName, ComponentName};
use fleet_proto::release::{Component, Manifest, Platform, ReleaseError, ReleaseRef, SignedManifest};
use fleet_proto::signing::Signature;
use fleet_proto::tree::{Entry, Tree, TreeError};

use crate::boundary::{Boundary, boundary};
use crate::durable::{self, FileError, failed};
use crate::handed;
use crate::layout::Layout;

pub use build::{Building, Missing, known_tree};
pub use in_use::InUse;

const MANIFEST: &str = "manifest.json";
const SIGNATURES: &str = "signatures.json";
const TREES: &str = "trees";
const FILES: &str = "files";
const STAGING: &str = "staging-";

static NAMES: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the slot {} holds another release than its name says: {found}", .path.display())]
    WrongRelease { path: PathBuf, found: Digest },
    #[error("the manifest in {} cannot be read", .path.display())]
    Manifest {
        path: PathBuf,
        #[source]
        source: ReleaseError,
    },
    #[error("the tree of {component} in {} cannot be read", .path.display())]
    Tree {
        component: ComponentName,
        path: PathBuf,
        #[source]
        source: TreeError,
    },
    #[error("{release} is not on this node's disk")]
    Absent { release: ReleaseRef },
}

/// A release on the disk.
#[derive(Debug, Clone)]
pub struct Slot {
    path: PathBuf,
    pub manifest: Manifest,
}

impl Slot {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a component's files are.
    pub fn files(&self, component: &ComponentName) -> PathBuf {
        self.path.join(FILES).join(component.as_str())
    }

    fn tree_path(&self, component: &ComponentName) -> PathBuf {
        tree_path(&self.path, component)
    }

    /// Whether everything that was signed is still as it was laid out. What an app wrote
    /// beside it is its own affair.
    pub fn is_whole(&self) -> bool {
        self.manifest.components.iter().all(|component| {
            let root = self.files(&component.name);
            self.signed_tree(component).is_some_and(|tree| {
                let mut entries = tree.entries().iter();
                entries.all(|(path, entry)| is_as_laid_out(&root.join(path.as_str()), entry))
            })
        })
    }

    /// The list of files, if it is the one that the manifest names.
    fn signed_tree(&self, component: &Component) -> Option<Tree> {
        let signed = component.artifact_for(&Platform::here())?;
        let bytes = std::fs::read(self.tree_path(&component.name)).ok()?;
        (Digest::of(&bytes) == signed.tree)
            .then(|| Tree::decode(&bytes).ok())
            .flatten()
    }

    pub fn tree(&self, component: &ComponentName) -> Result<Tree, SlotError> {
        let path = self.tree_path(component);
        let bytes = std::fs::read(&path).map_err(failed("read", &path))?;
        Tree::decode(&bytes).map_err(|source| SlotError::Tree {
            component: component.clone(),
            path,
            source,
        })
    }
}

fn is_as_laid_out(path: &Path, entry: &Entry) -> bool {
    let Ok(about) = path.symlink_metadata() else {
        return false;
    };
    match entry {
        Entry::Directory => about.is_dir(),
        Entry::Link { target } => std::fs::read_link(path).is_ok_and(|found| found == Path::new(target)),
        Entry::File {
            digest,
            bytes,
            executable,
        } => {
            let can_run = about.permissions().mode() & 0o111 != 0;
            about.is_file()
                && can_run == *executable
                && File::open(path)
                    .and_then(Digest::of_reader)
                    .is_ok_and(|found| found == (*digest, *bytes))
        }
    }
}

fn tree_path(slot: &Path, component: &ComponentName) -> PathBuf {
    slot.join(TREES).join(format!("{component}.json"))
}

/// All slots of one app.
#[derive(Debug, Clone)]
pub struct Slots {
    layout: Layout,
    app: AppName,
}

impl Slots {
    pub fn new(layout: &Layout, app: &AppName) -> Self {
        Self {
            layout: layout.clone(),
            app: app.clone(),
        }
    }

    pub fn has(&self, release: &ReleaseRef) -> bool {
        self.layout.slot(&self.app, &release.digest).is_dir()
    }

    /// The manifest in it was verified when the slot was built; its digest is its name.
    pub fn open(&self, release: &ReleaseRef) -> Result<Slot, SlotError> {
        let path = self.layout.slot(&self.app, &release.digest);
        if !path.is_dir() {
            return Err(SlotError::Absent {
                release: release.clone(),
            });
        }
        let (slot, found) = read_slot(&path)?;
        if found != release.digest {
            return Err(SlotError::WrongRelease { path, found });
        }
        Ok(slot)
    }

    /// The manifest as it came, with its signatures, to be verified anew.
    pub fn signed(&self, release: &ReleaseRef) -> Result<SignedManifest, SlotError> {
        let path = self.layout.slot(&self.app, &release.digest);
        let manifest = path.join(MANIFEST);
        let bytes = std::fs::read(&manifest).map_err(failed("read", manifest))?;
        let signatures = path.join(SIGNATURES);
        let text = std::fs::read(&signatures).map_err(failed("read", &signatures))?;
        let signatures: Vec<Signature> = serde_json::from_slice(&text)
            .map_err(|error| failed("understand", signatures)(io::Error::other(error)))?;
        Ok(SignedManifest { bytes, signatures })
    }

    /// Without a look into them.
    pub fn names(&self) -> Vec<Digest> {
        let entries = std::fs::read_dir(self.layout.slots(&self.app)).into_iter();
        let named = entries.flatten().flatten().map(|entry| entry.file_name());
        let mut names: Vec<Digest> = named.filter_map(|name| name.to_str()?.parse().ok()).collect();
        names.sort_unstable();
        names
    }

    /// Every slot that can be read, by its release.
    pub fn all(&self) -> BTreeMap<Digest, Slot> {
        let Ok(entries) = std::fs::read_dir(self.layout.slots(&self.app)) else {
            return BTreeMap::new();
        };
        entries
            .flatten()
            .filter_map(|entry| {
                let named: Digest = entry.file_name().to_str()?.parse().ok()?;
                let (slot, found) = read_slot(&entry.path()).ok()?;
                (found == named).then_some((named, slot))
            })
            .collect()
    }

    pub fn build(&self, release: &ReleaseRef) -> Result<Building, FileError> {
        let (apps, app, slots) = (
            self.layout.apps(),
            self.layout.app(&self.app),
            self.layout.slots(&self.app),
        );
        durable::create_directory(&slots)?;
        for directory in [&apps, &app, &slots] {
            durable::let_pass(directory)?;
        }
        let staging = self.beside_slots(&release.digest.to_string());
        Building::begin(staging, self.layout.slot(&self.app, &release.digest))
    }

    pub fn current(&self) -> Option<Digest> {
        let target = std::fs::read_link(self.layout.current(&self.app)).ok()?;
        target.file_name()?.to_str()?.parse().ok()
    }

    /// Where a component's files are, whichever release is current.
    pub fn current_files(&self, component: &ComponentName) -> PathBuf {
        self.layout
            .current(&self.app)
            .join(FILES)
            .join(component.as_str())
    }

    /// Where what components are handed is, whichever release is current.
    pub fn current_handed(&self) -> PathBuf {
        self.layout.current(&self.app).join(handed::LINK)
    }

    /// All of the switch that needs room on the disk. What is current stays so.
    pub fn prepare_switch(&self, to: &ReleaseRef) -> Result<(), FileError> {
        let new = durable::beside(&self.layout.current(&self.app), "new");
        let target = Path::new("slots").join(to.digest.to_string());
        if self.current() == Some(to.digest) || std::fs::read_link(&new).is_ok_and(|there| there == target) {
            return Ok(());
        }
        durable::remove(&new)?;
        std::os::unix::fs::symlink(target, &new).map_err(failed("create", &new))?;
        boundary(Boundary::SwitchPrepared);
        Ok(())
    }

    /// The atomic switch. To nothing: the link goes.
    pub fn switch(&self, to: Option<&ReleaseRef>) -> Result<(), FileError> {
        if self.current() == to.map(|release| release.digest) {
            return Ok(());
        }
        let link = self.layout.current(&self.app);
        match to {
            Some(release) => {
                self.prepare_switch(release)?;
                let new = durable::beside(&link, "new");
                std::fs::rename(&new, &link).map_err(failed("switch", &link))?;
            }
            None => durable::remove(&link)?,
        }
        boundary(Boundary::SlotSwitched);
        match durable::parent(&link) {
            app if app.is_dir() => durable::sync_directory(app)?,
            _ => {}
        }
        boundary(Boundary::SwitchSynced);
        Ok(())
    }

    /// Takes what `keeps` does not want out of the way, in one step each: a half-removed
    /// slot must not pass for one. What is current stays, and so does a slot in which a
    /// process lives, whatever its release is still good for. Removing what this gives takes long, and whoever is
    /// interrupted in it sweeps when it starts.
    pub fn retire(&self, keeps: impl Fn(&Digest) -> bool) -> Result<Vec<PathBuf>, FileError> {
        let current = self.current();
        let in_use = self.in_use();
        let is_kept = |digest: &Digest| keeps(digest) || Some(*digest) == current || in_use.needs(digest);
        let mut retired = Vec::new();
        let slots = self.layout.slots(&self.app);
        for entry in std::fs::read_dir(&slots).into_iter().flatten().flatten() {
            let named = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<Digest>().ok());
            if let Some(digest) = named.filter(|digest| !is_kept(digest)) {
                let doomed = self.beside_slots(&format!("gone-{digest}"));
                std::fs::rename(entry.path(), &doomed).map_err(failed("remove", entry.path()))?;
                retired.push(doomed);
            }
        }
        self.retire_handed(&mut retired)?;
        Ok(retired)
    }

    /// What was handed to components goes with the slot in which they were.
    fn retire_handed(&self, retired: &mut Vec<PathBuf>) -> Result<(), FileError> {
        let handed = self.layout.handed(&self.app);
        for entry in std::fs::read_dir(handed).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if self.layout.slots(&self.app).join(&name).exists() {
                continue;
            }
            let doomed = self.beside_slots(&format!("gone-{}", name.to_string_lossy()));
            std::fs::rename(entry.path(), &doomed).map_err(failed("remove", entry.path()))?;
            retired.push(doomed);
        }
        Ok(())
    }

    /// As [`Slots::retire`], half a release that nobody waits for any more. A fetch that
    /// begins now begins in a directory of its own.
    pub fn retire_incoming(&self) -> Result<Option<PathBuf>, FileError> {
        let incoming = self.layout.incoming(&self.app);
        let doomed = self.beside_slots("gone-incoming");
        match std::fs::rename(&incoming, &doomed) {
            Ok(()) => Ok(Some(doomed)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("remove", incoming)(error)),
        }
    }

    /// No two share a name: what was given up may still be on its way out.
    fn beside_slots(&self, what: &str) -> PathBuf {
        static SINCE: OnceLock<u128> = OnceLock::new();
        let since = SINCE.get_or_init(|| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.unwrap_or_default().as_nanos()
        });
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        self.layout
            .app(&self.app)
            .join(format!("{STAGING}{what}-{since}-{number}"))
    }

    /// What a power cut left half built or half removed, if nothing has been built yet.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.layout.app(&self.app))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(STAGING))
            .map(|entry| entry.path())
            .collect()
    }
}

fn read_slot(path: &Path) -> Result<(Slot, Digest), SlotError> {
    let manifest = path.join(MANIFEST);
    let bytes = std::fs::read(&manifest).map_err(failed("read", manifest))?;
    let signed = SignedManifest {
        bytes,
        signatures: vec![],
    };
    let manifest = signed.read().map_err(|source| SlotError::Manifest {
        path: path.to_owned(),
        source,
    })?;
    let slot = Slot {
        path: path.to_owned(),
        manifest,
    };
    Ok((slot, signed.digest()))
}

/// Everything written to the file system that holds `path`, in one go: thousands of
/// small files would take as many syncs otherwise.
fn sync_file_system(path: &Path) -> Result<(), FileError> {
    let directory = File::open(path).map_err(failed("open", path))?;
    nix::unistd::syncfs(directory.as_fd()).map_err(|errno| failed("sync", path)(errno.into()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests;
