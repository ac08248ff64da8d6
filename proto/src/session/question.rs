//! What the coordinator asks a node on an operator's behalf, and what comes back. It names
//! apps and components and nothing else: what is read for it is the node's own affair.

use std::fmt;
use std::str::FromStr;

use crate::ids::{AppName, ComponentName};
use crate::quantity::Span;
use crate::session::WordError;
use crate::session::drift::{DriftReport, DriftWanted};
use crate::time::Timestamp;

/// Of one component. More than that is a matter for whatever collects logs.
pub const LINES_MAX: u32 = 10_000;
/// A longer line is cut, and says so.
pub const LINE_BYTES_MAX: usize = 8 << 10;
/// What stands behind a line that was cut.
pub const CUT: &str = "… (cut)";
/// Of what was written, in one piece; what is around it comes on top.
pub const PIECE_BYTES_MAX: usize = 64 << 10;
/// So many pieces an agent may send before the first was taken.
pub const PIECES_AHEAD: usize = 4;
/// That a node answers at once.
pub const QUESTIONS_PER_NODE: usize = 4;

/// Chosen at random by the coordinator: nobody else can answer in the place of the node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuestionId(String);

const ID_DIGITS: usize = 32;

#[derive(Debug, thiserror::Error)]
#[error("the machine gave no randomness for a question's id")]
pub struct NoRandomness;

impl QuestionId {
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut random = [0; ID_DIGITS / 2];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| NoRandomness)?;
        Ok(Self::of(random))
    }

    fn of(random: [u8; ID_DIGITS / 2]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whoever knows it may answer, so that it is in no log as a whole.
impl fmt::Debug for QuestionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.0.get(..8).unwrap_or_default())
    }
}

impl FromStr for QuestionId {
    type Err = WordError;
    fn from_str(text: &str) -> Result<Self, WordError> {
        let is_one = text.len() == ID_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match is_one {
            true => Ok(Self(text.to_owned())),
            false => Err(WordError::new("…", "question's id")),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub id: QuestionId,
    pub what: Asked,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Logs(LogsWanted),
    Drift(DriftWanted),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsWanted {
    pub app: AppName,
    /// None: all of them.
    pub component: Option<ComponentName>,
    /// How far back, by the node's own clock.
    pub since: Option<Span>,
    /// Of each component, the newest; at most [`LINES_MAX`].
    pub lines: u32,
    pub follow: bool,
}

/// What an agent sends for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerPiece {
    Begins(QuestionId),
    Lines(Vec<LogLine>),
    Drift(DriftReport),
    Refused(AnswerRefused),
    Ends,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub component: ComponentName,
    /// None: the log does not say.
    pub at: Option<Timestamp>,
    pub said: Said,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Line(String),
    /// So many lines that nobody took in time.
    Skipped(u64),
}

impl LogLine {
    pub fn bytes(&self) -> usize {
        match &self.said {
            Said::Line(text) => text.len(),
            Said::Skipped(_) => 0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRefused {
    pub why: String,
    pub hint: Option<String>,
    /// What was asked for is not there.
    pub is_absent: bool,
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_was_made_here_and_is_in_no_log() {
        let id = QuestionId::of([0xab; 16]);
        assert_eq!(id.as_str().parse::<QuestionId>().unwrap(), id);
        assert_eq!(format!("{id:?}"), "abababab…");
        for bad in ["", "abc", &"x".repeat(32), &"A".repeat(32), &"a".repeat(33)] {
            let error = bad.parse::<QuestionId>().unwrap_err();
            assert!(!error.to_string().contains("aaaa"), "{error}");
        }
    }
}
