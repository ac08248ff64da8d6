//! How far an update of the agent is, and what comes next. Pure.
//!
//! ```text
//! begun ─→ installing ─→ trying ─→ ended: content
//!   │          │           │
//!   │          └───────────┴─→ going-back ─→ back ─→ ended: went back
//!   └─→ ended: untouched
//! ```
//!
//! Each stage is on the disk before anything is done that belongs to it, and all that is
//! done can be done again: whoever takes the record up goes on from there.

use fleet_proto::digest::Digest;
use fleet_proto::quantity::Span;
use serde::{Deserialize, Serialize};

use crate::process::proc::{self, ProcessId};

/// So often dpkg is asked to put the former package back; after that its program is put
/// there by itself. Dpkg fails for reasons that pass, as a disk that is full.
pub const PUT_BACK_ATTEMPTS_MAX: u32 = 5;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The fingerprint of the component whose update it is.
    pub of: Digest,
    /// The package's file, as the release brought it.
    pub file: Digest,
    pub to: Package,
    pub from: Package,
    /// The new agent has to reach a coordinator in this time.
    pub within: Span,
    pub stage: Stage,
}

/// By what a package is known when it is installed: two of one version may not be one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    pub version: String,
    /// Its `/usr/bin/fleet-agent`.
    pub program: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Nothing has been touched.
    Begun,
    /// Dpkg may have begun.
    Installing,
    /// Installed; the agent that ran then is to be another one.
    Trying {
        before: Option<Process>,
    },
    GoingBack {
        why: Why,
        attempts: u32,
    },
    /// The former package is installed; its agent is to be started.
    Back {
        why: Why,
    },
    Ended(End),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The new agent has reached a coordinator.
    Content,
    /// It was not even begun.
    Untouched(Why),
    WentBack(Why),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Why {
    pub text: String,
    pub fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    Release,
    Infrastructure,
    /// The new agent runs, and reaches nobody: whose fault that is shows when the former
    /// one does or does not.
    CutOff,
}

/// A process of this boot or of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub boot: String,
    pub id: ProcessId,
}

/// What is so at the moment. What a stage does not ask for is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub installed: Installed,
    /// There is a package to go back to.
    pub has_way_back: bool,
    /// The process that the agent's service runs.
    pub agent: Option<Process>,
    /// Why it is not ready, if it is not. Continues "it …".
    pub ill: Option<String>,
    /// Who has reached a coordinator, of those that live.
    pub reached: Option<Process>,
    /// The time to reach one is over.
    pub is_late: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    New,
    Former,
    /// Something else, or not all of it.
    Neither,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Note(Stage),
    Do(Act),
    Wait,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    KeepWayBack,
    Install,
    /// Of the agent's service.
    Restart,
    InstallFormer,
    PutFormerProgram,
}

impl Record {
    pub fn is_under_way(&self) -> bool {
        !matches!(self.stage, Stage::Ended(_))
    }

    pub fn next(&self, seen: &Seen) -> Next {
        match &self.stage {
            Stage::Begun if seen.has_way_back => Next::Note(Stage::Installing),
            Stage::Begun => Next::Do(Act::KeepWayBack),
            Stage::Installing if seen.installed == Installed::New => Next::Note(Stage::Trying {
                before: seen.agent.clone(),
            }),
            Stage::Installing => Next::Do(Act::Install),
            Stage::Trying { before } => self.try_on(before.as_ref(), seen),
            Stage::GoingBack { why, .. } if seen.installed == Installed::Former => {
                Next::Note(Stage::Back { why: why.clone() })
            }
            Stage::GoingBack { attempts, .. } if *attempts < PUT_BACK_ATTEMPTS_MAX => {
                Next::Do(Act::InstallFormer)
            }
            Stage::GoingBack { .. } => Next::Do(Act::PutFormerProgram),
            Stage::Back { .. } => Next::Do(Act::Restart),
            Stage::Ended(_) => Next::Over,
        }
    }

    fn try_on(&self, before: Option<&Process>, seen: &Seen) -> Next {
        let is_another = |process: &&Process| Some(*process) != before;
        if seen.reached.as_ref().filter(is_another).is_some() {
            return Next::Note(Stage::Ended(End::Content));
        }
        if seen.agent.is_some() && seen.agent.as_ref() == before {
            return Next::Do(Act::Restart);
        }
        if !seen.is_late {
            return Next::Wait;
        }
        let within = self.within;
        let why = match &seen.ill {
            Some(ill) => Why {
                text: format!("the new agent was not ready within {within}: it {ill}"),
                fault: Fault::Release,
            },
            None => Why {
                text: format!("the new agent reached no coordinator within {within}"),
                fault: Fault::CutOff,
            },
        };
        Next::Note(Stage::GoingBack { why, attempts: 0 })
    }

    /// Where it is after an act that did well, if looking would not show it.
    pub fn done(&self, act: Act) -> Option<Stage> {
        match (&self.stage, act) {
            (Stage::GoingBack { why, .. }, Act::PutFormerProgram) => Some(Stage::Back { why: why.clone() }),
            (Stage::Back { why }, Act::Restart) => Some(Stage::Ended(End::WentBack(why.clone()))),
            _ => None,
        }
    }

    /// Where it is after an act that failed.
    pub fn failed(&self, act: Act, failed: Why, installed: Installed) -> Stage {
        let with_failed = |why: &Why| Why {
            text: format!("{}; {}", why.text, failed.text),
            fault: why.fault,
        };
        match (&self.stage, act) {
            (Stage::Begun, _) => Stage::Ended(End::Untouched(failed)),
            (Stage::Installing, _) if installed == Installed::Former => Stage::Ended(End::Untouched(failed)),
            (Stage::GoingBack { why, attempts }, Act::InstallFormer) => Stage::GoingBack {
                why: why.clone(),
                attempts: attempts + 1,
            },
            (Stage::GoingBack { why, .. } | Stage::Back { why }, _) => {
                Stage::Ended(End::WentBack(with_failed(why)))
            }
            (Stage::Installing | Stage::Trying { .. } | Stage::Ended(_), _) => Stage::GoingBack {
                why: failed,
                attempts: 0,
            },
        }
    }
}

impl Process {
    pub fn of(id: ProcessId) -> Self {
        Self {
            boot: proc::boot_id(),
            id,
        }
    }

    pub fn own() -> Option<Self> {
        ProcessId::own().map(Self::of)
    }

    pub fn is_alive(&self) -> bool {
        self.boot == proc::boot_id() && self.id.is_alive()
    }
}

#[cfg(test)]
mod tests;
