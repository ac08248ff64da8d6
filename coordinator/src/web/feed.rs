//! The journal, told to everybody who listens. It is read and written out once, however many
//! listen; each of them then reads from the same bytes at their own pace, and whoever is too
//! slow reads the journal instead.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::view::EventView;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::driver::Handle;
use crate::rollout::view;

/// So many are told together at most.
const EVENTS_PER_CHUNK: usize = 1_000;
/// Ten times a second is live for people; more would be work for every browser.
const CHUNK_EVERY: Duration = Duration::from_millis(100);
/// Half a minute of a busy fleet, shared by all.
const CHUNKS_KEPT: usize = 256;

/// Events in a row, written out.
#[derive(Debug)]
pub struct Chunk {
    pub from: u64,
    pub to: u64,
    lines: Vec<Line>,
    bytes: Bytes,
}

#[derive(Debug)]
struct Line {
    position: u64,
    rollout: Option<RolloutNumber>,
    node: Option<NodeId>,
    at: Range<usize>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub rollout: Option<RolloutNumber>,
    pub node: Option<NodeId>,
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.rollout.is_none() && self.node.is_none()
    }

    fn takes(&self, line: &Line) -> bool {
        (self.rollout.is_none() || line.rollout == self.rollout)
            && (self.node.is_none() || line.node == self.node)
    }
}

impl Chunk {
    pub fn of(events: Vec<EventView>) -> Option<Self> {
        let (from, to) = (events.first()?.position, events.last()?.position);
        let mut bytes = Vec::with_capacity(events.len() * 256);
        let mut lines = Vec::with_capacity(events.len());
        for event in events {
            let begin = bytes.len();
            bytes.extend_from_slice(format!("id: {}\nevent: event\ndata: ", event.position).as_bytes());
            // Into memory, and of a view that is all text and numbers.
            serde_json::to_writer(&mut bytes, &event).ok()?;
            bytes.extend_from_slice(b"\n\n");
            lines.push(Line {
                position: event.position,
                rollout: event.rollout,
                node: event.node,
                at: begin..bytes.len(),
            });
        }
        Some(Self {
            from,
            to,
            lines,
            bytes: Bytes::from(bytes),
        })
    }

    /// What of it comes behind that position and fits.
    pub fn behind(&self, position: u64, filter: &Filter) -> Bytes {
        if filter.is_empty() && self.from > position {
            return self.bytes.clone();
        }
        let fitting = self.lines.iter();
        let fitting = fitting.filter(|line| line.position > position && filter.takes(line));
        let mut bytes = Vec::new();
        for line in fitting {
            bytes.extend_from_slice(&self.bytes[line.at.clone()]);
        }
        Bytes::from(bytes)
    }
}

#[derive(Clone)]
pub struct Feed {
    chunks: broadcast::Sender<Arc<Chunk>>,
}

impl Feed {
    pub fn start(handle: Handle, stopping: CancellationToken) -> Self {
        let (chunks, _) = broadcast::channel(CHUNKS_KEPT);
        let feed = Self { chunks };
        let telling = feed.clone();
        tokio::spawn(async move {
            stopping.run_until_cancelled(telling.tell(handle)).await;
        });
        feed
    }

    pub fn listen(&self) -> broadcast::Receiver<Arc<Chunk>> {
        self.chunks.subscribe()
    }

    pub fn listeners(&self) -> usize {
        self.chunks.receiver_count()
    }

    async fn tell(&self, handle: Handle) {
        let mut changes = handle.changes();
        let mut position = *changes.borrow_and_update();
        loop {
            if changes.changed().await.is_err() {
                return;
            }
            let end = *changes.borrow_and_update();
            if self.listeners() == 0 {
                position = end;
                continue;
            }
            while position < end {
                let Some(chunk) = read(&handle, position, EVENTS_PER_CHUNK).await else {
                    break;
                };
                position = chunk.to;
                // Nobody listens any more: no loss.
                let _ = self.chunks.send(Arc::new(chunk));
            }
            tokio::time::sleep(CHUNK_EVERY).await;
        }
    }
}

/// From the journal, off the threads that serve; nothing where there is nothing.
pub async fn read(handle: &Handle, after: u64, count: usize) -> Option<Chunk> {
    let handle = handle.clone();
    let read = tokio::task::spawn_blocking(move || handle.events_after(after, count));
    let stamped = match read.await.ok()? {
        Ok(stamped) => stamped,
        Err(error) => {
            tracing::error!(%error, "cannot read the journal for those who listen");
            return None;
        }
    };
    Chunk::of(stamped.iter().map(view::event).collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use fleet_proto::time::Timestamp;

    fn event(position: u64, rollout: u64) -> EventView {
        EventView {
            position,
            at: Timestamp(position),
            kind: "x".into(),
            rollout: Some(RolloutNumber(rollout)),
            node: None,
            by: None,
            message: "a\nb".into(),
        }
    }

    #[test]
    fn whoever_has_some_of_it_gets_the_rest() {
        let chunk = Chunk::of(vec![event(7, 1), event(8, 2), event(9, 1)]).unwrap();
        let told = |position, rollout: Option<u64>| {
            let filter = Filter {
                rollout: rollout.map(RolloutNumber),
                node: None,
            };
            let bytes = chunk.behind(position, &filter);
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
            ids.map(str::to_owned).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told(0, None), "7 8 9");
        assert_eq!(told(7, None), "8 9");
        assert_eq!(told(9, None), "");
        assert_eq!(told(0, Some(1)), "7 9");
        // A line break in what is told breaks no message.
        let all = chunk.behind(0, &Filter::default());
        assert!(String::from_utf8(all.to_vec()).unwrap().contains("a\\nb"));
        assert!(Chunk::of(vec![]).is_none());
    }
}
