//! A node that starts without an identity gets one by itself, where it is told how: in a pod
//! there is nobody who would type it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use fleet_proto::token::{JoinToken, TokenError};

use super::{EnrolError, Proof, enrol};
use crate::config::{Config, EnrolAtStart, ProofFile};
use crate::effects::chain;
use crate::identity::{self, IdentityError};
use crate::layout::Layout;
use crate::link::backoff::Backoff;

#[derive(Debug, thiserror::Error)]
pub enum AtStartError {
    #[error("cannot read the token in {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("what is in {} is {source}", .path.display())]
    Token { path: PathBuf, source: TokenError },
    #[error(transparent)]
    Enrol(#[from] EnrolError),
}

/// Whether there is none yet. One that cannot be read is not replaced.
pub fn is_missing(config: &Config, layout: &Layout, path: &Path) -> bool {
    let looked = identity::read(layout, path, &config.node);
    matches!(looked, Err(IdentityError::None { .. }))
}

/// What a coordinator refuses is refused; one that cannot be reached is tried again, with
/// pauses that grow and that no two pods have in common, for as long as there is patience.
pub async fn enrol_patiently(
    config: &Config,
    layout: &Layout,
    how: &EnrolAtStart,
) -> Result<(), AtStartError> {
    let began = Instant::now();
    let mut backoff = Backoff::default();
    loop {
        // Read each time: a cluster renews what it has projected.
        let proof = read(&how.proof)?;
        let error = match enrol(config, layout, &proof).await {
            Ok(peer) => {
                tracing::info!(identity = %peer.identity, until = %peer.not_after, "enrolled");
                return Ok(());
            }
            Err(error @ EnrolError::Unreachable { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        let pause = backoff.pause();
        if began.elapsed() + pause > how.patience.as_duration() {
            return Err(error.into());
        }
        tracing::warn!(error = chain(&error), again_in = ?pause, "not enrolled yet");
        tokio::time::sleep(pause).await;
    }
}

fn read(file: &ProofFile) -> Result<Proof, AtStartError> {
    let (ProofFile::Token(path) | ProofFile::ServiceAccount { path, .. }) = file;
    let text = std::fs::read_to_string(path).map_err(|source| AtStartError::Read {
        path: path.clone(),
        source,
    })?;
    let text = text.trim();
    Ok(match file {
        ProofFile::Token(_) => {
            let token = text.parse::<JoinToken>();
            Proof::Token(token.map_err(|source| AtStartError::Token {
                path: path.clone(),
                source,
            })?)
        }
        ProofFile::ServiceAccount { authority, .. } => Proof::ServiceAccount {
            token: text.to_owned(),
            authority: *authority,
        },
    })
}
