//! Errors as a gRPC status: the sentence, then the hint on a line of its own.

use fleet_proto::ids::NameError;
use tonic::{Code, Status};

use crate::artifacts::ArtifactError;
use crate::backups::BackupError;
use crate::rollout::input::{Refusal, RefusalKind};
use crate::trust::TrustError;

pub fn status(refusal: &Refusal) -> Status {
    let code = match refusal.kind {
        RefusalKind::NotFound => Code::NotFound,
        RefusalKind::Usage => Code::InvalidArgument,
        RefusalKind::Refused => Code::FailedPrecondition,
        RefusalKind::NotAllowed => Code::PermissionDenied,
    };
    let message = match &refusal.hint {
        Some(hint) => format!("{}\nhint: {hint}", refusal.message),
        None => refusal.message.clone(),
    };
    Status::new(code, message)
}

/// What the caller wrote cannot be read as what it should be.
pub fn usage(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

pub fn name(error: NameError) -> Status {
    usage(error)
}

pub fn artifact(error: &ArtifactError) -> Status {
    let code = match error {
        ArtifactError::Unknown { .. } => Code::NotFound,
        ArtifactError::Damaged { .. } => Code::DataLoss,
        ArtifactError::NoRoom { .. } => Code::FailedPrecondition,
        ArtifactError::WrongDigest { .. }
        | ArtifactError::Digest(_)
        | ArtifactError::OutOfOrder { .. }
        | ArtifactError::CutShort { .. }
        | ArtifactError::TooLarge { .. } => Code::InvalidArgument,
        ArtifactError::BeyondEnd { .. } => Code::OutOfRange,
        ArtifactError::File { .. } | ArtifactError::Signatures { .. } | ArtifactError::Release(_) => {
            Code::Internal
        }
    };
    Status::new(code, with_sources(error))
}

pub fn backup(error: &BackupError) -> Status {
    match error {
        BackupError::Artifact(error) => artifact(error),
        BackupError::File { .. } => internal(error),
    }
}

/// A request for a certificate that cannot be granted: nearly always a malformed one.
pub fn certificate(error: &TrustError) -> Status {
    Status::invalid_argument(with_sources(error))
}

pub fn internal(error: &dyn std::error::Error) -> Status {
    Status::internal(with_sources(error))
}

/// The chain on one line: over the wire there is no other place for it.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
