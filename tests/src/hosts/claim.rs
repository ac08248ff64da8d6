//! Numbers for sets of hosts, so that tests side by side do not meet; and the end of
//! whatever still goes by a number whose test is gone.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::hosts::{control_group, network};
use crate::process::succeed;

/// As many sets of hosts at the same time as two digits name.
const NUMBERS: std::ops::RangeInclusive<u8> = 1..=99;

/// A number that nobody else has until this is dropped. The kernel lets go of the lock of
/// a process that was killed, and so its leftovers are found.
pub struct Claim {
    number: u8,
    directory: PathBuf,
    _lock: File,
}

impl Claim {
    /// The first free number, after everything is removed that killed tests left.
    pub fn take() -> anyhow::Result<Self> {
        let all = std::env::temp_dir().join("fleet-test-hosts");
        std::fs::create_dir_all(&all)?;
        let mut taken = None;
        for number in NUMBERS {
            let path = all.join(format!("{number}.lock"));
            if taken.is_some() && !path.exists() {
                continue;
            }
            let lock = File::options()
                .create(true)
                .write(true)
                .truncate(false)
                .open(&path)?;
            if lock.try_lock().is_err() {
                continue;
            }
            let claim = Self {
                number,
                directory: all.join(number.to_string()),
                _lock: lock,
            };
            claim.remove_leftovers()?;
            taken.get_or_insert(claim);
        }
        let claim = taken.ok_or_else(|| anyhow::anyhow!("no number for hosts is free"))?;
        std::fs::create_dir(&claim.directory)?;
        Ok(claim)
    }

    pub fn number(&self) -> u8 {
        self.number
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the bridge and the table are called; hosts' names begin with it and a dash.
    pub fn name(&self) -> String {
        format!("fleet{}", self.number)
    }

    /// Ends and removes all that goes by this number.
    pub fn remove_leftovers(&self) -> anyhow::Result<()> {
        for group in control_group::starting_with(&format!("{}-", self.name())) {
            control_group::clear(&group)?;
        }
        unmount_below(&self.directory)?;
        network::remove(&self.name())?;
        if self.directory.exists() {
            std::fs::remove_dir_all(&self.directory)?;
        }
        Ok(())
    }
}

/// The last that was mounted goes first.
fn unmount_below(directory: &Path) -> anyhow::Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    for line in mounts.lines().rev() {
        let mount = line.split(' ').nth(1).unwrap_or_default();
        if Path::new(mount).starts_with(directory) {
            succeed("umount", [mount]).or_else(|_| succeed("umount", ["--lazy", mount]))?;
        }
    }
    Ok(())
}
