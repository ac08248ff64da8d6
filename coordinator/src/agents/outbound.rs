//! What goes to the agent, until the session is over; the last word says why.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::driver::Ending;
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
    revoked: Pin<Box<WaitForCancellationFutureOwned>>,
    replaced: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
    /// Ends the other half too: nobody listens here any more.
    _over: DropGuard,
}

impl Outbound {
    pub(super) fn new(
        node: NodeId,
        queue: mpsc::Receiver<ToAgent>,
        revoked: CancellationToken,
        ending: Ending,
    ) -> Self {
        Self {
            node,
            queue,
            revoked: Box::pin(revoked.cancelled_owned()),
            replaced: Box::pin(ending.replaced.cancelled_owned()),
            ended: false,
            _over: ending.over.drop_guard(),
        }
    }
}

impl Stream for Outbound {
    type Item = Result<wire::ToAgent, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.revoked.as_mut().poll(context).is_ready() {
            self.ended = true;
            return Poll::Ready(Some(Err(super::revoked(&self.node))));
        }
        if self.replaced.as_mut().poll(context).is_ready() {
            self.ended = true;
            return Poll::Ready(Some(Err(replaced(&self.node))));
        }
        self.queue
            .poll_recv(context)
            .map(|message| message.map(|message| Ok(message.into())))
    }
}

fn replaced(node: &NodeId) -> Status {
    Status::aborted(format!(
        "node {node} has connected again, and its newest stream is the one that counts\nhint: if this goes on, two machines run under the name {node}: `fleetctl token create --node {node}` lets one of them in, in the place of the other"
    ))
}
