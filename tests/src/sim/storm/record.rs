//! What the coordinator has on its disk: the real journal, or a list in memory.

use std::path::PathBuf;

use anyhow::Context;
use fleet_coordinator::journal::Journal;
use fleet_coordinator::rollout::event::Stamped;
use fleet_coordinator::rollout::state::State;
use tempfile::TempDir;

/// In memory where there is such a place: a run syncs thousands of times.
const FAST: &str = "/dev/shm";

pub enum Record {
    Disk {
        directory: TempDir,
        /// None while no coordinator runs.
        journal: Option<Journal>,
    },
    Memory {
        events: Vec<Vec<u8>>,
        snapshot: Option<(usize, Vec<u8>)>,
    },
}

impl Record {
    pub fn on_disk() -> anyhow::Result<Self> {
        let fast = PathBuf::from(FAST);
        let place = if fast.is_dir() { fast } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new().prefix("fleet-sim-").tempdir_in(place)?;
        Ok(Self::Disk {
            directory,
            journal: None,
        })
    }

    pub fn in_memory() -> Self {
        Self::Memory {
            events: vec![],
            snapshot: None,
        }
    }

    pub fn append(&mut self, term: u64, after: u64, events: &[Stamped]) -> anyhow::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let mut records = events
            .iter()
            .map(serde_json::to_vec)
            .collect::<Result<Vec<_>, _>>()?;
        match self {
            Self::Disk { journal, .. } => {
                let journal = journal.as_mut().context("the journal is not open")?;
                journal.append(term, after, &records)?;
            }
            Self::Memory { events, .. } => events.append(&mut records),
        }
        Ok(())
    }

    pub fn save_snapshot(&mut self, state: &State) -> anyhow::Result<()> {
        let bytes = serde_json::to_vec(state)?;
        match self {
            Self::Disk { journal, .. } => {
                let journal = journal.as_mut().context("the journal is not open")?;
                journal.save_snapshot(state.position, &bytes)?;
            }
            Self::Memory { events, snapshot } => *snapshot = Some((events.len(), bytes)),
        }
        Ok(())
    }

    /// kill -9: what was appended is there, and nothing else.
    pub fn close(&mut self) {
        if let Self::Disk { journal, .. } = self {
            *journal = None;
        }
    }

    /// As a coordinator that starts finds it.
    pub fn recover(&mut self) -> anyhow::Result<State> {
        let mut state;
        match self {
            Self::Disk { directory, journal } => {
                let (opened, recovered) = Journal::open(&directory.path().join("journal"))?;
                *journal = Some(opened);
                state = match recovered.snapshot {
                    Some(snapshot) => serde_json::from_slice(&snapshot.bytes)?,
                    None => State::default(),
                };
                for (_, bytes) in recovered.records {
                    state.apply(&serde_json::from_slice(&bytes)?)?;
                }
            }
            Self::Memory { events, snapshot } => {
                let from = snapshot.as_ref().map_or(0, |(position, _)| *position);
                state = match snapshot {
                    Some((_, bytes)) => serde_json::from_slice(bytes)?,
                    None => State::default(),
                };
                for bytes in &events[from..] {
                    state.apply(&serde_json::from_slice(bytes)?)?;
                }
            }
        }
        Ok(state)
    }

    /// From the very first event on, past all snapshots.
    pub fn replay(&self) -> anyhow::Result<State> {
        let mut state = State::default();
        match self {
            Self::Disk { journal, .. } => {
                let journal = journal.as_ref().context("the journal is not open")?;
                for (_, bytes) in journal.read(1, usize::MAX)? {
                    state.apply(&serde_json::from_slice(&bytes)?)?;
                }
            }
            Self::Memory { events, .. } => {
                for bytes in events {
                    state.apply(&serde_json::from_slice(bytes)?)?;
                }
            }
        }
        Ok(state)
    }
}
