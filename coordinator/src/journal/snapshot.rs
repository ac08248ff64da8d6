//! Snapshots: the state as of a position, each a file of its own, so that start-up
//! does not grow with history.

use std::cmp::Reverse;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::{JournalError, file};
use crate::durable;

/// The newest, and one to fall back on when it cannot be read.
const KEPT: usize = 2;
const MAGIC: &[u8; 17] = b"fleet-snapshot-1\n";
const CHECKSUM_BYTES: usize = 32;
/// Hundreds of thousands of nodes; a bound on what a damaged file can make us allocate.
const SNAPSHOT_BYTES_MAX: u64 = 1 << 30;
const COMPRESSION_LEVEL: i32 = 1;

/// What the journal's user saved, and as of where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub position: u64,
    pub bytes: Vec<u8>,
}

fn path_of(directory: &Path, position: u64) -> PathBuf {
    directory.join(format!("snapshot-{position:020}.zst"))
}

fn checksum(position: u64, bytes: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&position.to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Positions of the snapshots that are there, newest first.
pub(super) fn positions(directory: &Path) -> Result<Vec<u64>, JournalError> {
    let mut found: Vec<u64> = Vec::new();
    for entry in fs::read_dir(directory).map_err(file("list", directory))? {
        let entry = entry.map_err(file("list", directory))?;
        let name = entry.file_name();
        let position: Option<u64> = name
            .to_str()
            .and_then(|name| name.strip_prefix("snapshot-")?.strip_suffix(".zst"))
            .and_then(|digits| digits.parse().ok());
        found.extend(position);
    }
    found.sort_unstable_by_key(|position| Reverse(*position));
    Ok(found)
}

/// Writes it durably and lets go of all but the newest two. Returns the position of
/// the oldest that is kept.
pub(super) fn save(directory: &Path, position: u64, bytes: &[u8]) -> Result<u64, JournalError> {
    let path = path_of(directory, position);
    let mut content = MAGIC.to_vec();
    content.extend(checksum(position, bytes).as_bytes());
    let compressed = zstd::bulk::compress(bytes, COMPRESSION_LEVEL).map_err(file("compress", &path))?;
    content.extend(compressed);
    durable::write_file(&path, &content).map_err(file("write", &path))?;
    let positions = positions(directory)?;
    for old in positions.iter().skip(KEPT) {
        let path = path_of(directory, *old);
        fs::remove_file(&path).map_err(file("remove", &path))?;
    }
    let oldest = positions.iter().take(KEPT).next_back();
    Ok(oldest.copied().unwrap_or(position))
}

/// The newest snapshot that can be read, and why newer ones could not.
pub(super) fn newest_sound(directory: &Path) -> Result<(Option<Snapshot>, Vec<String>), JournalError> {
    let mut unsound = Vec::new();
    for position in positions(directory)? {
        match read(&path_of(directory, position), position) {
            Ok(snapshot) => return Ok((Some(snapshot), unsound)),
            Err(why) => unsound.push(format!("the snapshot at position {position} {why}")),
        }
    }
    Ok((None, unsound))
}

fn read(path: &Path, position: u64) -> Result<Snapshot, String> {
    let content = fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let rest = content.strip_prefix(MAGIC).ok_or("is not a snapshot")?;
    let (sum, compressed) = rest.split_first_chunk::<CHECKSUM_BYTES>().ok_or("is cut short")?;
    let mut bytes = Vec::new();
    zstd::Decoder::new(compressed)
        .and_then(|decoder| decoder.take(SNAPSHOT_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be decompressed: {error}"))?;
    if checksum(position, &bytes) != blake3::Hash::from_bytes(*sum) {
        return Err("has a wrong checksum".to_owned());
    }
    Ok(Snapshot { position, bytes })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn two_are_kept_and_a_broken_one_falls_back_on_the_other() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        assert_eq!(newest_sound(directory).unwrap(), (None, vec![]));
        for position in [3, 9, 27] {
            save(directory, position, &vec![7; 5000]).unwrap();
        }
        assert_eq!(positions(directory).unwrap(), [27, 9]);
        assert_eq!(newest_sound(directory).unwrap().0.unwrap().position, 27);

        let path = path_of(directory, 27);
        let mut content = fs::read(&path).unwrap();
        let last = content.len() - 1;
        content[last] ^= 4;
        fs::write(&path, content).unwrap();
        let (snapshot, unsound) = newest_sound(directory).unwrap();
        assert_eq!((snapshot.unwrap().position, unsound.len()), (9, 1));
    }
}
