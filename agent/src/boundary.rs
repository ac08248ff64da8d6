//! The instants between two durable acts, by name, for tests to stop the agent at.
//!
//! Only an agent built with the feature `boundaries` knows them when it runs; no package
//! has one. There `FLEET_STOP_AT=slot.switched:2` stops the whole process where it comes to
//! that boundary for the second time, after it has written its id to the file that
//! `FLEET_STOP_MARK` names. All boundaries that it passes are listed beside that file, in
//! `….passed`: by the agent and by the errands that it starts, so that they count together.

use fleet_proto::migration::MigrationStand;
use fleet_proto::session::Phase;

use crate::ledger::Step;

macro_rules! boundaries {
    ($($name:ident $word:literal)+) => {
        /// Each has just been done, and nothing that follows from it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Boundary { $($name),+ }

        impl Boundary {
            /// All of them, in about the order in which a release comes to them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }
        }
    };
}

boundaries! {
    LedgerWritten "ledger.written"
    LedgerKept "ledger.kept"
    LedgerRenamed "ledger.renamed"
    OrderTaken "ledger.order-taken"
    TreesReceived "fetch.trees-received"
    SlotBegun "slot.begun"
    ManifestWritten "fetch.manifest-written"
    TreesLaidOut "fetch.trees-laid-out"
    FilesCopied "fetch.files-copied"
    BlobsReceived "fetch.blobs-received"
    BlobsPlaced "fetch.blobs-placed"
    SlotSynced "slot.synced"
    SlotRenamed "slot.renamed"
    SlotBuilt "slot.built"
    IncomingRemoved "fetch.incoming-removed"
    Staged "ledger.staged"
    Migrating "ledger.migrating"
    StatusAsked "migration.status-asked"
    BackupBegun "migration.backup-begun"
    BackupMade "migration.backup-made"
    BackupKept "migration.backup-kept"
    MigrationBegun "ledger.migration-begun"
    TaskWritten "errand.task-written"
    ErrandBegun "errand.begun"
    CommandEnded "errand.command-ended"
    EndWritten "errand.end-written"
    UpEnded "migration.up-ended"
    MigrationVerified "migration.verified"
    Migrated "ledger.migrated"
    Activating "ledger.activating"
    UnitPrepared "unit.prepared"
    SwitchPrepared "slot.switch-prepared"
    UnitForgotten "unit.forgotten"
    UnitDisabled "unit.disabled"
    UnitStopped "unit.stopped"
    SlotSwitched "slot.switched"
    SwitchSynced "slot.switch-synced"
    UnitInstalled "unit.installed"
    SpecWritten "unit.spec-written"
    UnitReloaded "unit.reloaded"
    UnitStarted "unit.started"
    UnitEnabled "unit.enabled"
    UnitNoted "unit.noted"
    Verifying "ledger.verifying"
    Baking "ledger.baking"
    Done "ledger.done"
    Failed "ledger.failed"
    RollingBack "ledger.rolling-back"
    RolledBack "ledger.rolled-back"
    SlotsRetired "slots.retired"
    SlotsRemoved "slots.removed"
    UpdateBegun "update.begun"
    UpdateNoted "update.noted"
}

impl Boundary {
    /// What the ledger says of a step from now on.
    pub fn noted(step: &Step) -> Option<Self> {
        let stand = step.migration.as_ref().map(|migration| migration.stand);
        match step.phase {
            Phase::Pending | Phase::Fetching => None,
            Phase::Staged => Some(Self::Staged),
            Phase::Migrating if stand == Some(MigrationStand::NotStarted) => Some(Self::Migrating),
            Phase::Migrating => Some(Self::MigrationBegun),
            Phase::Activating => Some(Self::Activating),
            Phase::Verifying => Some(Self::Verifying),
            Phase::Baking => Some(Self::Baking),
            Phase::Done if stand.is_some() => Some(Self::Migrated),
            Phase::Done => Some(Self::Done),
            Phase::Failed => Some(Self::Failed),
            Phase::RollingBack => Some(Self::RollingBack),
            Phase::RolledBack => Some(Self::RolledBack),
        }
    }
}

#[cfg(not(feature = "boundaries"))]
#[inline(always)]
pub fn boundary(_nobody_stops_here: Boundary) {}

#[cfg(feature = "boundaries")]
pub fn boundary(here: Boundary) {
    if let Err(error) = stop::pass(here) {
        tracing::error!(boundary = here.word(), %error, "cannot be stopped at");
    }
}

#[cfg(feature = "boundaries")]
mod stop {
    use std::fs::File;
    use std::io::{self, Write};
    use std::path::Path;

    use nix::sys::signal::{Signal, raise};

    use super::Boundary;
    use crate::durable;

    pub fn pass(here: Boundary) -> io::Result<()> {
        let Some(mark) = std::env::var_os("FLEET_STOP_MARK") else {
            return Ok(());
        };
        let mark = Path::new(&mark);
        let passed = durable::beside(mark, "passed");
        let mut list = File::options().append(true).create(true).open(&passed)?;
        writeln!(list, "{}", here.word())?;
        let wanted = std::env::var("FLEET_STOP_AT").unwrap_or_default();
        let (word, number) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        if word != here.word() {
            return Ok(());
        }
        let passed = std::fs::read_to_string(&passed)?;
        let times = passed.lines().filter(|line| *line == word).count();
        if number.parse() == Ok(times) {
            std::fs::write(mark, std::process::id().to_string())?;
            // All threads of it, and for ever: only SIGKILL ends it, or the power.
            raise(Signal::SIGSTOP)?;
        }
        Ok(())
    }
}
