//! Signals, one after the other, for programs of plain threads.

use std::sync::mpsc::{self, Receiver};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};

/// Before any other thread is there, so that all of them inherit it.
pub fn blocked(signals: &[Signal]) -> Result<Receiver<Signal>, Errno> {
    let set: SigSet = signals.iter().copied().collect();
    set.thread_block()?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok(signal) = set.wait() {
            if sender.send(signal).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}
