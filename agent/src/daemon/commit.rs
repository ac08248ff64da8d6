//! The ledger, written down.

use std::time::Instant;

use super::{Daemon, DaemonError};
use crate::ledger::{AppRecord, Ledger};

impl Daemon {
    /// On the disk before anything follows from it.
    pub(super) async fn commit(&mut self, ledger: Ledger) -> Result<(), DaemonError> {
        for (app, record) in &ledger.apps {
            // What was known of one release says nothing of another.
            if self.record(app).and_then(AppRecord::current_release) != record.current_release() {
                self.health.remove(app);
            }
        }
        let held = &mut self.held;
        let is_news = ledger != *held.ledger.ledger();
        let begun = Instant::now();
        tokio::task::block_in_place(|| held.write(ledger))?;
        if is_news {
            self.figures.note_ledger_written(begun.elapsed());
        }
        Ok(())
    }
}
