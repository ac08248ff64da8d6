//! Operators: who they are, what they may, and what lets them in.

use fleet_proto::access_token::AccessToken;
use fleet_proto::identity::Who;
use fleet_proto::ids::{OperatorName, TokenId};
use fleet_proto::quantity::Span;
use fleet_proto::role::Roles;
use fleet_proto::time::Timestamp;
use fleet_proto::wire;
use tonic::{Response, Status};

use super::documents::{answer, document, if_said};
use super::{Answer, Operators};
use crate::refusal;
use crate::rollout::input::{Reply, Request};
use crate::rollout::view;

/// For whoever does not say how long: as long as an operator's certificate is good.
const ACCESS_LIFE: Span = Span::from_secs(90 * 86_400);

impl Operators {
    /// The certificate is made before anything is written, so that a malformed request
    /// changes nothing; it is handed out when what it is for is durable.
    pub(super) async fn add_person(
        &self,
        by: &OperatorName,
        request: wire::AddOperatorRequest,
    ) -> Answer<wire::OperatorAdded> {
        let operator: OperatorName = request.operator.parse().map_err(refusal::name)?;
        let roles = read_roles(&request.grants)?;
        let issued = match request.certificate_request.as_slice() {
            [] => None,
            request => Some(
                self.trust
                    .issue_operator(request, &operator, Timestamp::now())
                    .map_err(|error| refusal::certificate(&error))?,
            ),
        };
        let order = Request::AddOperator {
            operator: operator.clone(),
            roles,
            certificates_from: issued.as_ref().map(|issued| issued.not_before),
        };
        self.submit(by, order).await?;
        Ok(Response::new(wire::OperatorAdded {
            operator: Some(document(&self.person(&operator))?),
            credentials: issued.map(|issued| wire::Credentials {
                certificate_chain: issued.chain_pem,
                authority: self.trust.authority_pem().to_owned(),
            }),
        }))
    }

    /// First durable, then felt: their connections end.
    pub(super) async fn remove_person(
        &self,
        by: &OperatorName,
        query: wire::RemoveOperatorRequest,
    ) -> Answer {
        let operator: OperatorName = query.operator.parse().map_err(refusal::name)?;
        let order = Request::RemoveOperator {
            operator: operator.clone(),
            environment: if_said(&query.environment)?,
        };
        self.submit(by, order).await?;
        let left = self.person(&operator);
        if left.roles.is_empty() {
            self.live.end(&Who::Operator(operator));
        }
        answer(&left)
    }

    pub(super) fn show_people(&self) -> Answer {
        let now = Timestamp::now();
        answer(&self.handle.read(|state| view::operators(state, now)))
    }

    fn person(&self, operator: &OperatorName) -> fleet_proto::view::OperatorView {
        let now = Timestamp::now();
        self.handle.read(|state| view::operator(state, operator, now))
    }

    pub(super) async fn new_access_token(
        &self,
        by: &OperatorName,
        request: wire::AccessTokenRequest,
    ) -> Answer<wire::TokenCreated> {
        let token = AccessToken::generate().map_err(|error| refusal::internal(&error))?;
        let order = Request::CreateAccessToken {
            operator: if_said(&request.operator)?.unwrap_or_else(|| by.clone()),
            token: token.id.clone(),
            secret_hash: token.secret_hash(),
            valid_for: if_said(&request.valid_for)?.unwrap_or(ACCESS_LIFE),
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

    pub(super) async fn end_access_token(&self, by: &OperatorName, id: &str) -> Answer {
        let token: TokenId = id.parse().map_err(refusal::name)?;
        match self.submit(by, Request::RevokeAccessToken { token }).await? {
            Reply::Access(operator) => answer(&self.person(&operator)),
            other => Err(Status::internal(format!("an unexpected answer: {other:?}"))),
        }
    }

    pub(super) fn begin_dashboard(&self, by: &OperatorName) -> Answer<wire::DashboardOpened> {
        let (code, expires_at) = self
            .access
            .logins()
            .begin(by, Timestamp::now())
            .map_err(|error| refusal::internal(&error))?;
        Ok(Response::new(wire::DashboardOpened {
            code,
            url: self.dashboard.clone(),
            expires_at_ms: expires_at.0,
        }))
    }
}

fn read_roles(grants: &[wire::Grant]) -> Result<Roles, Status> {
    let mut roles = Roles::default();
    for grant in grants {
        let role = grant.role.parse().map_err(refusal::usage)?;
        match if_said(&grant.environment)? {
            None => roles.everywhere = roles.everywhere.max(Some(role)),
            Some(environment) => {
                roles.within.insert(environment, role);
            }
        }
    }
    Ok(roles)
}
