//! sled, behind a door: the only file that names it.
//!
//! sled's `flush` writes and does not sync, so a power cut after it loses what was
//! acknowledged. Every commit here ends with a sync of the engine's file through a
//! handle of our own, and only then returns.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use super::error::{JournalError, file};
use crate::durable;

/// sled's real use of memory is several times this. Reads are rare: at start-up, and
/// when somebody looks at old events.
const CACHE_BYTES: u64 = 16 << 20;
const ENGINE_DIRECTORY: &str = "engine";
const DATA_FILE: &str = "db";

pub(super) type KeyValue = (Vec<u8>, Vec<u8>);

/// Puts and removals that take effect together.
#[derive(Default)]
pub(super) struct Batch(sled::Batch);

impl Batch {
    pub(super) fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.0.insert(key, value);
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}

#[derive(Clone)]
pub(super) struct Engine {
    db: sled::Db,
}

/// The one that may write. Reading needs no more than an [`Engine`].
pub(super) struct Writer {
    engine: Engine,
    data: File,
}

fn failed(what: &'static str) -> impl FnOnce(sled::Error) -> JournalError {
    move |error| JournalError::Engine {
        what,
        why: error.to_string(),
    }
}

impl Engine {
    pub(super) fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, JournalError> {
        let value = self.db.get(key).map_err(failed("read"))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// In the order of the keys.
    pub(super) fn range(
        &self,
        from: &[u8],
        below: &[u8],
    ) -> impl Iterator<Item = Result<KeyValue, JournalError>> + use<> {
        self.db.range(from..below).map(|item| {
            item.map(|(k, v)| (k.to_vec(), v.to_vec()))
                .map_err(failed("read"))
        })
    }

    pub(super) fn bytes(&self) -> Result<u64, JournalError> {
        self.db.size_on_disk().map_err(failed("measure itself"))
    }
}

/// sled lets go of its file a moment after it was dropped, on a thread of its own. Only
/// this process can be the one that still holds it: the directory's lock is ours.
///
/// Damage makes sled return an error at times, and panic at others: then there is none.
fn open_when_released(config: &sled::Config) -> Option<sled::Result<sled::Db>> {
    const RELEASED_WITHIN: Duration = Duration::from_secs(5);
    const BETWEEN_TRIES: Duration = Duration::from_millis(10);
    let deadline = Instant::now() + RELEASED_WITHIN;
    loop {
        let opened = catch_unwind(AssertUnwindSafe(|| config.open())).ok()?;
        match &opened {
            Err(sled::Error::Io(error))
                if error.to_string().contains("could not acquire lock") && Instant::now() < deadline =>
            {
                std::thread::sleep(BETWEEN_TRIES);
            }
            _ => return Some(opened),
        }
    }
}

impl Writer {
    pub(super) fn open(directory: &Path) -> Result<Self, JournalError> {
        let directory = directory.join(ENGINE_DIRECTORY);
        durable::create_directory(&directory).map_err(file("create", &directory))?;
        let config = sled::Config::new()
            .path(&directory)
            .cache_capacity(CACHE_BYTES)
            // Its own timer would flush behind our back; every commit flushes anyway.
            .flush_every_ms(None);
        let db = open_when_released(&config).ok_or_else(|| JournalError::Damaged {
            directory: directory.clone(),
            why: "the engine gave up while it read its file".to_owned(),
        })?;
        let db = db.map_err(|error| match error {
            sled::Error::Corruption { .. } => JournalError::Damaged {
                directory: directory.clone(),
                why: error.to_string(),
            },
            other => failed("open")(other),
        })?;
        let path = directory.join(DATA_FILE);
        let data = File::open(&path).map_err(file("open", &path))?;
        let writer = Self {
            engine: Engine { db },
            data,
        };
        writer.make_durable()?;
        // Names of files are made durable here once: opening created or renamed them,
        // and commits do not (see `record` for why no value gets a file of its own).
        for name in ["", "blobs"] {
            let path = directory.join(name);
            durable::sync_directory(&path).map_err(file("sync", &path))?;
        }
        Ok(writer)
    }

    pub(super) fn reader(&self) -> &Engine {
        &self.engine
    }

    /// When this returns, the batch survives a power cut. Any error is final: after a
    /// failed sync the kernel may have dropped the very pages that were not written.
    pub(super) fn commit(&self, batch: Batch) -> Result<(), JournalError> {
        self.engine.db.apply_batch(batch.0).map_err(failed("write"))?;
        self.make_durable()
    }

    fn make_durable(&self) -> Result<(), JournalError> {
        self.engine.db.flush().map_err(failed("flush"))?;
        self.data
            .sync_all()
            .map_err(file("sync", Path::new(ENGINE_DIRECTORY).join(DATA_FILE)))
    }
}
