//! The journal: records in order, each there for good once it was acknowledged.
//!
//! ```text
//!  append(term, after, records) ─► engine commit ─► sync ─► witness ─► acknowledged
//!  open ─► newest sound snapshot ─► records behind it ─► torn tail cut, or refused
//! ```
//!
//! It knows bytes and positions, and nothing of what they mean. The first record has
//! position 1. What is promised is in `engine` (durable), `recover` (what a crash may
//! leave) and `witness` (how a lost tail is noticed).

mod engine;
mod error;
mod lock;
mod record;
mod recover;
mod snapshot;
mod witness;

use std::path::{Path, PathBuf};

use crate::durable;
use engine::{Batch, Engine, Writer};
use error::file;
use lock::DirectoryLock;
use witness::Witness;

pub use error::JournalError;
pub use recover::Cut;
pub use snapshot::Snapshot;

/// Records that a snapshot made superfluous are kept for people to read: some months
/// of a busy fleet.
const RECORDS_KEPT: u64 = 200_000;
/// How many records one pruning removes at most: pruning runs between turns.
const PRUNED_AT_ONCE: u64 = 5_000;
/// Outside the keys of records: a record's key begins with its position.
const TERM_KEY: &[u8] = b"\xffterm";

/// All that a start needs: the snapshot, and what happened since.
#[derive(Debug)]
pub struct Recovered {
    pub snapshot: Option<Snapshot>,
    pub records: Vec<(u64, Vec<u8>)>,
    pub cut: Option<Cut>,
    pub term: u64,
}

pub struct Journal {
    directory: PathBuf,
    writer: Writer,
    witness: Witness,
    end: u64,
    term: u64,
    appends: u64,
    failed: bool,
    _lock: DirectoryLock,
}

/// Reads beside the one writer.
#[derive(Clone)]
pub struct Reader {
    engine: Engine,
}

impl Reader {
    /// What the engine takes up on disk.
    pub fn bytes(&self) -> Result<u64, JournalError> {
        self.engine.bytes()
    }

    /// Records from this position on, at most `limit`. Pruned ones are skipped.
    pub fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, JournalError> {
        recover::groups(&self.engine, from)
            .take(limit)
            .map(|group| {
                let (position, parts) = group?;
                let decoded = record::decode(position, &parts).map_err(|why| JournalError::Engine {
                    what: "read",
                    why: format!("record {position}: {why}"),
                })?;
                Ok((position, decoded.bytes))
            })
            .collect()
    }
}

impl Journal {
    pub fn open(directory: &Path) -> Result<(Self, Recovered), JournalError> {
        durable::create_directory(directory).map_err(file("create", directory))?;
        let lock = DirectoryLock::take(directory)?;
        let writer = Writer::open(directory)?;
        let witness = Witness::open(directory)?;
        durable::sync_directory(directory).map_err(file("sync", directory))?;

        let (snapshot, unsound) = snapshot::newest_sound(directory)?;
        for why in &unsound {
            tracing::warn!("{why}; falling back on an older one and the records behind it");
        }
        let after = snapshot.as_ref().map_or(0, |snapshot| snapshot.position);
        let found = recover::scan(directory, writer.reader(), after)?;
        let end = after + found.records.len() as u64;
        // A snapshot is taken of what was acknowledged, readable or not.
        let promised = snapshot::positions(directory)?
            .into_iter()
            .chain([witness.acknowledged()])
            .max()
            .unwrap_or(0);
        if end < promised {
            return Err(JournalError::Damaged {
                directory: directory.to_owned(),
                why: format!("{promised} records were acknowledged, and only {end} can be read"),
            });
        }
        if let Some(torn) = &found.torn {
            recover::cut_off(directory, &writer, torn)?;
        }
        let term = stored_term(&writer)?;
        let journal = Self {
            directory: directory.to_owned(),
            writer,
            witness,
            end,
            term,
            appends: 0,
            failed: false,
            _lock: lock,
        };
        let recovered = Recovered {
            snapshot,
            records: found.records,
            cut: found.torn,
            term,
        };
        Ok((journal, recovered))
    }

    /// The position of the last record; 0 when there is none.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The highest term that appended.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// What the engine takes up on disk.
    pub fn bytes(&self) -> Result<u64, JournalError> {
        self.writer.reader().bytes()
    }

    pub fn reader(&self) -> Reader {
        Reader {
            engine: self.writer.reader().clone(),
        }
    }

    pub fn read(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, JournalError> {
        self.reader().read(from, limit)
    }

    /// Appends the records as one: after a crash all of them are there, or none. When
    /// this returns they survive a power cut. Returns the new end.
    pub fn append(&mut self, term: u64, after: u64, records: &[Vec<u8>]) -> Result<u64, JournalError> {
        self.must_work()?;
        if term < self.term {
            return Err(JournalError::OldTerm {
                term,
                seen: self.term,
            });
        }
        if after != self.end {
            return Err(JournalError::NotTheEnd { after, end: self.end });
        }
        if let Some(record) = records.iter().find(|r| r.len() > record::RECORD_BYTES_MAX) {
            return Err(JournalError::TooLarge {
                bytes: record.len(),
                limit: record::RECORD_BYTES_MAX,
            });
        }
        if records.is_empty() && term == self.term {
            return Ok(self.end);
        }
        let mut batch = Batch::default();
        let mut position = self.end;
        for (index, record) in records.iter().enumerate() {
            position += 1;
            let last = index + 1 == records.len();
            for (part, value) in (0..).zip(record::encode(position, record, last)) {
                batch.put(&record::key(position, part), value);
            }
        }
        if term != self.term {
            batch.put(TERM_KEY, term.to_be_bytes().to_vec());
        }
        self.commit(batch)?;
        self.end = position;
        self.term = term;
        self.appends += 1;
        self.witness.acknowledge(self.end, self.appends)?;
        Ok(self.end)
    }

    /// Keeps `bytes` as the state as of `position`, durably. Old snapshots go, and old
    /// records beyond a bound with them.
    pub fn save_snapshot(&mut self, position: u64, bytes: &[u8]) -> Result<(), JournalError> {
        self.must_work()?;
        if position > self.end {
            return Err(JournalError::NotTheEnd {
                after: position,
                end: self.end,
            });
        }
        let oldest = snapshot::save(&self.directory, position, bytes)?;
        self.prune(oldest.min(self.end.saturating_sub(RECORDS_KEPT)))
    }

    fn prune(&mut self, through: u64) -> Result<(), JournalError> {
        let reader = self.writer.reader();
        let first = reader.range(&[], &recover::AFTER_ALL).next().transpose()?;
        let Some((first, _)) = first.and_then(|(key, _)| record::read_key(&key)) else {
            return Ok(());
        };
        let through = through.min(first + PRUNED_AT_ONCE);
        let mut batch = Batch::default();
        for item in reader.range(&[], &record::key(through + 1, 0)) {
            batch.remove(&item?.0);
        }
        if through < first {
            Ok(())
        } else {
            self.commit(batch)
        }
    }

    fn commit(&mut self, batch: Batch) -> Result<(), JournalError> {
        self.writer.commit(batch).inspect_err(|_| self.failed = true)
    }

    fn must_work(&self) -> Result<(), JournalError> {
        if self.failed {
            Err(JournalError::Failed)
        } else {
            Ok(())
        }
    }
}

fn stored_term(writer: &Writer) -> Result<u64, JournalError> {
    let value = writer.reader().value(TERM_KEY)?.unwrap_or_default();
    Ok(value.try_into().map_or(0, u64::from_be_bytes))
}
