//! The journal as sentences: from a position on, filtered, and followed if asked.

use std::collections::VecDeque;

use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::view::EventView;
use fleet_proto::wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::documents::{document, if_said};
use super::{Answer, Documents, Operators};
use crate::refusal;
use crate::rollout::view;

/// Events that are read at a time: a bound on memory and on the time of one reading.
const PAGE: usize = 500;
const DOCUMENTS_AHEAD: usize = 64;
/// `--newest` looks back this far at most.
const NEWEST_MAX: usize = 10_000;

#[derive(Clone)]
struct Filter {
    rollout: Option<RolloutNumber>,
    node: Option<NodeId>,
}

impl Filter {
    fn takes(&self, event: &EventView) -> bool {
        (self.rollout.is_none() || event.rollout == self.rollout)
            && (self.node.is_none() || event.node == self.node)
    }
}

type Sender = mpsc::Sender<Result<wire::Document, Status>>;

impl Operators {
    pub(super) fn tell_events(&self, query: wire::EventsQuery) -> Answer<Documents> {
        let filter = Filter {
            rollout: Some(RolloutNumber(query.rollout)).filter(|number| number.0 != 0),
            node: if_said(&query.node)?,
        };
        let (sender, receiver) = mpsc::channel(DOCUMENTS_AHEAD);
        let operators = self.clone();
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            let telling = operators.tell(query, filter, &sender);
            if let Some(Err(status)) = stopping.run_until_cancelled(telling).await {
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn tell(&self, query: wire::EventsQuery, filter: Filter, sender: &Sender) -> Result<(), Status> {
        let mut changes = self.handle.changes();
        let mut position = query.after;
        // The newest few are known only at the end; the rest goes out as it is read.
        let newest = (query.newest as usize).min(NEWEST_MAX);
        let mut held = VecDeque::new();
        loop {
            changes.mark_unchanged();
            loop {
                let page = self.page(position).await?;
                let Some(last) = page.last() else { break };
                position = last.position;
                for event in page.into_iter().filter(|event| filter.takes(event)) {
                    if newest == 0 {
                        if sender.send(document(&event)).await.is_err() {
                            return Ok(());
                        }
                    } else {
                        held.push_back(event);
                        if held.len() > newest {
                            held.pop_front();
                        }
                    }
                }
            }
            for event in held.drain(..) {
                if sender.send(document(&event)).await.is_err() {
                    return Ok(());
                }
            }
            if !query.follow {
                return Ok(());
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
                () = sender.closed() => return Ok(()),
            }
        }
    }

    async fn page(&self, after: u64) -> Result<Vec<EventView>, Status> {
        let handle = self.handle.clone();
        let read = tokio::task::spawn_blocking(move || handle.events_after(after, PAGE));
        let stamped = read
            .await
            .map_err(|error| refusal::internal(&error))?
            .map_err(|error| refusal::internal(&error))?;
        Ok(stamped.iter().map(view::event).collect())
    }
}
