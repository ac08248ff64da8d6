//! Access tokens: how an operator without a certificate is let in, as a dashboard on a wall
//! or a script that reads.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::ids::TokenId;

/// Says to whoever finds one what it is.
const PREFIX: &str = "fleet-access";

#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    pub id: TokenId,
    secret: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessTokenError {
    #[error(
        "not an access token; expected {PREFIX}.<id>.<secret>, as `fleetctl operator add NAME --token` prints it"
    )]
    Shape,
    #[error("the machine gave no randomness for a new token")]
    Randomness,
}

impl AccessToken {
    pub fn generate() -> Result<Self, AccessTokenError> {
        let mut random = [0; 36];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| AccessTokenError::Randomness)?;
        let id: String = random[32..].iter().map(|byte| format!("{byte:02x}")).collect();
        let mut secret = [0; 32];
        secret.copy_from_slice(&random[..32]);
        Ok(Self {
            id: id.parse().map_err(|_| AccessTokenError::Shape)?,
            secret,
        })
    }

    /// What the coordinator keeps instead of the secret. The secret is 32 random bytes, so
    /// a plain hash cannot be guessed back, and a look-up by it tells nothing by its time.
    pub fn secret_hash(&self) -> Digest {
        Digest::of(&self.secret)
    }
}

impl fmt::Display for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}.{}.{}", self.id, Digest::from_bytes(self.secret))
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "access token {}", self.id)
    }
}

impl FromStr for AccessToken {
    type Err = AccessTokenError;
    fn from_str(text: &str) -> Result<Self, AccessTokenError> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let [PREFIX, id, secret] = parts.as_slice() else {
            return Err(AccessTokenError::Shape);
        };
        let secret: Digest = secret.parse().map_err(|_| AccessTokenError::Shape)?;
        Ok(Self {
            id: id.parse().map_err(|_| AccessTokenError::Shape)?,
            secret: *secret.as_bytes(),
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_do_not_show_their_secret_in_logs() {
        let token = AccessToken::generate().unwrap();
        assert_eq!(token.to_string().parse(), Ok(token.clone()));
        assert_eq!(format!("{token:?}"), format!("access token {}", token.id));
        for bad in [
            "",
            "fleet-access.a.b",
            "hello",
            "fleet-access.a",
            "fleet-join.a.b",
        ] {
            assert_eq!(bad.parse::<AccessToken>(), Err(AccessTokenError::Shape), "{bad}");
        }
    }
}
