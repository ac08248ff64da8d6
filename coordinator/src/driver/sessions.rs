//! The streams that are open, by node. A node has one: the newest.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use fleet_proto::ids::NodeId;
use fleet_proto::session::{Heartbeat, ToAgent};
use fleet_proto::view::VitalsView;

/// Tells a node's streams apart, so that the end of an old one says nothing about the new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId(u64);

/// A message that did not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// The node has no stream.
    Absent,
    /// Too much waits for it already.
    Full,
}

#[derive(Default)]
pub struct Sessions {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    newest: u64,
    by_node: BTreeMap<NodeId, Stream>,
}

struct Stream {
    /// The newest: how the node is now is in no journal.
    heartbeat: Option<Heartbeat>,
    id: SessionId,
    queue: mpsc::Sender<ToAgent>,
    ending: Ending,
}

/// How a stream is ended from here.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Ends both halves of it.
    pub over: CancellationToken,
    /// Before that, where a newer stream of the same node is the reason.
    pub replaced: CancellationToken,
}

impl Sessions {
    /// A newer stream takes the place of an older one, which ends with that.
    pub fn attach(&self, node: NodeId, queue: mpsc::Sender<ToAgent>, ending: Ending) -> SessionId {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.newest += 1;
        let id = SessionId(open.newest);
        let stream = Stream {
            heartbeat: None,
            id,
            queue,
            ending,
        };
        if let Some(older) = open.by_node.insert(node, stream) {
            older.ending.replaced.cancel();
            older.ending.over.cancel();
        }
        id
    }

    /// True when the node has no newer stream, and was not detached before: then it is gone.
    pub fn detach(&self, node: &NodeId, id: SessionId) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = open.by_node.get(node).is_some_and(|stream| stream.id == id);
        if newest {
            open.by_node.remove(node);
        }
        newest
    }

    /// A node that does not take its messages is cut off: it comes back and is told
    /// again what it missed, which a dropped message would not do.
    pub fn send(&self, node: &NodeId, message: ToAgent) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stream) = open.by_node.get(node) else {
            return;
        };
        if stream.queue.try_send(message).is_err() && !stream.ending.over.is_cancelled() {
            tracing::warn!(%node, "does not take its messages; its stream is cut");
            stream.ending.over.cancel();
        }
    }

    pub fn note(&self, node: &NodeId, heartbeat: Heartbeat) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stream) = open.by_node.get_mut(node) {
            stream.heartbeat = Some(heartbeat);
        }
    }

    /// How the node is, if it is there and has said so.
    pub fn vitals(&self, node: &NodeId) -> Option<VitalsView> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.by_node.get(node)?.heartbeat.clone().map(VitalsView::from)
    }

    /// How everybody is who is there and has said so.
    pub fn each_heartbeat(&self, mut look: impl FnMut(&NodeId, &Heartbeat)) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, stream) in &open.by_node {
            if let Some(heartbeat) = &stream.heartbeat {
                look(node, heartbeat);
            }
        }
    }

    /// What may as well be left: nobody is cut off for it.
    pub fn offer(&self, node: &NodeId, message: ToAgent) -> Result<(), NotTaken> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = open.by_node.get(node).ok_or(NotTaken::Absent)?;
        let offered = stream.queue.try_send(message);
        offered.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotTaken::Full,
            mpsc::error::TrySendError::Closed(_) => NotTaken::Absent,
        })
    }

    /// To everybody, as far as their queues take it.
    pub fn send_to_all(&self, message: &ToAgent) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.by_node.values() {
            let _ = stream.queue.try_send(message.clone());
        }
    }

    pub fn len(&self) -> usize {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .by_node
            .len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use fleet_proto::quantity::Span;

    fn message() -> ToAgent {
        ToAgent::GoAway {
            retry_after: Span::ZERO,
            why: String::new(),
        }
    }

    #[test]
    fn a_node_that_does_not_listen_is_cut_off_and_then_gone_once() {
        let sessions = Sessions::default();
        let node: NodeId = "n1".parse().unwrap();
        let (queue, _not_read) = mpsc::channel(1);
        let ending = Ending::default();
        let id = sessions.attach(node.clone(), queue, ending.clone());
        sessions.send(&node, message());
        assert!(!ending.over.is_cancelled());
        sessions.send(&node, message());
        assert!(ending.over.is_cancelled() && !ending.replaced.is_cancelled());
        assert!(sessions.detach(&node, id));
        assert!(!sessions.detach(&node, id));
    }

    #[test]
    fn a_newer_stream_ends_the_older_whose_end_means_nothing() {
        let sessions = Sessions::default();
        let node: NodeId = "n1".parse().unwrap();
        let (queue, _read) = mpsc::channel(1);
        let older = Ending::default();
        let first = sessions.attach(node.clone(), queue.clone(), older.clone());
        let second = sessions.attach(node.clone(), queue, Ending::default());
        assert!(older.over.is_cancelled() && older.replaced.is_cancelled());
        assert!(!sessions.detach(&node, first));
        assert!(sessions.detach(&node, second));
    }
}
