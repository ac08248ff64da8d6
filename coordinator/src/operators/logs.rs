//! Logs, as a node tells them: they go through here and stay nowhere.

use fleet_proto::ids::{AppName, NodeId, OperatorName};
use fleet_proto::session::question::{AnswerPiece, AnswerRefused, Asked, LogsWanted};
use fleet_proto::session::{lines_to_wire, question};
use fleet_proto::wire;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::{Answer, Operators};
use crate::questions::{Asking, Lost, NotAsked};
use crate::refusal;
use crate::rollout::node::Connection;

pub(super) type Lines = ReceiverStream<Result<wire::LogLines, Status>>;

impl Operators {
    pub(super) fn tell_logs(&self, by: &OperatorName, query: wire::LogsQuery) -> Answer<Lines> {
        let node: NodeId = query.node.parse().map_err(refusal::name)?;
        let mut wanted = query
            .wanted
            .ok_or_else(|| Status::invalid_argument("the request does not say what is wanted"))?;
        wanted.app = self.app_on(&node, &wanted.app)?;
        let wanted = LogsWanted::try_from(wanted).map_err(refusal::usage)?;
        tracing::info!(operator = %by, %node, app = %wanted.app, "reads logs");
        let asking = self.ask(&node, Asked::Logs(wanted))?;
        let (sender, receiver) = mpsc::channel(1);
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            let telling = pass_on(asking, &sender);
            let ended = stopping.run_until_cancelled(telling).await;
            let ended = ended.unwrap_or_else(|| Err(Status::unavailable("the coordinator is stopping")));
            if let Err(status) = ended {
                let _operator_gone = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    pub(super) fn ask(&self, node: &NodeId, what: Asked) -> Result<Asking, Status> {
        let sessions = self.handle.sessions();
        let asked = self.questions.ask(sessions, node, what);
        asked.map_err(|error| self.not_asked(node, &error))
    }

    fn not_asked(&self, node: &NodeId, error: &NotAsked) -> Status {
        match error {
            NotAsked::NodeBusy { .. } | NotAsked::AllBusy => Status::failed_precondition(format!(
                "{error}\nhint: end another `fleetctl logs`, or try again when it is over"
            )),
            NotAsked::DoesNotListen { .. } => {
                Status::failed_precondition(format!("{error}\nhint: try again"))
            }
            NotAsked::Randomness(error) => refusal::internal(error),
            NotAsked::NotConnected { .. } => Status::aborted(format!(
                "{error}{}\nhint: fleetctl node show {node}",
                self.last_seen(node)
            )),
        }
    }

    fn last_seen(&self, node: &NodeId) -> String {
        let known = self
            .handle
            .read(|state| state.nodes.get(node).map(|node| node.connection));
        match known {
            Some(Connection::Silent { since, .. } | Connection::Unreachable { since }) => {
                format!("; it was last seen at {since}")
            }
            Some(Connection::Revoked { at }) => format!("; it was revoked at {at}"),
            Some(Connection::Expired { at, .. }) => format!("; it has not come back, and expired at {at}"),
            // It is on its way in, or has only just gone.
            Some(Connection::Connected) | None => String::new(),
        }
    }

    /// The named app, or the only one that the node has.
    fn app_on(&self, node: &NodeId, app: &str) -> Result<String, Status> {
        let apps: Option<Vec<AppName>> = self.handle.read(|state| {
            let known = state.nodes.get(node)?;
            Some(known.apps.keys().cloned().collect())
        });
        let apps =
            apps.ok_or_else(|| Status::not_found(format!("there is no node {node}\nhint: fleetctl nodes")))?;
        let names: Vec<&str> = apps.iter().map(AppName::as_str).collect();
        match (app, names.as_slice()) {
            ("", [only]) => Ok((*only).to_owned()),
            ("", []) => Err(Status::not_found(format!("no app is on {node}"))),
            ("", several) => Err(Status::invalid_argument(format!(
                "several apps are on {node}\nhint: --app {}",
                several.join(", or --app ")
            ))),
            (app, _) => Ok(app.to_owned()),
        }
    }
}

/// Until the answer ends, or nobody reads it any more; with that the question is over.
async fn pass_on(
    mut asking: Asking,
    to: &mpsc::Sender<Result<wire::LogLines, Status>>,
) -> Result<(), Status> {
    loop {
        let piece = tokio::select! {
            piece = asking.next() => piece,
            () = to.closed() => return Ok(()),
        };
        match piece.map_err(|lost| broken_off(&lost))? {
            AnswerPiece::Lines(lines) => {
                if to.send(Ok(lines_to_wire(lines))).await.is_err() {
                    return Ok(());
                }
            }
            AnswerPiece::Refused(refused) => return Err(refused_by_node(refused)),
            AnswerPiece::Ends => return Ok(()),
            AnswerPiece::Begins(_) | AnswerPiece::Drift(_) => {}
        }
    }
}

pub(super) fn broken_off(lost: &Lost) -> Status {
    let (Lost::NotBegun { node } | Lost::BrokenOff { node }) = lost;
    Status::aborted(format!("{lost}\nhint: fleetctl node show {node}"))
}

pub(super) fn refused_by_node(refused: question::AnswerRefused) -> Status {
    let AnswerRefused { why, hint, is_absent } = refused;
    let message = match hint {
        Some(hint) => format!("{why}\nhint: {hint}"),
        None => why,
    };
    match is_absent {
        true => Status::not_found(message),
        false => Status::failed_precondition(message),
    }
}
