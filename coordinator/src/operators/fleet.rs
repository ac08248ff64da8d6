//! The fleet: its status, its nodes, and the tokens by which nodes join.

use fleet_proto::identity::Who;
use fleet_proto::ids::{NodeId, OperatorName, TokenId};
use fleet_proto::labels::{Labels, Selector, parse_label};
use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use fleet_proto::token::JoinToken;
use fleet_proto::view::NodeView;
use fleet_proto::wire;
use tonic::{Response, Status};

use super::documents::{answer, if_said, text_if_said};
use super::{Answer, Operators};
use crate::refusal;
use crate::rollout::event::{NewToken, Tenure};
use crate::rollout::input::{Refusal, Reply, Request};
use crate::rollout::plan::find_environment;
use crate::rollout::requests::drain::Limit;
use crate::rollout::requests::find_node;
use crate::rollout::view;

/// For whoever does not say how long: long enough to set a machine up.
const TOKEN_LIFE: Span = Span::from_secs(3600);
/// A token that lies around for longer than this is a key under the mat.
const TOKEN_LIFE_MAX: Span = Span::from_secs(30 * 86_400);

impl Operators {
    pub(super) fn show_status(&self, query: &wire::StatusQuery) -> Answer {
        let app = if_said(&query.app)?;
        let environment = if_said(&query.environment)?;
        let now = Timestamp::now();
        let view = self.handle.read(|state| {
            // An app that was never released is a status too: nothing runs. An
            // environment is configured, so one that is not known is a mistake.
            if environment.is_some() {
                find_environment(state, environment.as_ref())?;
            }
            Ok(view::status(state, app.as_ref(), environment.as_ref(), now))
        });
        answer(&view.map_err(|refused: Refusal| refusal::status(&refused))?)
    }

    pub(super) fn show_nodes(&self, select: &str) -> Answer {
        let select: Selector = select.parse().map_err(refusal::usage)?;
        let views: Vec<NodeView> = self.handle.read(|state| {
            let matching = state
                .nodes
                .iter()
                .filter(|(_, node)| select.matches(&node.labels));
            matching.map(|(id, node)| view::node(state, id, node)).collect()
        });
        answer(&views)
    }

    pub(super) fn show_node(&self, id: &str) -> Answer {
        let id: NodeId = id.parse().map_err(refusal::name)?;
        let view = self
            .handle
            .read(|state| find_node(state, &id).map(|node| view::node(state, &id, node)));
        let mut view = view.map_err(|refused| refusal::status(&refused))?;
        view.vitals = self.handle.sessions().vitals(&id);
        answer(&view)
    }

    /// First durable, then felt: the node's connections end, and no new one is let in.
    pub(super) async fn revoke(&self, by: &OperatorName, query: wire::NodeQuery) -> Answer {
        let node: NodeId = query.node.parse().map_err(refusal::name)?;
        let order = Request::RevokeNode {
            node: node.clone(),
            reason: query.reason,
        };
        self.submit(by, order).await?;
        self.live.end(&Who::Node(node.clone()));
        self.show_node(node.as_str())
    }

    pub(super) async fn label(&self, by: &OperatorName, request: wire::LabelNodeRequest) -> Answer {
        let node: NodeId = request.node.parse().map_err(refusal::name)?;
        let order = Request::LabelNode {
            node: node.clone(),
            set: read_labels(request.set)?,
            remove: request.remove,
        };
        self.submit(by, order).await?;
        self.show_node(node.as_str())
    }

    pub(super) async fn cordon(&self, by: &OperatorName, query: wire::NodeQuery) -> Answer {
        let node: NodeId = query.node.parse().map_err(refusal::name)?;
        let order = Request::CordonNode {
            node: node.clone(),
            reason: text_if_said(query.reason),
        };
        self.submit(by, order).await?;
        self.show_node(node.as_str())
    }

    pub(super) async fn uncordon(&self, by: &OperatorName, node: &str) -> Answer {
        let node: NodeId = node.parse().map_err(refusal::name)?;
        self.submit(by, Request::UncordonNode { node: node.clone() })
            .await?;
        self.show_node(node.as_str())
    }

    pub(super) async fn drain(&self, by: &OperatorName, request: wire::DrainNodeRequest) -> Answer {
        let node: NodeId = request.node.parse().map_err(refusal::name)?;
        let order = Request::DrainNode {
            node: node.clone(),
            reason: text_if_said(request.reason),
            limit: match request.force {
                true => Limit::Override,
                false => Limit::Keep,
            },
        };
        self.submit(by, order).await?;
        self.show_node(node.as_str())
    }

    pub(super) async fn undrain(&self, by: &OperatorName, node: &str) -> Answer {
        let node: NodeId = node.parse().map_err(refusal::name)?;
        self.submit(by, Request::UndrainNode { node: node.clone() })
            .await?;
        self.show_node(node.as_str())
    }

    pub(super) async fn stop_all(&self, by: &OperatorName, request: wire::HaltRequest) -> Answer {
        let order = Request::Halt {
            environment: if_said(&request.environment)?,
            reason: text_if_said(request.reason),
        };
        self.submit(by, order).await?;
        self.show_status(&wire::StatusQuery::default())
    }

    pub(super) async fn let_go_on(&self, by: &OperatorName, environment: &str) -> Answer {
        let environment = if_said(environment)?;
        self.submit(by, Request::Unhalt { environment }).await?;
        self.show_status(&wire::StatusQuery::default())
    }

    pub(super) async fn new_token(
        &self,
        by: &OperatorName,
        request: wire::CreateTokenRequest,
    ) -> Answer<wire::TokenCreated> {
        let valid_for = if_said(&request.valid_for)?.unwrap_or(TOKEN_LIFE);
        if valid_for == Span::ZERO || valid_for > TOKEN_LIFE_MAX {
            return Err(Status::invalid_argument(format!(
                "a join token is valid for more than 0s and at most {TOKEN_LIFE_MAX}, not {valid_for}"
            )));
        }
        let token =
            JoinToken::generate(self.trust.fingerprint()).map_err(|error| refusal::internal(&error))?;
        let order = Request::CreateToken {
            token: NewToken {
                id: token.id.clone(),
                secret_hash: token.secret_hash(),
                node: if_said(&request.node)?,
                labels: read_labels(request.labels)?,
                uses: request.uses.max(1),
                tenure: match request.ephemeral {
                    true => Tenure::Ephemeral,
                    false => Tenure::Lasting,
                },
            },
            valid_for,
        };
        match self.submit(by, order).await? {
            Reply::TokenCreated { expires_at } => Ok(Response::new(wire::TokenCreated {
                token: token.to_string(),
                id: token.id.to_string(),
                expires_at_ms: expires_at.0,
            })),
            other => Err(Status::internal(format!("an unexpected answer: {other:?}"))),
        }
    }

    pub(super) fn show_tokens(&self) -> Answer {
        let now = Timestamp::now();
        answer(&self.handle.read(|state| view::tokens(state, now)))
    }

    pub(super) async fn end_token(&self, by: &OperatorName, id: &str) -> Answer {
        let id: TokenId = id.parse().map_err(refusal::name)?;
        let order = Request::RevokeToken { token: id.clone() };
        self.submit(by, order).await?;
        let now = Timestamp::now();
        let tokens = self.handle.read(|state| view::tokens(state, now));
        match tokens.iter().find(|token| token.id == id) {
            Some(token) => answer(token),
            None => Err(Status::not_found(format!("there is no token {id}"))),
        }
    }
}

fn read_labels(labels: impl IntoIterator<Item = (String, String)>) -> Result<Labels, Status> {
    labels
        .into_iter()
        .map(|(key, value)| parse_label(&format!("{key}={value}")).map_err(refusal::usage))
        .collect()
}
