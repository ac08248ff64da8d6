//! Join tokens: a node's way in, once.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::ids::TokenId;

const PREFIX: &str = "fleet-join";

/// What a new node is given. It carries the authority's fingerprint, so that the node
/// knows whom it enrols with before it trusts anybody.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    pub id: TokenId,
    secret: [u8; 32],
    pub authority: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error(
        "not a join token; expected {PREFIX}.<id>.<secret>.<fingerprint>, as `fleetctl token create` prints it"
    )]
    Shape,
    #[error("the machine gave no randomness for a new token")]
    Randomness,
}

impl JoinToken {
    pub fn generate(authority: Digest) -> Result<Self, TokenError> {
        let mut random = [0; 36];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| TokenError::Randomness)?;
        let id: String = random[32..].iter().map(|byte| format!("{byte:02x}")).collect();
        let mut secret = [0; 32];
        secret.copy_from_slice(&random[..32]);
        Ok(Self {
            id: id.parse().map_err(|_| TokenError::Shape)?,
            secret,
            authority,
        })
    }

    /// What the coordinator keeps instead of the secret. The secret is 32 random
    /// bytes, so a plain hash cannot be guessed back.
    pub fn secret_hash(&self) -> Digest {
        Digest::of(&self.secret)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = Digest::from_bytes(self.secret);
        write!(f, "{PREFIX}.{}.{secret}.{}", self.id, self.authority)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "join token {}", self.id)
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let [PREFIX, id, secret, authority] = parts.as_slice() else {
            return Err(TokenError::Shape);
        };
        let digest = |hex: &str| hex.parse::<Digest>().map_err(|_| TokenError::Shape);
        Ok(Self {
            id: id.parse().map_err(|_| TokenError::Shape)?,
            secret: *digest(secret)?.as_bytes(),
            authority: digest(authority)?,
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_do_not_show_their_secret_in_logs() {
        let token = JoinToken::generate(Digest::of(b"ca")).unwrap();
        assert_eq!(token.to_string().parse(), Ok(token.clone()));
        assert_eq!(format!("{token:?}"), format!("join token {}", token.id));
        for bad in ["", "fleet-join.a.b.c", "hello", "fleet-join.a.b"] {
            assert_eq!(bad.parse::<JoinToken>(), Err(TokenError::Shape), "{bad}");
        }
    }
}
