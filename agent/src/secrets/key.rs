//! The node's own key for digests of secrets: with it they tell apart, and nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use fleet_proto::digest::DigestKey;

use crate::durable::{self, FileError, failed};

const BYTES: usize = 32;
const RANDOM: &str = "/dev/urandom";

/// Apps need it at the same time.
static MAKING: Mutex<()> = Mutex::new(());

/// Made when it is needed first. With another one every component that has secrets is
/// restarted once, and no more follows from that.
pub fn of_this_node(path: &Path) -> Result<DigestKey, FileError> {
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    match std::fs::read(path) {
        Ok(bytes) => {
            if let Ok(bytes) = bytes.try_into() {
                return Ok(DigestKey::from_bytes(bytes));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // It is there, and the same as ever.
        Err(error) => return Err(failed("read", path)(error)),
    }
    let mut bytes = [0; BYTES];
    File::open(RANDOM)
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(failed("read", RANDOM))?;
    durable::replace(path, &bytes, 0o600)?;
    Ok(DigestKey::from_bytes(bytes))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn it_stays_the_same_and_is_each_node_s_own() {
        let directory = tempfile::tempdir().unwrap();
        let digest = |name: &str| {
            of_this_node(&directory.path().join(name))
                .unwrap()
                .digest(b"hunter2")
        };
        assert_eq!(digest("one"), digest("one"));
        assert_ne!(digest("one"), digest("two"));
        std::fs::write(directory.path().join("one"), "torn").unwrap();
        assert_eq!(digest("one"), digest("one"));
    }
}
