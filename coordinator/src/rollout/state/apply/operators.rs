//! Operators, and what lets them in.

use std::collections::BTreeMap;

use fleet_proto::ids::{OperatorName, TokenId};
use fleet_proto::role::Roles;
use fleet_proto::time::Timestamp;

use super::IllegalEvent;
use crate::rollout::operator::{AccessGrant, Operator};
use crate::rollout::state::State;

impl State {
    pub(super) fn add_operator(
        &mut self,
        name: &OperatorName,
        roles: &Roles,
        certificates_from: Option<Timestamp>,
        by: &str,
        at: Timestamp,
    ) {
        let known = self.operators.remove(name);
        // One that was removed comes back without what it had before.
        let before = known.as_ref().map(|known| match known.roles.is_empty() {
            true => certificates_from.unwrap_or(at),
            false => known.certificates_from,
        });
        let operator = Operator {
            roles: roles.clone(),
            since: at,
            by: by.to_owned(),
            certificates_from: before.unwrap_or_default(),
            tokens: known.map(|known| known.tokens).unwrap_or_default(),
        };
        self.operators.insert(name.clone(), operator);
    }

    pub(super) fn remove_operator(
        &mut self,
        name: &OperatorName,
        by: &str,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let operator = self.operator(name)?;
        operator.roles = Roles::default();
        operator.tokens = BTreeMap::new();
        operator.since = at;
        by.clone_into(&mut operator.by);
        Ok(())
    }

    pub(super) fn create_access_token(
        &mut self,
        name: &OperatorName,
        token: &TokenId,
        grant: AccessGrant,
        at: Timestamp,
    ) {
        // An admin by the configuration's word has no record until it needs one.
        let operator = self.operators.entry(name.clone()).or_insert_with(|| Operator {
            roles: Roles::default(),
            since: at,
            by: grant.by.clone(),
            certificates_from: Timestamp::default(),
            tokens: BTreeMap::new(),
        });
        operator.tokens.retain(|_, known| known.is_kept(at));
        operator.tokens.insert(token.clone(), grant);
    }

    pub(super) fn revoke_access_token(
        &mut self,
        name: &OperatorName,
        token: &TokenId,
    ) -> Result<(), IllegalEvent> {
        self.operator(name)?.tokens.remove(token);
        Ok(())
    }

    fn operator(&mut self, name: &OperatorName) -> Result<&mut Operator, IllegalEvent> {
        self.operators
            .get_mut(name)
            .ok_or_else(|| IllegalEvent::NoOperator(name.clone()))
    }
}
