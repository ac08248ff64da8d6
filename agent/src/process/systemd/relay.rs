//! `fleet-agent relay SOCKET`: passes bytes between its input, which is a socket too, and a
//! socket that only the user is let into, as whom it runs.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::User;

/// One end of it; the relay ends when this is closed.
pub fn begin(user: &User, socket: &Path) -> io::Result<UnixStream> {
    let (own, other) = UnixStream::pair()?;
    let mut child = Command::new("/proc/self/exe")
        .arg0("fleet-agent")
        .arg("relay")
        .arg(socket)
        .stdin(Stdio::from(OwnedFd::from(other)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env_clear()
        .current_dir("/")
        .uid(user.uid.as_raw())
        .gid(user.gid.as_raw())
        .spawn()?;
    // Somebody has to wait for it, or it stays a zombie.
    std::thread::Builder::new()
        .name("relay".to_owned())
        .stack_size(64 << 10)
        .spawn(move || child.wait())?;
    Ok(own)
}

/// Until either side has ended.
pub fn relay(socket: &Path) -> io::Result<()> {
    let input = UnixStream::from(std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned()?);
    let bus = UnixStream::connect(socket)?;
    let (from_input, to_bus) = (input.try_clone()?, bus.try_clone()?);
    let forth = std::thread::spawn(move || pass(from_input, to_bus));
    pass(bus, input);
    let _panicked = forth.join();
    Ok(())
}

/// What ends on one side ends on both.
fn pass(mut from: UnixStream, mut to: UnixStream) {
    let _either_has_ended = io::copy(&mut from, &mut to);
    let _gone = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
