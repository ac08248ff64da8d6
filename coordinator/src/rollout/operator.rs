//! What the coordinator knows of one operator.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use fleet_proto::digest::Digest;
use fleet_proto::ids::{OperatorName, TokenId};
use fleet_proto::quantity::Span;
use fleet_proto::role::{Role, Roles};
use fleet_proto::time::Timestamp;

use super::state::State;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// None at all: removed. The record stays, for the certificates that are still about.
    pub roles: Roles,
    pub since: Timestamp,
    pub by: String,
    /// Certificates that begin before this are of somebody who was removed.
    pub certificates_from: Timestamp,
    #[serde(default)]
    pub tokens: BTreeMap<TokenId, AccessGrant>,
}

/// An access token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessGrant {
    pub secret_hash: Digest,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub by: String,
}

impl AccessGrant {
    /// How long one that has expired is still told apart from one that never was.
    const KEPT: Span = Span::from_secs(30 * 86_400);

    pub fn is_open(&self, now: Timestamp) -> bool {
        self.expires_at > now
    }

    pub fn is_kept(&self, now: Timestamp) -> bool {
        self.expires_at.plus(Self::KEPT) > now
    }
}

impl State {
    /// What the operator may; none at all for one that is not known here, or was removed.
    pub fn roles_of(&self, operator: &OperatorName) -> Roles {
        if self.admins.contains(operator) {
            return Roles::everywhere(Role::Admin);
        }
        let known = self.operators.get(operator);
        known.map(|known| known.roles.clone()).unwrap_or_default()
    }

    /// Whether a certificate of theirs that begins then is of a time before they were removed.
    pub fn is_from_before(&self, operator: &OperatorName, begins: Timestamp) -> bool {
        let known = self.operators.get(operator);
        known.is_some_and(|known| begins < known.certificates_from)
    }

    /// Whose access token has this secret, as long as it lets anybody in.
    pub fn access_token(&self, id: &TokenId, secret: &Digest, now: Timestamp) -> Option<&OperatorName> {
        let holds = |operator: &Operator| {
            let token = operator.tokens.get(id);
            token.is_some_and(|token| token.secret_hash == *secret && token.is_open(now))
        };
        let mut operators = self.operators.iter();
        operators
            .find(|(_, operator)| holds(operator))
            .map(|(name, _)| name)
    }
}
