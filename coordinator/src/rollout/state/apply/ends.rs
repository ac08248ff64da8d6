//! The end of a rollout, and what is remembered of it.

use std::collections::{BTreeMap, BTreeSet};

use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::migration::MigrationStand;
use fleet_proto::quantity::Span;
use fleet_proto::session::{Order, Phase};
use fleet_proto::time::Timestamp;

use super::IllegalEvent;
use crate::rollout::event::{Outcome, RolloutKind};
use crate::rollout::node::Node;
use crate::rollout::state::{Course, KnownBad, Rollout, State};
use crate::rollout::way_back::is_shut_for;

/// What `status`, `history` and a rollback by number look back on; a state that held all
/// of them would make every start slower than the one before.
const ENDED_ROLLOUTS_KEPT: usize = 200;

/// Catch-ups come and go with every pod; they must not push out what people look back on.
const ENDED_CATCH_UPS_KEPT: usize = 50;

/// After a catch-up that came to nothing for want of infrastructure, its own retries
/// included. A node that comes back anew is not made to wait.
const CATCH_UP_AGAIN: Span = Span::from_secs(600);

impl State {
    pub(super) fn end_rollout(
        &mut self,
        number: RolloutNumber,
        outcome: Outcome,
        why: Option<&String>,
        (rollback, superseded_by): (Option<RolloutNumber>, Option<RolloutNumber>),
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let rollout = self.open_rollout(number)?;
        rollout.course = Course::Ended {
            outcome,
            why: why.cloned(),
            at,
        };
        rollout.rollback = rollback;
        rollout.superseded_by = superseded_by;
        let rollout = rollout.clone();
        self.active.remove(&number);
        self.withdraw_deploys(&rollout);
        match outcome {
            Outcome::Succeeded => self.note_good_release(&rollout),
            Outcome::Failed => self.note_failed_release(number, why, at)?,
            Outcome::Aborted => {}
        }
        match (outcome, &rollout.kind) {
            (_, RolloutKind::CatchUp { .. }) => self.postpone_catch_up(&rollout, outcome, at),
            (Outcome::Succeeded, _) => self.record_desired(&rollout),
            (Outcome::Aborted, RolloutKind::Forward { .. }) => {
                self.keep_what_is_proven(&rollout);
                self.keep_what_cannot_go_back(&rollout);
            }
            (_, RolloutKind::Rollback { .. }) => self.want_again(&rollout, outcome),
            _ => {}
        }
        self.forget_old_rollouts();
        self.note_wishes_about(&rollout.plan.app);
        Ok(())
    }

    /// A release that failed here is remembered until it does well here: whatever people
    /// make of the rollout that it failed in.
    pub(super) fn note_failed_release(
        &mut self,
        number: RolloutNumber,
        why: Option<&String>,
        at: Timestamp,
    ) -> Result<(), IllegalEvent> {
        let rollout = self.rollout(number)?;
        let RolloutKind::Forward { release } = &rollout.kind else {
            return Ok(());
        };
        let (release, plan) = (release.clone(), &rollout.plan);
        let (app, environment) = (plan.app.clone(), plan.environment.clone());
        if let Some(within) = self.environments.get_mut(&environment) {
            let bad = KnownBad {
                release: release.clone(),
                rollout: number,
                why: why.cloned().unwrap_or_default(),
                at,
            };
            within
                .known_bad
                .entry(app)
                .or_default()
                .insert(release.version, bad);
        }
        Ok(())
    }

    fn note_good_release(&mut self, rollout: &Rollout) {
        let RolloutKind::Forward { release } = &rollout.kind else {
            return;
        };
        let within = self.environments.get_mut(&rollout.plan.environment);
        let known = within.and_then(|within| within.known_bad.get_mut(&rollout.plan.app));
        if let Some(known) = known {
            known.remove(&release.version);
        }
    }

    /// What could not be had is not asked for again at once.
    fn postpone_catch_up(&mut self, rollout: &Rollout, outcome: Outcome, at: Timestamp) {
        let aborted = outcome == Outcome::Aborted && rollout.superseded_by.is_none();
        let connected: BTreeSet<NodeId> = rollout
            .steps
            .keys()
            .filter(|id| self.nodes.get(*id).is_some_and(Node::is_connected))
            .cloned()
            .collect();
        for (id, step) in &rollout.steps {
            let app = &rollout.plan.app;
            let stands = self.nodes.get_mut(id).and_then(|node| node.apps.get_mut(app));
            let is_connected = connected.contains(id);
            let Some(stands) = stands else { continue };
            if step.has_given_up() || (is_connected && step.phase == Phase::Pending) {
                stands.catch_up_after = at.plus(CATCH_UP_AGAIN);
            }
            // Whoever stops it does not want it to begin again.
            if aborted && step.phase != Phase::Done {
                rollout
                    .release()
                    .into_iter()
                    .for_each(|release| stands.note_left(release));
            }
        }
    }

    /// Nodes of waves that passed stay where an aborted rollout brought them.
    fn keep_what_is_proven(&mut self, rollout: &Rollout) {
        for (id, step) in &rollout.steps {
            let stands = self
                .nodes
                .get_mut(id)
                .and_then(|node| node.apps.get_mut(&rollout.plan.app));
            if let Some(stands) = stands.filter(|_| step.phase == Phase::Done) {
                stands.wanted = rollout.release().cloned();
            }
        }
    }

    /// Where there is no way back, what was on its way stays too: it is not brought back by a
    /// catch-up, and no further either.
    fn keep_what_cannot_go_back(&mut self, rollout: &Rollout) {
        let on_its_way = rollout.steps.iter().filter(|(_, step)| step.is_in_flight());
        let nodes: BTreeSet<NodeId> = on_its_way.map(|(id, _)| id.clone()).collect();
        let Some(release) = rollout.release().filter(|_| rollout.superseded_by.is_none()) else {
            return;
        };
        if is_shut_for(self, rollout, &nodes).is_none() {
            return;
        }
        for id in &nodes {
            let node = self.nodes.get_mut(id);
            if let Some(stands) = node.and_then(|node| node.apps.get_mut(&rollout.plan.app)) {
                stands.wanted = Some(release.clone());
                stands.note_left(release);
            }
        }
    }

    /// A node that was away is not told to install something by a rollout that is over:
    /// nobody would count it, wait for it, or keep what it does within limits.
    fn withdraw_deploys(&mut self, rollout: &Rollout) {
        let to_come = rollout
            .steps
            .iter()
            .filter(|(_, step)| !step.phase.is_settled() && step.is_issued());
        // One that migrates may be outside the plan.
        let migrates = rollout.migration.iter().map(|run| &run.node);
        let migrates = migrates.filter(|id| !rollout.steps.contains_key(*id));
        for id in to_come.map(|(id, _)| id).chain(migrates) {
            let app = self
                .nodes
                .get_mut(id)
                .and_then(|node| node.apps.get_mut(&rollout.plan.app));
            if let Some(app) = app {
                app.order.take_if(|issued| {
                    issued.number == rollout.number
                        && !matches!(issued.order, Order::Commit | Order::Revert { .. })
                });
            }
        }
    }

    /// The journal keeps what the state forgets.
    fn forget_old_rollouts(&mut self) {
        // What a node or a person has yet to say of a migration is said of its rollout.
        let within = self.environments.values();
        let records = within
            .flat_map(|within| within.migrations.values())
            .flat_map(BTreeMap::values);
        let in_doubt = records.filter(|record| record.stand != MigrationStand::Done);
        let is_in_doubt: BTreeSet<RolloutNumber> = in_doubt.map(|record| record.rollout).collect();
        for (beside, kept) in [(false, ENDED_ROLLOUTS_KEPT), (true, ENDED_CATCH_UPS_KEPT)] {
            let ended: Vec<RolloutNumber> = self
                .rollouts
                .values()
                .filter(|rollout| rollout.is_ended() && rollout.beside == beside)
                .map(|rollout| rollout.number)
                .filter(|number| !is_in_doubt.contains(number))
                .collect();
            for number in &ended[..ended.len().saturating_sub(kept)] {
                self.rollouts.remove(number);
            }
        }
    }
}
