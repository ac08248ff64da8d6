//! What is found at start-up: sound records, a torn tail, or damage.
//!
//! A tail that was being written when the power went is cut: nobody was told that it
//! is there. Anything else that is missing was promised to somebody, and then the
//! journal does not start.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::engine::{Batch, Engine, KeyValue, Writer};
use super::error::{JournalError, file};
use super::record::{self, Decoded};
use crate::durable;

/// Above every position, below every key of the engine's that is not a record.
pub(super) const AFTER_ALL: [u8; 1] = [0xff];

/// A torn tail that was cut off, and put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The first position that is not there any more.
    pub from: u64,
    pub records_lost: u64,
    pub why: String,
}

pub(super) struct Found {
    pub(super) records: Vec<(u64, Vec<u8>)>,
    pub(super) torn: Option<Cut>,
}

/// Reads what follows `after`. Nothing is changed yet.
pub(super) fn scan(directory: &Path, engine: &Engine, after: u64) -> Result<Found, JournalError> {
    let mut records = Vec::new();
    // Records of the batch that has not ended yet.
    let mut open_batch = Vec::new();
    let mut broken: Option<(u64, String)> = None;
    let mut beyond = 0;
    let mut expected = after + 1;
    for group in groups(engine, after + 1) {
        let (position, parts) = group?;
        let decoded = record::decode(position, &parts);
        if let Some((from, why)) = &broken {
            beyond += 1;
            if decoded.is_ok() {
                return Err(JournalError::Damaged {
                    directory: directory.to_owned(),
                    why: format!("record {from}: {why}, and record {position} behind it is sound"),
                });
            }
            continue;
        }
        match decoded {
            Ok(_) if position != expected => {
                return Err(JournalError::Damaged {
                    directory: directory.to_owned(),
                    why: format!("record {expected} is missing, and record {position} behind it is sound"),
                });
            }
            Ok(Decoded { bytes, last_of_batch }) => {
                open_batch.push((position, bytes));
                if last_of_batch {
                    records.append(&mut open_batch);
                }
                expected += 1;
            }
            Err(why) => broken = Some((position, why)),
        }
    }
    let end = after + records.len() as u64;
    let unfinished = open_batch.len() as u64;
    let torn = match broken {
        Some((_, why)) => Some(Cut {
            from: end + 1,
            records_lost: unfinished + 1 + beyond,
            why,
        }),
        None if unfinished > 0 => Some(Cut {
            from: end + 1,
            records_lost: unfinished,
            why: "its batch is not complete".to_owned(),
        }),
        None => None,
    };
    Ok(Found { records, torn })
}

/// Copies the tail aside and removes it.
pub(super) fn cut_off(directory: &Path, writer: &Writer, torn: &Cut) -> Result<(), JournalError> {
    let mut text = String::new();
    let mut batch = Batch::default();
    for item in writer.reader().range(&record::key(torn.from, 0), &AFTER_ALL) {
        let (key, value) = item?;
        // Writing into a string does not fail.
        let _ = writeln!(text, "{} {}", hex(&key), hex(&value));
        batch.remove(&key);
    }
    let path = directory.join(format!("quarantine-{}.hex", torn.from));
    durable::write_file(&path, text.as_bytes()).map_err(file("write", &path))?;
    writer.commit(batch)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A record's position and its parts.
type Group = (u64, BTreeMap<u16, Vec<u8>>);

/// One record's parts after the other's, from the position on.
pub(super) fn groups(
    engine: &Engine,
    position: u64,
) -> impl Iterator<Item = Result<Group, JournalError>> + use<> {
    let mut items = engine.range(&record::key(position, 0), &AFTER_ALL).peekable();
    std::iter::from_fn(move || {
        let (key, value) = match items.next()? {
            Ok(item) => item,
            Err(error) => return Some(Err(error)),
        };
        let (position, part) = record::read_key(&key)?;
        let mut parts = BTreeMap::from([(part, value)]);
        let same = |item: &Result<KeyValue, JournalError>| {
            let (key, _) = item.as_ref().ok()?;
            let (other, part) = record::read_key(key)?;
            (other == position).then_some(part)
        };
        while let Some(part) = items.peek().and_then(same) {
            if let Some(Ok((_, value))) = items.next() {
                parts.insert(part, value);
            }
        }
        Some(Ok((position, parts)))
    })
}
