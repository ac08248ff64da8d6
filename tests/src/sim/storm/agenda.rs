//! What will happen, and when: the only clock there is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fleet_proto::fence::Fence;
use fleet_proto::ids::AppName;
use fleet_proto::session::{FromAgent, ToAgent};

use super::network::SessionId;

/// One thing that will happen. `life` is that of the process to which it belongs: what
/// was to happen in a process that is gone does not.
#[derive(Debug)]
pub enum Thing {
    Tick {
        life: u64,
    },
    /// The coordinator takes what is in its queue.
    Turn {
        life: u64,
    },
    StartCoordinator,
    ReachesCoordinator {
        session: SessionId,
        said: FromAgent,
    },
    ReachesAgent {
        session: SessionId,
        said: ToAgent,
    },
    /// Each side finds out for itself that a stream is gone.
    CoordinatorMisses {
        session: SessionId,
    },
    AgentMisses {
        session: SessionId,
    },

    StartAgent {
        node: usize,
    },
    PowerOn {
        node: usize,
    },
    Connect {
        node: usize,
        life: u64,
    },
    /// The agent says what has changed since it last spoke.
    Say {
        node: usize,
        life: u64,
    },
    Fetched {
        node: usize,
        life: u64,
        app: AppName,
        effect: u64,
    },
    Converged {
        node: usize,
        life: u64,
        app: AppName,
    },
    Judged {
        node: usize,
        life: u64,
        app: AppName,
        assignment: u64,
    },
    Migrated {
        node: usize,
        life: u64,
        app: AppName,
    },
    Looked {
        node: usize,
        life: u64,
        app: AppName,
    },
    /// A node that began to put itself back must be done by now.
    MustBeBack {
        node: usize,
        life: u64,
        app: AppName,
        order: Fence,
    },

    Weather,
    Operator,
    FreeDisk {
        node: usize,
    },
    Recover {
        node: usize,
    },
    /// A zone that was cut off is reachable again.
    Rejoin {
        zone: usize,
    },
    StoreIsBack,
}

struct Entry {
    at: u64,
    /// In the order of being written down, where moments are equal.
    sequence: u64,
    thing: Thing,
}

impl Entry {
    fn key(&self) -> (u64, u64) {
        (self.at, self.sequence)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[derive(Default)]
pub struct Agenda {
    entries: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
}

impl Agenda {
    pub fn add(&mut self, at: u64, thing: Thing) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.entries.push(Reverse(Entry { at, sequence, thing }));
    }

    /// The next thing that happens no later than `until`.
    pub fn next(&mut self, until: u64) -> Option<(u64, Thing)> {
        if self.entries.peek()?.0.at > until {
            return None;
        }
        self.entries.pop().map(|Reverse(entry)| (entry.at, entry.thing))
    }
}
