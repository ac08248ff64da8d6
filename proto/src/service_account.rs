//! What a pod shows to get in: the token that its cluster projected into it. It says which
//! service account the pod runs as, and which pod it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::ids::{NAME_BYTES_MAX, NodeId};
use crate::jwt::{JwtError, Keys, Unverified};
use crate::quantity::Span;
use crate::time::Timestamp;

const SUBJECT: &str = "system:serviceaccount:";
/// The clocks of a cluster and of a coordinator differ by less, or something is wrong with one.
pub const LEEWAY: Span = Span::from_secs(60);
/// Of names in a cluster.
const CLUSTER_NAME_BYTES_MAX: usize = 253;
/// So much of a hash that no two pods of anybody come to the same, whoever tries.
const HASH_DIGITS: usize = 16;

/// `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceAccount {
    pub namespace: String,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a service account; write it as namespace/name")]
pub struct ServiceAccountError(String);

impl FromStr for ServiceAccount {
    type Err = ServiceAccountError;
    fn from_str(text: &str) -> Result<Self, ServiceAccountError> {
        text.split_once('/')
            .and_then(|(namespace, name)| Self::of(namespace, name))
            .ok_or_else(|| ServiceAccountError(text.chars().take(CLUSTER_NAME_BYTES_MAX).collect()))
    }
}

impl ServiceAccount {
    fn of(namespace: &str, name: &str) -> Option<Self> {
        (is_name(namespace) && is_name(name)).then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl TryFrom<String> for ServiceAccount {
    type Error = ServiceAccountError;
    fn try_from(text: String) -> Result<Self, ServiceAccountError> {
        text.parse()
    }
}

impl From<ServiceAccount> for String {
    fn from(account: ServiceAccount) -> String {
        account.to_string()
    }
}

fn is_name(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let ends_well = |text: &str| text.ends_with(|c: char| c.is_ascii_alphanumeric());
    !text.is_empty()
        && text.len() <= CLUSTER_NAME_BYTES_MAX
        && text.chars().all(fine)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && ends_well(text)
}

fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Continues "the service account's token was refused: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error(transparent)]
    Token(#[from] JwtError),
    #[error("what it says cannot be understood: {0}")]
    Claims(&'static str),
    #[error("it was made by another issuer than {expected}")]
    Issuer { expected: String },
    #[error("it is not for `{expected}`\nhint: project it with `audience: {expected}`")]
    Audience { expected: String },
    #[error("it expired at {0}")]
    Expired(Timestamp),
    #[error("it is not valid before {0}; do the clocks agree?")]
    NotYet(Timestamp),
    #[error("{0} is not among the cluster's `service_accounts`")]
    Account(ServiceAccount),
    #[error(
        "its pod is node {expected}, and not {asked}\nhint: leave `node` out of agent.toml; the agent finds it out"
    )]
    Name { expected: NodeId, asked: NodeId },
}

/// What a token says, believed or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    pub issuer: String,
    pub account: ServiceAccount,
    pub pod: Option<Pod>,
    audiences: Vec<String>,
    expires_at: Timestamp,
    not_before: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub uid: String,
}

#[derive(Deserialize)]
struct Written {
    iss: String,
    sub: String,
    aud: Audience,
    exp: u64,
    nbf: Option<u64>,
    iat: Option<u64>,
    #[serde(rename = "kubernetes.io")]
    bound: Option<WrittenBound>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What else it may be bound to, as to a machine, does not matter here.
#[derive(Deserialize)]
struct WrittenBound {
    namespace: String,
    serviceaccount: WrittenObject,
    pod: Option<WrittenObject>,
}

#[derive(Deserialize)]
struct WrittenObject {
    name: String,
    uid: String,
}

impl Claims {
    /// For who has the token from the cluster itself; nobody else may rest anything on it.
    pub fn of_own(token: &str) -> Result<Self, ProofError> {
        Self::read(Unverified::parse(token)?.claims())
    }

    fn read(bytes: &[u8]) -> Result<Self, ProofError> {
        let written: Written = serde_json::from_slice(bytes)
            .map_err(|_| ProofError::Claims("expected iss, sub, aud, exp and kubernetes.io"))?;
        let account = written
            .sub
            .strip_prefix(SUBJECT)
            .and_then(|names| names.split_once(':'))
            .and_then(|(namespace, name)| ServiceAccount::of(namespace, name))
            .ok_or(ProofError::Claims("its subject is no service account"))?;
        let pod = pod_of(&account, written.bound)?;
        let time = |seconds: u64| Timestamp(seconds.saturating_mul(1000));
        Ok(Self {
            issuer: written.iss,
            account,
            pod,
            audiences: match written.aud {
                Audience::One(one) => vec![one],
                Audience::Many(many) => many,
            },
            expires_at: time(written.exp),
            not_before: time(written.nbf.max(written.iat).unwrap_or(0)),
        })
    }

    /// Of the pod, where the token is bound to one. From all that tells it from any other pod
    /// of any cluster, so that none can take the name of another.
    pub fn node(&self) -> Option<NodeId> {
        let pod = self.pod.as_ref()?;
        let all = [&self.issuer, &self.account.namespace, &pod.name, &pod.uid];
        let all: Vec<String> = all.iter().map(|part| format!("{}:{part}", part.len())).collect();
        let hash = Digest::of(all.concat().as_bytes()).to_string();
        let readable: String = pod.name.chars().take(NAME_BYTES_MAX - 1 - HASH_DIGITS).collect();
        let hash: String = hash.chars().take(HASH_DIGITS).collect();
        format!("{readable}-{hash}").parse().ok()
    }
}

/// The same is said twice, and must be the same.
fn pod_of(account: &ServiceAccount, bound: Option<WrittenBound>) -> Result<Option<Pod>, ProofError> {
    let Some(bound) = bound else { return Ok(None) };
    if (&bound.namespace, &bound.serviceaccount.name) != (&account.namespace, &account.name) {
        return Err(ProofError::Claims("its subject and what it is bound to disagree"));
    }
    let Some(pod) = bound.pod else { return Ok(None) };
    if !is_name(&pod.name) || !is_uid(&pod.uid) {
        return Err(ProofError::Claims("its pod has an odd name"));
    }
    Ok(Some(Pod {
        name: pod.name,
        uid: pod.uid,
    }))
}

/// Whom a cluster may let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub audience: &'a str,
    pub accounts: &'a std::collections::BTreeSet<ServiceAccount>,
}

/// Who shows the token, by the word of the cluster that it came from.
pub fn verify(
    token: &str,
    expected: &Expected<'_>,
    keys: &Keys,
    asked: &NodeId,
    now: Timestamp,
) -> Result<Claims, ProofError> {
    let unverified = Unverified::parse(token)?;
    let claims = Claims::read(unverified.verify(keys)?)?;
    if claims.issuer != expected.issuer {
        return Err(ProofError::Issuer {
            expected: expected.issuer.to_owned(),
        });
    }
    if !claims
        .audiences
        .iter()
        .any(|audience| audience == expected.audience)
    {
        return Err(ProofError::Audience {
            expected: expected.audience.to_owned(),
        });
    }
    if claims.expires_at.plus(LEEWAY) <= now {
        return Err(ProofError::Expired(claims.expires_at));
    }
    if claims.not_before > now.plus(LEEWAY) {
        return Err(ProofError::NotYet(claims.not_before));
    }
    if !expected.accounts.contains(&claims.account) {
        return Err(ProofError::Account(claims.account));
    }
    match claims.node() {
        Some(node) if node != *asked => Err(ProofError::Name {
            expected: node,
            asked: asked.clone(),
        }),
        None if claims.pod.is_some() => Err(ProofError::Claims("its pod has no name for a node")),
        _ => Ok(claims),
    }
}

#[cfg(test)]
mod tests;
