//! What `fleetctl` says to the shell that called it.

/// Scripts branch on these four, so there is never a fifth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done as asked.
    Done,
    /// Refused, failed, rolled back, aborted, or a person has to act. A rollback that
    /// succeeded by itself is here too: what was asked for did not happen.
    Failed,
    /// The command line or a file it names makes no sense.
    Usage,
    /// The coordinator, or the node that was asked, cannot be reached; or it is not allowed.
    Unreachable,
}

impl Exit {
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
