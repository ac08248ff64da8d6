//! Operators: added, listed, removed, and let into the dashboard.

use fleet_proto::view::OperatorView;
use fleet_proto::wire;

use super::{Answer, Operator};
use crate::error::Error;

impl Operator {
    /// The certificate, where one was asked for.
    pub async fn add_operator(
        &mut self,
        request: wire::AddOperatorRequest,
    ) -> Result<(Answer<OperatorView>, Option<wire::Credentials>), Error> {
        let answer = self.client.add_operator(request).await;
        let added = answer.map_err(|status| self.refusal(&status))?.into_inner();
        let document = added
            .operator
            .ok_or_else(|| Error::Answer("it does not say who was added".to_owned()))?;
        Ok((Answer::read(document)?, added.credentials))
    }

    pub async fn remove_operator(
        &mut self,
        request: wire::RemoveOperatorRequest,
    ) -> Result<Answer<OperatorView>, Error> {
        let answer = self.client.remove_operator(request).await;
        self.document(answer)
    }

    pub async fn operators(&mut self) -> Result<Answer<Vec<OperatorView>>, Error> {
        let answer = self.client.list_operators(wire::Nothing {}).await;
        self.document(answer)
    }

    pub async fn create_access_token(
        &mut self,
        request: wire::AccessTokenRequest,
    ) -> Result<wire::TokenCreated, Error> {
        let answer = self.client.create_access_token(request).await;
        Ok(answer.map_err(|status| self.refusal(&status))?.into_inner())
    }

    pub async fn revoke_access_token(&mut self, id: &str) -> Result<Answer<OperatorView>, Error> {
        let query = wire::TokenQuery { id: id.to_owned() };
        let answer = self.client.revoke_access_token(query).await;
        self.document(answer)
    }

    pub async fn open_dashboard(&mut self) -> Result<wire::DashboardOpened, Error> {
        let answer = self.client.open_dashboard(wire::Nothing {}).await;
        Ok(answer.map_err(|status| self.refusal(&status))?.into_inner())
    }
}
