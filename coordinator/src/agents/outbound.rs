//! What goes to the agent, until the session is over; the last word says why.

use std::pin::Pin;
use std::task::{Context, Poll};

use fleet_proto::ids::NodeId;
use fleet_proto::session::ToAgent;
use fleet_proto::wire;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::Status;

pub struct Outbound {
    node: NodeId,
    queue: mpsc::Receiver<ToAgent>,
    ending: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
    /// Ends the other half too: nobody listens here any more.
    _over: DropGuard,
}

impl Outbound {
    pub(super) fn new(
        node: NodeId,
        queue: mpsc::Receiver<ToAgent>,
        ending: CancellationToken,
        over: CancellationToken,
    ) -> Self {
        Self {
            node,
            queue,
            ending: Box::pin(ending.cancelled_owned()),
            ended: false,
            _over: over.drop_guard(),
        }
    }
}

impl Stream for Outbound {
    type Item = Result<wire::ToAgent, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.ending.as_mut().poll(context).is_ready() {
            self.ended = true;
            return Poll::Ready(Some(Err(super::revoked(&self.node))));
        }
        self.queue
            .poll_recv(context)
            .map(|message| message.map(|message| Ok(message.into())))
    }
}
