//! The gRPC servers behind the doors. Nodes and operators get the same services, so
//! that whoever knocks with the wrong role is told so; what differs is the windows.

use std::time::Duration;

use fleet_proto::wire::MESSAGE_BYTES_MAX;
use fleet_proto::wire::agent_server::AgentServer;
use fleet_proto::wire::enrolment_server::EnrolmentServer;
use fleet_proto::wire::operator_server::OperatorServer;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::agents::{Agents, Newcomers};
use crate::listener::{Door, Doors};
use crate::operators::Operators;

/// A bounded queue is felt by the sender only when the window is small too.
const NODE_WINDOW_BYTES: u32 = 64 << 10;
/// Operators upload; few of them are there at once.
const OPERATOR_WINDOW_BYTES: u32 = 1 << 20;
/// A peer that vanished is noticed within 25 s, at 3 % of a core for 10,000 streams.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A session, a download, a renewal, and room.
const STREAMS_MAX: u32 = 16;
const HEADER_BYTES_MAX: u32 = 8 << 10;

pub struct Servers {
    pub agents: Agents,
    pub newcomers: Newcomers,
    pub operators: Operators,
}

impl Servers {
    /// Serves until `stopping`; then each connection ends with its last call.
    pub(super) fn spawn(self, doors: Doors, stopping: &CancellationToken, tasks: &mut JoinSet<()>) {
        let members = Routes::new(
            // Nothing compressed is taken from nodes: a megabyte of it can be a
            // gigabyte of zeroes.
            AgentServer::new(self.agents)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .send_compressed(CompressionEncoding::Zstd),
        )
        .add_service(
            OperatorServer::new(self.operators)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .accept_compressed(CompressionEncoding::Zstd)
                .send_compressed(CompressionEncoding::Zstd),
        );
        let newcomers =
            Routes::new(EnrolmentServer::new(self.newcomers).max_decoding_message_size(MESSAGE_BYTES_MAX));
        for (door, routes, window) in [
            (doors.nodes, members.clone(), NODE_WINDOW_BYTES),
            (doors.operators, members, OPERATOR_WINDOW_BYTES),
            (doors.newcomers, newcomers, NODE_WINDOW_BYTES),
        ] {
            tasks.spawn(serve(door, routes, window, stopping.clone()));
        }
    }
}

async fn serve(door: Door, routes: Routes, window: u32, stopping: CancellationToken) {
    let served = Server::builder()
        .initial_stream_window_size(window)
        .initial_connection_window_size(window)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .add_routes(routes)
        .serve_with_incoming_shutdown(ReceiverStream::new(door), stopping.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "a server ended");
    }
}
