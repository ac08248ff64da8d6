//! Who calls over gRPC, by the certificate of the connection.

use std::sync::Arc;

use fleet_proto::identity::{Peer, Who};
use fleet_proto::ids::NodeId;
use tonic::{Request, Status};

use crate::listener::Caller;

pub fn of<T>(request: &Request<T>) -> Result<Caller, Status> {
    request
        .extensions()
        .get::<Caller>()
        .cloned()
        .ok_or_else(|| Status::internal("the connection does not say who calls"))
}

fn who(caller: &Caller) -> Result<&Who, Status> {
    match &caller.peer {
        Some(peer) => Ok(&peer.identity.who),
        None => Err(Status::unauthenticated("there is no certificate")),
    }
}

pub fn node(caller: &Caller) -> Result<NodeId, Status> {
    match who(caller)? {
        Who::Node(node) => Ok(node.clone()),
        other => Err(Status::permission_denied(format!(
            "this is for nodes, and the certificate is of {other}\nhint: use the credentials that `fleet-agent enrol` made"
        ))),
    }
}

pub fn peer<T>(request: &Request<T>) -> Result<Arc<Peer>, Status> {
    let peer = of(request)?.peer;
    peer.ok_or_else(|| Status::unauthenticated("there is no certificate"))
}
