//! Who calls, by what they show: the first question of every call, over gRPC and HTTP alike.
//! What they may then do is one table, in `rollout::access`.

mod logins;

use std::sync::Arc;

use fleet_proto::access_token::AccessToken;
use fleet_proto::identity::{Peer, Who};
use fleet_proto::ids::OperatorName;
use fleet_proto::time::Timestamp;

use crate::driver::Handle;
use crate::rollout::access::{self, Question};
use crate::rollout::input::{Refusal, RefusalKind};

pub use logins::{Login, Logins};

#[derive(Clone)]
pub struct Access {
    handle: Handle,
    logins: Arc<Logins>,
}

impl Access {
    pub fn new(handle: Handle) -> Self {
        Self {
            handle,
            logins: Arc::default(),
        }
    }

    pub fn logins(&self) -> &Logins {
        &self.logins
    }

    /// TLS has verified the certificate; whether its holder is still the one is said here.
    pub fn by_certificate(&self, peer: &Peer) -> Result<OperatorName, Refusal> {
        let Who::Operator(operator) = &peer.identity.who else {
            return Err(Refusal::new(
                RefusalKind::NotAllowed,
                format!(
                    "this is for operators, and the certificate is of {}",
                    peer.identity.who
                ),
            )
            .hint("use the credentials in the coordinator's operators directory"));
        };
        if self
            .handle
            .read(|state| state.is_from_before(operator, peer.not_before))
        {
            return Err(Refusal::new(
                RefusalKind::NotAllowed,
                format!("operator {operator} was removed since this certificate was issued"),
            )
            .hint(format!(
                "an admin makes new credentials with `fleetctl operator add {operator} --out DIR`"
            )));
        }
        Ok(operator.clone())
    }

    /// Nobody learns whether a token was wrong, or was good once.
    pub fn by_token(&self, text: &str, now: Timestamp) -> Result<OperatorName, Refusal> {
        let token: AccessToken = text
            .parse()
            .map_err(|error| Refusal::new(RefusalKind::NotAllowed, format!("{error}")))?;
        let secret = token.secret_hash();
        let holder = self
            .handle
            .read(|state| state.access_token(&token.id, &secret, now).cloned());
        holder.ok_or_else(|| {
            Refusal::new(
                RefusalKind::NotAllowed,
                "this access token lets nobody in: it is unknown, was revoked or has expired",
            )
            .hint("fleetctl operator list shows which are open; fleetctl operator token makes one")
        })
    }

    pub fn may_ask(&self, operator: &OperatorName, question: Question<'_>) -> Result<(), Refusal> {
        self.handle
            .read(|state| access::may_ask(state, operator, question))
    }
}
