//! Codes that begin a session in a browser: made for whoever has shown a certificate, good
//! for one use within two minutes. They live in memory: whoever loses one asks for another.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use fleet_proto::access_token::{AccessToken, AccessTokenError};
use fleet_proto::digest::Digest;
use fleet_proto::ids::OperatorName;
use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;

/// From the terminal to the browser.
const LIFE: Span = Span::from_secs(120);
/// Nobody opens more dashboards than this within two minutes; the oldest code is forgotten.
const CODES_MAX: usize = 256;

#[derive(Default)]
pub struct Logins {
    open: Mutex<BTreeMap<Digest, Login>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    pub operator: OperatorName,
    pub expires_at: Timestamp,
}

impl Logins {
    /// The code, and until when it is good.
    pub fn begin(
        &self,
        operator: &OperatorName,
        now: Timestamp,
    ) -> Result<(String, Timestamp), AccessTokenError> {
        let code = AccessToken::generate()?;
        let expires_at = now.plus(LIFE);
        let login = Login {
            operator: operator.clone(),
            expires_at,
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, known| known.expires_at > now);
        if open.len() >= CODES_MAX {
            let oldest = open.iter().min_by_key(|(_, known)| known.expires_at);
            if let Some(oldest) = oldest.map(|(hash, _)| *hash) {
                open.remove(&oldest);
            }
        }
        open.insert(code.secret_hash(), login);
        Ok((code.to_string(), expires_at))
    }

    /// Whose it was. It is of no more use then.
    pub fn take(&self, code: &str, now: Timestamp) -> Option<OperatorName> {
        let code: AccessToken = code.parse().ok()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let login = open.remove(&code.secret_hash())?;
        (login.expires_at > now).then_some(login.operator)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_good_once_and_not_for_long() {
        let (logins, now) = (Logins::default(), Timestamp(1_000_000));
        let ada: OperatorName = "ada".parse().unwrap();
        let (code, until) = logins.begin(&ada, now).unwrap();
        assert_eq!(logins.take(&code, now), Some(ada.clone()));
        assert_eq!(logins.take(&code, now), None);
        let (code, _) = logins.begin(&ada, now).unwrap();
        assert_eq!(logins.take(&code, until), None);
        assert_eq!(logins.take("fleet-access.x.y", now), None);
    }

    #[test]
    fn codes_are_bounded_and_the_oldest_goes() {
        let (logins, ada) = (Logins::default(), "ada".parse().unwrap());
        let (first, _) = logins.begin(&ada, Timestamp(1)).unwrap();
        for _ in 0..CODES_MAX {
            logins.begin(&ada, Timestamp(2)).unwrap();
        }
        assert_eq!(logins.take(&first, Timestamp(3)), None);
        assert_eq!(logins.open.lock().unwrap().len(), CODES_MAX);
    }
}
