//! What follows from an outcome, in the order in which an agent writes and acts.

use std::collections::BTreeSet;

use fleet_agent::install::Outcome;
use fleet_proto::ids::AppName;
use fleet_proto::session::{Failure, FailureClass, HistoryCause};
use fleet_proto::time::Timestamp;

use super::Storm;
use super::agenda::Thing;

/// However a node puts itself back, it is done by then, if its agent lives: three tries
/// with each of the good releases, and a minute of checks.
const BACK_WITHIN_MS: u64 = 600_000;

impl Storm {
    pub(super) fn settle(&mut self, node: usize, app: &AppName, outcome: &Outcome) -> anyhow::Result<()> {
        let machine = &self.machines[node];
        let mut ledger = machine.ledger.clone();
        let told = machine
            .agent
            .as_ref()
            .is_some_and(|agent| agent.session.is_some());
        let Some(record) = ledger.apps.get_mut(app) else {
            return Ok(());
        };
        let before = record.clone();
        let now = Timestamp(self.now);
        // What came too late is nobody's outcome.
        let Ok(put_back) = record.settle(outcome.clone(), now) else {
            return Ok(());
        };
        let after = record.clone();
        self.tell(|storm| {
            let phase = after.step.as_ref().map(|step| step.phase);
            format!("{}: {outcome:?}, now {phase:?}", storm.machines[node].id)
        });
        self.witness.outcome_settled(&before, &after, outcome)?;
        if let Some(back) = put_back {
            if !told {
                ledger.record(app, back.from, back.to, HistoryCause::ByItself, back.why, now);
            }
            let (order, app) = (after.fence_seen, app.clone());
            let life = self.machines[node].agent.as_ref().map_or(0, |agent| agent.life);
            let at = self.now + BACK_WITHIN_MS;
            self.agenda.add(
                at,
                Thing::MustBeBack {
                    node,
                    life,
                    app,
                    order,
                },
            );
        }
        if self.dies_here(node) {
            return Ok(());
        }
        self.save(node, ledger)?;
        if self.dies_here(node) {
            return Ok(());
        }
        self.proceed(node, app)
    }

    /// `fleet-agent rollback`, by a person on the node, with its agent or without.
    pub(super) fn put_back_by_hand(&mut self, node: usize, app: &AppName) -> anyhow::Result<()> {
        let now = Timestamp(self.now);
        let mut ledger = self.machines[node].ledger.clone();
        let Ok(moved) = fleet_agent::offline::put_back(&mut ledger, app, None, "root", now) else {
            return Ok(());
        };
        self.tell(|storm| {
            let from = moved.from.as_ref().map(ToString::to_string);
            format!(
                "{}: put back by hand from {from:?} to {}",
                storm.machines[node].id, moved.to
            )
        });
        if self.machines[node].agent.is_some() {
            self.save(node, ledger)?;
            return self.proceed(node, app);
        }
        self.witness
            .may_start(&self.machines[node], app, Some(&moved.to))?;
        if !ledger.service.drained {
            self.machines[node].running.insert(app.clone(), moved.to);
        }
        if let Some(record) = ledger.apps.get_mut(app) {
            record.settle(Outcome::PutBack { ill: None }, now)?;
        }
        self.save(node, ledger)
    }

    pub(super) fn apps_on(&self, node: usize) -> BTreeSet<AppName> {
        self.machines[node].ledger.apps.keys().cloned().collect()
    }
}

pub fn failure(class: FailureClass, message: &str) -> Failure {
    Failure {
        class,
        check: Some("web/health".to_owned()),
        message: message.to_owned(),
        figure: None,
        limit: None,
        log_tail: vec![],
    }
}
