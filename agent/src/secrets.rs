//! Secrets: had from the node's own providers, handed to processes, and told to nobody else.
//!
//! ```text
//! provider (file, exec, vault) ─→ Secret ─→ kept for the release, 0600 in 0700, on the disk
//!                                              ├─→ keeper, errand, pm2: the environment
//!                                              ├─→ a file of the component's user
//!                                              └─→ a unit's EnvironmentFile and credentials
//! ```
//!
//! No coordinator is asked and none is told: a release names a provider and a key, and a
//! failure says no more than that. What is had becomes known to [`redact`] at once.

pub mod fetch;
pub mod kept;
pub mod key;
pub mod provider;
pub mod redact;
mod secret;
mod vault;

pub use secret::{SECRET_BYTES_MAX, Secret, Unfit};

/// Why a secret cannot be had. Never with a word of what came instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Why(String);

impl Why {
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<Unfit> for Why {
    fn from(unfit: Unfit) -> Self {
        Self(unfit.to_string())
    }
}
