//! Migrations: changes to a database that a release needs, once for each database.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::quantity::Span;
use crate::session::WordError;

/// What a rollout has to know of a release's migration; how it is done is in its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrationPlan {
    /// It has a command that says whether it was applied.
    pub has_status: bool,
    /// A step that takes away what the old release needed, after the last wave.
    pub has_contract: bool,
    pub undo: Undo,
    pub timeout: Span,
}

impl Default for MigrationPlan {
    fn default() -> Self {
        Self {
            has_status: false,
            has_contract: false,
            undo: Undo::default(),
            timeout: Span::from_secs(300),
        }
    }
}

/// What becomes of it when its release is rolled back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// It stays: the old release runs with it too.
    #[default]
    Keep,
    /// It is undone, when no node runs the release any more.
    Down,
    /// It cannot be undone, and the old release may not run on what it leaves.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationAct {
    Up,
    /// Asks, and changes nothing.
    Status,
    Down,
    Contract,
}

/// How far an act came, as the node that was told it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationStand {
    /// Nothing was done. Of `status`: it was not applied.
    NotStarted,
    Started,
    /// Of `status`: it was applied.
    Done,
    /// It came to its end, and said that it failed.
    Failed,
    /// It was begun, and nobody saw its end.
    Unknown,
}

impl MigrationAct {
    pub const ALL: [Self; 4] = [Self::Up, Self::Status, Self::Down, Self::Contract];

    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Status => "status",
            Self::Down => "down",
            Self::Contract => "contract",
        }
    }
}

impl MigrationStand {
    pub const ALL: [Self; 5] = [
        Self::NotStarted,
        Self::Started,
        Self::Done,
        Self::Failed,
        Self::Unknown,
    ];

    pub const fn word(self) -> &'static str {
        match self {
            Self::NotStarted => "not-started",
            Self::Started => "started",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// The node has nothing more to say of it.
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Started)
    }
}

impl fmt::Display for MigrationAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl fmt::Display for MigrationStand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for MigrationAct {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        Self::ALL
            .into_iter()
            .find(|act| act.word() == text)
            .ok_or_else(|| WordError::new(text, "migration's act"))
    }
}

impl FromStr for MigrationStand {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        Self::ALL
            .into_iter()
            .find(|stand| stand.word() == text)
            .ok_or_else(|| WordError::new(text, "migration's stand"))
    }
}
