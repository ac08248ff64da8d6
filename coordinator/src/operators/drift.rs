//! Drift, as the nodes themselves have looked: some of them at a time, each by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use fleet_proto::ids::{AppName, EnvironmentName, NodeId, OperatorName};
use fleet_proto::session::drift::{DriftReport, DriftWanted};
use fleet_proto::session::question::{AnswerPiece, Asked};
use fleet_proto::view::NodeDriftView;
use fleet_proto::wire;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::documents::{document, if_said};
use super::logs::{broken_off, refused_by_node};
use super::{Answer, Documents, Operators};
use crate::refusal;
use crate::rollout::input::{Refusal, RefusalKind};
use crate::rollout::plan::find_environment;
use crate::rollout::state::State;

/// A few of the questions that may be open at once: logs are asked for beside it.
const AT_ONCE: usize = 8;
/// What a node gives itself for its look, and for one before it.
const ANSWER_WITHIN: Duration = Duration::from_secs(150);

impl Operators {
    pub(super) fn tell_drift(&self, by: &OperatorName, query: &wire::DriftQuery) -> Answer<Documents> {
        let app: Option<AppName> = if_said(&query.app)?;
        let environment: Option<EnvironmentName> = if_said(&query.environment)?;
        let named = query.nodes.iter().map(|node| node.parse().map_err(refusal::name));
        let named: BTreeSet<NodeId> = named.collect::<Result<_, Status>>()?;
        let nodes = self
            .handle
            .read(|state| asked(state, &named, environment.as_ref()));
        let nodes = nodes.map_err(|refused| refusal::status(&refused))?;
        tracing::info!(operator = %by, nodes = nodes.len(), "asks for drift");
        let (sender, receiver) = mpsc::channel(AT_ONCE);
        let operators = self.clone();
        tokio::spawn(async move {
            let stopping = operators.stopping.clone();
            let asking = operators.ask_all(nodes, app, &sender);
            let _stopped = stopping.run_until_cancelled(asking).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn ask_all(
        &self,
        nodes: Vec<NodeId>,
        app: Option<AppName>,
        to: &mpsc::Sender<Result<wire::Document, Status>>,
    ) {
        let mut ahead = nodes.into_iter();
        let mut asking = JoinSet::new();
        loop {
            while asking.len() < AT_ONCE {
                let Some(node) = ahead.next() else { break };
                let (operators, app) = (self.clone(), app.clone());
                asking.spawn(async move { operators.ask_one(node, app).await });
            }
            let view = tokio::select! {
                answered = asking.join_next() => match answered {
                    Some(Ok(view)) => document(&view),
                    Some(Err(error)) => Err(refusal::internal(&error)),
                    None => return,
                },
                () = to.closed() => return,
            };
            if to.send(view).await.is_err() {
                return;
            }
        }
    }

    /// That it cannot be known is an answer too, and never that there is no drift.
    async fn ask_one(&self, node: NodeId, app: Option<AppName>) -> NodeDriftView {
        let looked = tokio::time::timeout(ANSWER_WITHIN, self.look(&node, app)).await;
        let report = match looked {
            Ok(Ok(report)) => report,
            Ok(Err(status)) => unknown(status.message()),
            Err(_) => unknown(&format!("it gave no answer within {}s", ANSWER_WITHIN.as_secs())),
        };
        NodeDriftView {
            node,
            unknown: report.unknown,
            findings: report.findings,
            more: report.more,
        }
    }

    async fn look(&self, node: &NodeId, app: Option<AppName>) -> Result<DriftReport, Status> {
        let mut asking = self.ask(node, Asked::Drift(DriftWanted { app }))?;
        let mut report = None;
        loop {
            match asking.next().await.map_err(|lost| broken_off(&lost))? {
                AnswerPiece::Drift(found) => report = Some(found),
                AnswerPiece::Refused(refused) => return Err(refused_by_node(refused)),
                AnswerPiece::Ends => break,
                AnswerPiece::Begins(_) | AnswerPiece::Lines(_) => {}
            }
        }
        report.ok_or_else(|| Status::aborted("it did not say what it found"))
    }
}

fn unknown(why: &str) -> DriftReport {
    let why = why.lines().next().unwrap_or_default().to_owned();
    DriftReport {
        unknown: vec![why],
        ..DriftReport::default()
    }
}

/// Those that were named, else all that there are; of the environment, if one was named.
fn asked(
    state: &State,
    named: &BTreeSet<NodeId>,
    environment: Option<&EnvironmentName>,
) -> Result<Vec<NodeId>, Refusal> {
    let absent = named.iter().find(|node| !state.nodes.contains_key(*node));
    if let Some(node) = absent {
        let refused = Refusal::new(RefusalKind::NotFound, format!("there is no node {node}"));
        return Err(refused.hint("fleetctl nodes"));
    }
    let select = match environment {
        Some(environment) => {
            find_environment(state, Some(environment))?;
            state
                .environments
                .get(environment)
                .map(|environment| &environment.select)
        }
        None => None,
    };
    let is_asked = |node: &NodeId| match named.is_empty() {
        true => state.nodes.get(node).is_some_and(|node| !node.is_revoked()),
        false => named.contains(node),
    };
    let nodes = state.nodes.iter();
    let within = nodes.filter(|(_, node)| select.is_none_or(|select| select.matches(&node.labels)));
    let asked: Vec<NodeId> = within.map(|(node, _)| node.clone()).filter(is_asked).collect();
    match asked.is_empty() {
        true => Err(Refusal::new(RefusalKind::NotFound, "there is no node to ask").hint("fleetctl nodes")),
        false => Ok(asked),
    }
}
