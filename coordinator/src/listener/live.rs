//! The connections that are open, so that a revocation reaches them: a revoked
//! certificate that was accepted yesterday is still in use today.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_proto::identity::Who;
use tokio_util::sync::CancellationToken;

/// Time for the last words (why it ends) to be written before the line is cut.
const LAST_WORDS: Duration = Duration::from_millis(250);

#[derive(Default)]
pub struct Live {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    newest: u64,
    connections: HashMap<u64, Line>,
}

struct Line {
    who: Option<Who>,
    ending: CancellationToken,
    cut: CancellationToken,
}

/// A connection's place in the list, for as long as the connection lives.
pub(super) struct Entry {
    live: Arc<Live>,
    number: u64,
    ending: CancellationToken,
    cut: CancellationToken,
    over: CancellationToken,
}

impl Live {
    pub(super) fn enter(self: &Arc<Self>, who: Option<Who>) -> Entry {
        let (ending, cut) = (CancellationToken::new(), CancellationToken::new());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.newest += 1;
        let number = open.newest;
        let line = Line {
            who,
            ending: ending.clone(),
            cut: cut.clone(),
        };
        open.connections.insert(number, line);
        Entry {
            live: self.clone(),
            number,
            ending,
            cut,
            over: CancellationToken::new(),
        }
    }

    /// How many connections are open.
    pub fn len(&self) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cuts every connection of theirs, without a word: whoever comes back hears why.
    pub fn cut(&self, who: &Who) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for line in open.connections.values() {
            if line.who.as_ref() == Some(who) {
                line.cut.cancel();
            }
        }
    }

    /// Ends every connection of theirs: last words, then the cut.
    pub fn end(&self, who: &Who) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for line in open.connections.values() {
            if line.who.as_ref() == Some(who) {
                line.ending.cancel();
                let cut = line.cut.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(LAST_WORDS).await;
                    cut.cancel();
                });
            }
        }
    }
}

impl Entry {
    pub(super) fn ending(&self) -> CancellationToken {
        self.ending.clone()
    }

    pub(super) fn cut(&self) -> CancellationToken {
        self.cut.clone()
    }

    pub(super) fn over(&self) -> CancellationToken {
        self.over.clone()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut open = self.live.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.connections.remove(&self.number);
        self.over.cancel();
    }
}
