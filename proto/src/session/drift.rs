//! What on a node is not as Fleet left it, as the node itself has looked.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::WordError;
use crate::ids::{AppName, ComponentName};

/// Told of one node; the rest is counted.
pub const FINDINGS_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftWanted {
    /// None: all of them.
    pub app: Option<AppName>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriftReport {
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub more: u64,
    /// What could not be looked at, and why; there may be drift in it.
    pub unknown: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub app: AppName,
    /// Absent where it is of the app as a whole.
    pub component: Option<ComponentName>,
    pub what: Drifted,
    /// A path, a unit, a process.
    pub subject: String,
    pub expected: String,
    pub found: String,
    /// What puts it right.
    pub mend: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drifted {
    FileChanged,
    FileAdded,
    FileMissing,
    ModeChanged,
    UnitChanged,
    UnitAdded,
    UnitMissing,
    UnitMasked,
    UnitDisabled,
    UnitNotRead,
    OtherRelease,
    OtherProcess,
    OtherDirectory,
    LinkElsewhere,
    Stopped,
}

impl Drifted {
    pub const ALL: [Self; 15] = [
        Self::FileChanged,
        Self::FileAdded,
        Self::FileMissing,
        Self::ModeChanged,
        Self::UnitChanged,
        Self::UnitAdded,
        Self::UnitMissing,
        Self::UnitMasked,
        Self::UnitDisabled,
        Self::UnitNotRead,
        Self::OtherRelease,
        Self::OtherProcess,
        Self::OtherDirectory,
        Self::LinkElsewhere,
        Self::Stopped,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::FileChanged => "file-changed",
            Self::FileAdded => "file-added",
            Self::FileMissing => "file-missing",
            Self::ModeChanged => "mode-changed",
            Self::UnitChanged => "unit-changed",
            Self::UnitAdded => "unit-added",
            Self::UnitMissing => "unit-missing",
            Self::UnitMasked => "unit-masked",
            Self::UnitDisabled => "unit-disabled",
            Self::UnitNotRead => "unit-not-read",
            Self::OtherRelease => "other-release",
            Self::OtherProcess => "other-process",
            Self::OtherDirectory => "other-directory",
            Self::LinkElsewhere => "link-elsewhere",
            Self::Stopped => "stopped",
        }
    }
}

impl FromStr for Drifted {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        let mut all = Self::ALL.into_iter();
        all.find(|drifted| drifted.word() == text)
            .ok_or_else(|| WordError::new(text, "kind of drift"))
    }
}
