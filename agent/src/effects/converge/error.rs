//! Why a release cannot be made to run, and whose fault that is.

use std::path::PathBuf;

use fleet_proto::ids::ComponentName;
use fleet_proto::quantity::Span;
use fleet_proto::release::{HookName, Platform, ReleaseRef};
use fleet_proto::session::FailureClass;

use super::{ConfigFileError, HookError, SecretError};
use crate::durable::FileError;
use crate::process::managers::ProcessError;
use crate::slots::SlotError;
use crate::template::TemplateError;

#[derive(Debug, thiserror::Error)]
pub enum ConvergeError {
    #[error(transparent)]
    Slot(#[from] SlotError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the files of {release} on the disk are not as they were laid out")]
    Damaged { release: ReleaseRef },
    #[error("the app is being stopped together with the agent")]
    Shut,
    #[error("component {component} cannot be described")]
    Template {
        component: ComponentName,
        #[source]
        source: TemplateError,
    },
    #[error("component {component} has no artifact for {}", Platform::here())]
    NoArtifact { component: ComponentName },
    #[error("the unit file {} of component {component} {why}", .path.display())]
    UnitFile {
        component: ComponentName,
        path: PathBuf,
        why: &'static str,
    },
    #[error("component {component}")]
    Secret {
        component: ComponentName,
        #[source]
        source: SecretError,
    },
    #[error("component {component} cannot be configured")]
    ConfigFile {
        component: ComponentName,
        #[source]
        source: ConfigFileError,
    },
    #[error("component {component} cannot be started")]
    Start {
        component: ComponentName,
        #[source]
        source: ProcessError,
    },
    #[error("component {component} cannot be stopped")]
    Stop {
        component: ComponentName,
        #[source]
        source: ProcessError,
    },
    #[error("hook {hook} of component {component} failed")]
    Hook {
        component: ComponentName,
        hook: HookName,
        #[source]
        source: HookError,
    },
}

impl ConvergeError {
    /// Only what the release itself says can be the release's fault.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Template { .. }
            | Self::NoArtifact { .. }
            | Self::UnitFile { .. }
            | Self::ConfigFile { .. } => FailureClass::Release,
            Self::Slot(_) | Self::File(_) | Self::Damaged { .. } | Self::Shut | Self::Secret { .. } => {
                FailureClass::Infrastructure
            }
            Self::Start { source, .. } | Self::Stop { source, .. } => source.class(),
            Self::Hook { source, .. } => source.class(),
        }
    }

    /// Another release might start where this one does not.
    pub fn is_of_the_target(&self) -> bool {
        match self {
            Self::Slot(error) => !matches!(error, SlotError::File(_)),
            Self::Damaged { .. } => true,
            Self::Stop { .. } => false,
            _ => self.class() == FailureClass::Release,
        }
    }

    pub fn is_no_room(&self) -> bool {
        match self {
            Self::Slot(SlotError::File(error)) | Self::File(error) => error.is_no_room(),
            Self::Start { source, .. } => source.is_no_room(),
            _ => false,
        }
    }

    /// What was to be made so is not wanted any more.
    pub fn is_interrupted(&self) -> bool {
        match self {
            Self::Start { source, .. } => source.is_interrupted(),
            Self::Secret { source, .. } => matches!(source, SecretError::Interrupted),
            Self::Hook { source, .. } => matches!(source, HookError::Interrupted),
            _ => false,
        }
    }

    /// No coordinator was reached within this time on what was started.
    pub fn cut_off(&self) -> Option<Span> {
        match self {
            Self::Start { source, .. } => source.cut_off(),
            _ => None,
        }
    }

    pub fn component(&self) -> Option<&ComponentName> {
        match self {
            Self::Template { component, .. }
            | Self::NoArtifact { component }
            | Self::UnitFile { component, .. }
            | Self::ConfigFile { component, .. }
            | Self::Secret { component, .. }
            | Self::Start { component, .. }
            | Self::Stop { component, .. }
            | Self::Hook { component, .. } => Some(component),
            Self::Slot(_) | Self::File(_) | Self::Damaged { .. } | Self::Shut => None,
        }
    }
}
