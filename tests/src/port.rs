//! Ports that stay free while nobody listens on them.
//!
//! An app's port is free between two releases. One from the kernel's range for outgoing
//! connections could be taken in that moment by any client on the machine, and two tests
//! side by side could choose the same; so ports come from below that range, and a file
//! says whose they are.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// Reserved until it is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    claim: PathBuf,
}

impl Port {
    pub fn reserve() -> anyhow::Result<Self> {
        let claims = std::env::temp_dir().join("fleet-test-ports");
        std::fs::create_dir_all(&claims)?;
        // Processes begin at different places, and so rarely meet.
        let from = u16::try_from(std::process::id() * 211 % u32::from(COUNT))?;
        for i in 0..COUNT {
            let number = FIRST + (from + i) % COUNT;
            let claim = claims.join(number.to_string());
            if is_claimed(&claim) || TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_err() {
                continue;
            }
            if let Ok(mut file) = File::create_new(&claim) {
                write!(file, "{}", std::process::id())?;
                return Ok(Self { number, claim });
            }
        }
        anyhow::bail!("no port is free")
    }

    pub fn number(&self) -> u16 {
        self.number
    }
}

/// A claim of a process that is gone is none.
fn is_claimed(claim: &PathBuf) -> bool {
    let Ok(owner) = std::fs::read_to_string(claim) else {
        return false;
    };
    if owner.is_empty() || PathBuf::from(format!("/proc/{owner}")).exists() {
        return true;
    }
    std::fs::remove_file(claim).is_err()
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.claim);
    }
}
