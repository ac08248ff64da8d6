//! How far the journal was acknowledged, kept beside the engine.
//!
//! An engine that loses its tail looks like one that never had it. This mark is
//! written after each append was made durable and is itself not synced, so it costs
//! next to nothing: after a power cut it may be behind the journal, never ahead of it.
//! A journal that ends before its witness has lost records that somebody relies on.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::error::{JournalError, file};

const WITNESS_FILE: &str = "acknowledged";
const MARK_BYTES: usize = 16;

pub(super) struct Witness {
    file: File,
    path: PathBuf,
}

fn checksum(position: [u8; 8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&blake3::hash(&position).as_bytes()[..8]);
    sum
}

impl Witness {
    pub(super) fn open(directory: &Path) -> Result<Self, JournalError> {
        let path = directory.join(WITNESS_FILE);
        let handle = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(file("open", &path))?;
        Ok(Self { file: handle, path })
    }

    /// Two marks stand side by side and are written in turn: one is always whole.
    pub(super) fn acknowledged(&self) -> u64 {
        [0, MARK_BYTES]
            .into_iter()
            .filter_map(|at| {
                let mut mark = [0; MARK_BYTES];
                self.file.read_exact_at(&mut mark, at as u64).ok()?;
                let (position, sum) = mark.split_first_chunk::<8>()?;
                (checksum(*position) == sum).then(|| u64::from_be_bytes(*position))
            })
            .max()
            .unwrap_or(0)
    }

    pub(super) fn acknowledge(&self, position: u64, append: u64) -> Result<(), JournalError> {
        let bytes = position.to_be_bytes();
        let mut mark = [0; MARK_BYTES];
        mark[..8].copy_from_slice(&bytes);
        mark[8..].copy_from_slice(&checksum(bytes));
        let at = (append % 2) * MARK_BYTES as u64;
        self.file
            .write_all_at(&mark, at)
            .map_err(file("write", &self.path))
    }
}
