//! Cutting the power: a filesystem on an image, copied while it is mounted and in use.
//!
//! What was synced is in the copy; what was not is gone or empty. kill -9 shows none of
//! this, because the page cache outlives the process.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::succeed;

/// A small ext4 filesystem, mounted from an image file; unmounted on drop.
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

#[expect(clippy::print_stderr, reason = "a skipped test has to say that it was")]
/// Mounting needs root. A test that cannot mount says so; in CI that is a failure.
pub fn can_mount() -> bool {
    let possible = nix::unistd::geteuid().is_root();
    if !possible {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must run as root to cut the power"
        );
        eprintln!("skipped: mounting an image needs root");
    }
    possible
}

impl Disk {
    pub fn create(directory: &Path, name: &str, mebibytes: u64) -> anyhow::Result<Self> {
        let image = directory.join(format!("{name}.img"));
        std::fs::File::create(&image)?.set_len(mebibytes << 20)?;
        succeed("mkfs.ext4", ["-q".as_ref(), "-F".as_ref(), image.as_os_str()])?;
        Self::mount(image, directory.join(name))
    }

    fn mount(image: PathBuf, mount: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&mount)?;
        succeed(
            "mount",
            [
                "-o".as_ref(),
                "loop".as_ref(),
                image.as_os_str(),
                mount.as_os_str(),
            ],
        )?;
        Ok(Self { image, mount })
    }

    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// The disk as a machine finds it that lost its power at this instant. Whoever
    /// writes to it is stopped meanwhile: a copy takes longer than an instant.
    pub fn image_at_this_instant(&self, directory: &Path, name: &str) -> anyhow::Result<PathBuf> {
        let image = directory.join(format!("{name}.img"));
        // What was never written takes no room in the copy either.
        succeed(
            "cp",
            [
                "--sparse=always".as_ref(),
                self.image.as_os_str(),
                image.as_os_str(),
            ],
        )?;
        Ok(image)
    }

    pub fn from_image(image: PathBuf) -> anyhow::Result<Self> {
        let mount = image.with_extension("");
        Self::mount(image, mount)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = succeed("umount", [self.mount.as_os_str()]);
        if unmounted.is_err() {
            // Something in it is still in use; let it go when that ends.
            let _ = succeed("umount", ["-l".as_ref(), self.mount.as_os_str()]);
        }
    }
}

/// Processes that stand still until they are told to go on.
pub struct Stopped(Vec<Pid>);

impl Stopped {
    pub fn go_on(self) {
        for process in self.0 {
            let _ = kill(process, Signal::SIGCONT);
        }
    }
}

/// Stops every process that has the path in its command line: agents, keepers, writers.
pub fn stop_what_writes_to(path: &Path) -> anyhow::Result<Stopped> {
    let wanted = path.to_string_lossy().into_owned();
    let mut stopped = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        // A process that ends while we look writes nothing any more.
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let writes = String::from_utf8_lossy(&command).contains(&wanted);
        if writes
            && id != std::process::id().cast_signed()
            && kill(Pid::from_raw(id), Signal::SIGSTOP).is_ok()
        {
            stopped.push(Pid::from_raw(id));
        }
    }
    Ok(Stopped(stopped))
}
