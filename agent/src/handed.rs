//! What a component is handed beside its files, release by release.
//!
//! ```text
//! apps/<app>/handed/<release>/config/<component>/…       files that were filled in
//!                             kept/<component>/NAME      its secrets; the agent's alone
//!                             secrets/<component>/NAME   those that are files; its user's
//!                             unit/<component>/…         what systemd tells it
//! apps/<app>/slots/<release>/handed -> ../../handed/<release>
//! ```
//!
//! Components find it by way of `current`: what is the same in every release has the same
//! name in every release, and the switch of the release is that of all of this too.

mod private;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fleet_proto::digest::Digest;
use fleet_proto::ids::{AppName, ComponentName};
use fleet_proto::release::SecretName;
use fleet_proto::tree::TreePath;
use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid, User, chown, geteuid};

use crate::durable::{self, FileError, failed};
use crate::layout::Layout;
use crate::secrets::{Secret, kept};
use crate::slots::Slot;

/// In a slot.
pub const LINK: &str = "handed";
const CONFIG: &str = "config";
const KEPT: &str = "kept";
const SECRETS: &str = "secrets";
const UNIT: &str = "unit";
const ENVIRONMENT: &str = "environment";
const PERMISSIONS: u32 = 0o7777;

/// Somebody else than the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    uid: Uid,
    gid: Gid,
}

impl Owner {
    /// None if there is nobody of that name: not where it could not be asked.
    pub fn named(name: &str) -> Result<Option<Self>, FileError> {
        let user = User::from_name(name).map_err(|errno| failed("look up the user", name)(errno.into()))?;
        Ok(user.map(|user| Self {
            uid: user.uid,
            gid: user.gid,
        }))
    }
}

/// A file as it is to be.
#[derive(Debug, Clone)]
pub struct Plain {
    pub path: TreePath,
    pub bytes: Vec<u8>,
    pub mode: u32,
    pub owner: Option<Owner>,
}

impl Plain {
    /// Its name, and what there is about it that could be otherwise.
    pub fn defined_by(&self) -> (String, Digest) {
        let owner = self.owner.map(|owner| (owner.uid.as_raw(), owner.gid.as_raw()));
        let about = format!("{:o} {owner:?} {}", self.mode, Digest::of(&self.bytes));
        (self.path.to_string(), Digest::of(about.as_bytes()))
    }
}

/// Where all of this is, of one release.
pub struct Handed {
    root: PathBuf,
}

/// Within what one release's components are handed.
pub fn config_in(handed: &Path, component: &ComponentName) -> PathBuf {
    handed.join(CONFIG).join(component.as_str())
}

pub fn secret_in(handed: &Path, component: &ComponentName, name: &SecretName) -> PathBuf {
    handed.join(SECRETS).join(component.as_str()).join(name.as_str())
}

/// A unit's EnvironmentFile.
pub fn environment_in(handed: &Path, component: &ComponentName) -> PathBuf {
    handed.join(UNIT).join(component.as_str()).join(ENVIRONMENT)
}

pub fn credential_in(handed: &Path, component: &ComponentName, name: &SecretName) -> PathBuf {
    handed.join(UNIT).join(component.as_str()).join(credential(name))
}

fn credential(name: &SecretName) -> String {
    format!("credential-{name}")
}

/// Every secret that is kept for an app, of whichever release.
pub fn kept_files(layout: &Layout, app: &AppName) -> Vec<PathBuf> {
    let below = |directory: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let releases = below(&layout.handed(app)).into_iter();
    let components = releases.flat_map(|release| below(&release.join(KEPT)));
    components.flat_map(|component| below(&component)).collect()
}

impl Handed {
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn of(layout: &Layout, app: &AppName, release: &Digest) -> Self {
        Self {
            root: layout.handed(app).join(release.to_string()),
        }
    }

    pub fn config(&self, component: &ComponentName) -> PathBuf {
        config_in(&self.root, component)
    }

    /// From the slot to here. A slot that was built anew has none.
    pub fn link_from(&self, slot: &Slot) -> Result<(), FileError> {
        let link = slot.path().join(LINK);
        let name = self.root.file_name().unwrap_or_default();
        let target = Path::new("../../handed").join(name);
        if std::fs::read_link(&link).is_ok_and(|there| there == target) {
            return Ok(());
        }
        durable::remove(&link)?;
        std::os::unix::fs::symlink(target, &link).map_err(failed("create", &link))?;
        durable::sync_directory(slot.path())
    }

    /// Each file by a rename, on the disk when this returns. They are their owner's, and the
    /// directories are not: nobody else decides to where this writes.
    pub fn write_config(&self, component: &ComponentName, files: &[Plain]) -> Result<(), FileError> {
        self.create()?;
        let directory = self.config(component);
        for file in files {
            let path = directory.join(file.path.as_str());
            if is_there(&path, &file.bytes, file.mode, file.owner) {
                continue;
            }
            durable::create_public_directory(durable::parent(&path))?;
            replace(&path, &file.bytes, file.mode, file.owner)?;
        }
        Ok(())
    }

    pub fn kept(&self, component: &ComponentName) -> PathBuf {
        self.root.join(KEPT).join(component.as_str())
    }

    pub fn read_kept(&self, component: &ComponentName, name: &SecretName) -> Option<Secret> {
        kept::read(&self.kept(component).join(name.as_str())).ok()
    }

    /// For going back with nobody in reach, and for whoever starts the process.
    pub fn write_kept(
        &self,
        component: &ComponentName,
        secrets: &BTreeMap<SecretName, Secret>,
    ) -> Result<(), FileError> {
        self.create()?;
        let directory = self.kept(component);
        private::create(durable::parent(&directory))?;
        private::create(&directory)?;
        for (name, secret) in secrets {
            let path = directory.join(name.as_str());
            if !is_there(&path, secret.expose(), 0o600, None) {
                replace(&path, secret.expose(), 0o600, None)?;
            }
        }
        Ok(())
    }

    pub fn write_secrets(
        &self,
        component: &ComponentName,
        files: &[(String, &[u8])],
        owner: Option<Owner>,
    ) -> Result<(), FileError> {
        self.create()?;
        private::write(&self.root.join(SECRETS).join(component.as_str()), files, owner)
    }

    /// A user's own manager reads it as that user.
    pub fn write_for_unit(
        &self,
        component: &ComponentName,
        environment: Option<&[u8]>,
        credentials: &[(&SecretName, &Secret)],
        owner: Option<Owner>,
    ) -> Result<(), FileError> {
        let environment = environment.map(|text| (ENVIRONMENT.to_owned(), text));
        let credentials = credentials
            .iter()
            .map(|(name, secret)| (credential(name), secret.expose()));
        let files: Vec<(String, &[u8])> = environment.into_iter().chain(credentials).collect();
        self.create()?;
        private::write(&self.root.join(UNIT).join(component.as_str()), &files, owner)
    }

    /// Others may pass through to what is theirs.
    fn create(&self) -> Result<(), FileError> {
        durable::create_directory(&self.root)?;
        durable::let_pass(durable::parent(&self.root))?;
        durable::let_pass(&self.root)
    }
}

/// As [`durable::replace`], and theirs before it has its name.
fn replace(path: &Path, bytes: &[u8], mode: u32, owner: Option<Owner>) -> Result<(), FileError> {
    let new = durable::beside(path, "new");
    durable::remove(&new)?;
    durable::write_new(&new, bytes, mode)?;
    hand_over(&new, owner)?;
    // Whoever was given a file loses what it could do as another.
    std::fs::rename(&new, path).map_err(failed("rename", &new))?;
    durable::sync_directory(durable::parent(path))
}

fn hand_over(path: &Path, owner: Option<Owner>) -> Result<(), FileError> {
    let Some(owner) = owner.filter(|owner| owner.uid != geteuid()) else {
        return Ok(());
    };
    chown(path, Some(owner.uid), Some(owner.gid))
        .map_err(|errno| failed("hand over", path)(io::Error::from(errno)))
}

/// The file itself, and nothing that was put in its place.
fn is_there(path: &Path, bytes: &[u8], mode: u32, owner: Option<Owner>) -> bool {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let opened = File::options().read(true).custom_flags(flags.bits()).open(path);
    let Ok(file) = opened else {
        return false;
    };
    let is_so = |about: &std::fs::Metadata| {
        let uid = owner.map_or_else(geteuid, |owner| owner.uid);
        about.is_file()
            && about.mode() & PERMISSIONS == mode
            && about.uid() == uid.as_raw()
            && about.len() == bytes.len() as u64
    };
    if !file.metadata().is_ok_and(|about| is_so(&about)) {
        return false;
    }
    let mut found = Vec::with_capacity(bytes.len());
    let read = file.take(bytes.len() as u64).read_to_end(&mut found);
    read.is_ok() && found == bytes
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn plain(path: &str, text: &str, mode: u32) -> Plain {
        Plain {
            path: path.to_owned().try_into().unwrap(),
            bytes: text.as_bytes().to_vec(),
            mode,
            owner: None,
        }
    }

    #[test]
    fn files_are_written_once_and_mended_when_they_are_not_as_they_should_be() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path());
        let app = "shop".parse().unwrap();
        let handed = Handed::of(&layout, &app, &Digest::of(b"release"));
        let web = "web".parse().unwrap();
        let files = [
            plain("app.conf", "one", 0o640),
            plain("conf.d/b.conf", "two", 0o600),
        ];
        handed.write_config(&web, &files).unwrap();
        let path = handed.config(&web).join("conf.d/b.conf");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(path.metadata().unwrap().permissions().mode() & PERMISSIONS, 0o600);
        let before = path.metadata().unwrap().ino();
        handed.write_config(&web, &files).unwrap();
        assert_eq!(path.metadata().unwrap().ino(), before);

        let elsewhere = directory.path().join("elsewhere");
        std::fs::write(&elsewhere, "two").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        std::os::unix::fs::symlink(&elsewhere, durable::beside(&path, "new")).unwrap();
        let files = [plain("conf.d/b.conf", "three", 0o600)];
        handed.write_config(&web, &files).unwrap();
        assert!(durable::is_file_itself(&path));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "two");
    }

    #[test]
    fn a_private_directory_is_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path());
        let app = "shop".parse().unwrap();
        let handed = Handed::of(&layout, &app, &Digest::of(b"release"));
        let web = "web".parse().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & PERMISSIONS;
        let file = |name: &str, text: &'static str| (name.to_owned(), text.as_bytes());
        handed
            .write_secrets(&web, &[file("A", "1"), file("B", "2")], None)
            .unwrap();
        let path = secret_in(handed.root(), &web, &"A".parse().unwrap());
        let own = durable::parent(&path);
        assert_eq!((mode(&path), mode(own)), (0o600, 0o700));
        let before = own.metadata().unwrap().ino();
        handed
            .write_secrets(&web, &[file("A", "1"), file("B", "2")], None)
            .unwrap();
        assert_eq!(own.metadata().unwrap().ino(), before);
        handed.write_secrets(&web, &[file("A", "3")], None).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "3");
        assert!(!own.join("B").exists() && !durable::beside(own, "new").exists());

        let kept: BTreeMap<SecretName, Secret> =
            [("A".parse().unwrap(), Secret::new(b"hunter2".to_vec()).unwrap())].into();
        handed.write_kept(&web, &kept).unwrap();
        let path = handed.kept(&web).join("A");
        assert_eq!((mode(&path), mode(&handed.kept(&web))), (0o600, 0o700));
        assert_eq!(mode(durable::parent(&handed.kept(&web))), 0o700);
        assert_eq!(
            handed.read_kept(&web, &"A".parse().unwrap()),
            kept.values().next().cloned()
        );
        assert_eq!(kept_files(&layout, &app), [path]);
    }

    #[test]
    fn whatever_could_be_otherwise_defines_it() {
        let one = plain("app.conf", "one", 0o640).defined_by();
        assert_eq!(one, plain("app.conf", "one", 0o640).defined_by());
        assert_ne!(one, plain("app.conf", "two", 0o640).defined_by());
        assert_ne!(one, plain("app.conf", "one", 0o600).defined_by());
    }
}
