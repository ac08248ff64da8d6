//! The connections that are open, so that a revocation reaches them: a revoked
//! certificate that was accepted yesterday is still in use today.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_proto::identity::{Peer, Who};
use fleet_proto::time::Timestamp;
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
    /// Of the newest certificate that they have, which may be newer than the one shown here.
    expires_at: Option<Timestamp>,
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
    pub(super) fn enter(self: &Arc<Self>, peer: Option<&Peer>) -> Entry {
        let (ending, cut) = (CancellationToken::new(), CancellationToken::new());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.newest += 1;
        let number = open.newest;
        let line = Line {
            who: peer.map(|peer| peer.identity.who.clone()),
            expires_at: peer.map(|peer| peer.not_after),
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

    /// They got a new certificate: the one that they have shown is not their newest.
    pub fn renewed(&self, who: &Who, expires_at: Timestamp) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for line in open.connections.values_mut() {
            if line.who.as_ref() == Some(who) {
                line.expires_at = line.expires_at.max(Some(expires_at));
            }
        }
    }

    /// When the first certificate ends, of those who are connected and whom one looks for.
    pub fn nearest_expiry(&self, is_looked_for: impl Fn(&Who) -> bool) -> Option<Timestamp> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = open.connections.values();
        let theirs = lines.filter(|line| line.who.as_ref().is_some_and(&is_looked_for));
        theirs.filter_map(|line| line.expires_at).min()
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
