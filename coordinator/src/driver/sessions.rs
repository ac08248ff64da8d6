//! The streams that are open, by node. A node has one: the newest.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use fleet_proto::ids::NodeId;
use fleet_proto::session::ToAgent;

/// Tells a node's streams apart, so that the end of an old one says nothing about the new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId(u64);

#[derive(Default)]
pub struct Sessions {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    newest: u64,
    by_node: BTreeMap<NodeId, (SessionId, mpsc::Sender<ToAgent>)>,
}

impl Sessions {
    /// A newer stream takes the place of an older one, whose queue closes with that.
    pub fn attach(&self, node: NodeId, queue: mpsc::Sender<ToAgent>) -> SessionId {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.newest += 1;
        let id = SessionId(open.newest);
        open.by_node.insert(node, (id, queue));
        id
    }

    /// True when the node has no newer stream: then it is gone.
    pub fn detach(&self, node: &NodeId, id: SessionId) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = open.by_node.get(node).is_none_or(|(newest, _)| *newest == id);
        if newest {
            open.by_node.remove(node);
        }
        newest
    }

    /// A node that does not take its messages is cut off: it comes back and is told
    /// again what it missed, which a dropped message would not do.
    pub fn send(&self, node: &NodeId, message: ToAgent) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let delivered = open
            .by_node
            .get(node)
            .is_none_or(|(_, queue)| queue.try_send(message).is_ok());
        if !delivered {
            tracing::warn!(%node, "does not take its messages; its stream is cut");
            open.by_node.remove(node);
        }
    }

    /// To everybody, as far as their queues take it.
    pub fn send_to_all(&self, message: &ToAgent) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, queue) in open.by_node.values() {
            let _ = queue.try_send(message.clone());
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
