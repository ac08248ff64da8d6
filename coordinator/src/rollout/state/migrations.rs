//! What is known of each migration: told, begun, done, undone.

use std::collections::BTreeMap;

use fleet_proto::ids::{AppName, EnvironmentName, NodeId, RolloutNumber};
use fleet_proto::migration::{MigrationAct, MigrationStand};
use fleet_proto::release::ReleaseRef;
use fleet_proto::time::Timestamp;

use super::{MigrationRecord, MigrationRun, Rollout, State};

impl State {
    /// All that is known of one database.
    pub fn migrations_of(
        &self,
        app: &AppName,
        environment: &EnvironmentName,
    ) -> impl Iterator<Item = &MigrationRecord> {
        let within = self.environments.get(environment);
        let records = within.and_then(|within| within.migrations.get(app));
        records.into_iter().flat_map(BTreeMap::values)
    }

    /// Of the newest order that this rollout gave the node, be it in its plan or not.
    pub fn last_generation(&self, rollout: &Rollout, node: &NodeId) -> u32 {
        if let Some(step) = rollout.steps.get(node) {
            return step.generation;
        }
        let stands = self.nodes.get(node).and_then(|node| node.app(&rollout.plan.app));
        let order = stands.and_then(|stands| stands.order.as_ref());
        order
            .filter(|issued| issued.number == rollout.number)
            .map_or(0, |issued| issued.generation)
    }

    /// From the moment of the order it may have begun.
    pub(super) fn tell_to_migrate(
        &mut self,
        number: RolloutNumber,
        node: &NodeId,
        generation: u32,
        (release, act): (&ReleaseRef, MigrationAct),
        at: Timestamp,
    ) {
        let Some(rollout) = self.rollouts.get_mut(&number) else {
            return;
        };
        let passed = rollout
            .migration
            .take()
            .map_or_else(Vec::new, |earlier| earlier.passed);
        rollout.migration = Some(MigrationRun {
            act,
            release: release.clone(),
            node: node.clone(),
            generation,
            stand: MigrationStand::Started,
            why: None,
            log_tail: vec![],
            since: at,
            passed,
        });
        if act != MigrationAct::Status {
            let rollout = rollout.clone();
            self.note_migration(&rollout, act, MigrationStand::Started, None, at);
        }
    }

    pub(super) fn move_migration(
        &mut self,
        number: RolloutNumber,
        act: MigrationAct,
        stand: MigrationStand,
        (why, log_tail): (Option<&String>, &[String]),
        at: Timestamp,
    ) {
        let known = self.migration_told_by(number);
        let Some(rollout) = self.rollouts.get_mut(&number) else {
            return;
        };
        // After a resume what was told last is known from the record alone.
        if rollout.migration.is_none() {
            rollout.migration = known;
        }
        let Some(run) = rollout.migration.as_mut() else {
            return;
        };
        run.stand = stand;
        run.why = why.cloned();
        run.log_tail = log_tail.to_vec();
        run.since = at;
        // It did not come to anything there; of what was only asked, not was the answer.
        if stand == MigrationStand::NotStarted && (act != MigrationAct::Status || why.is_some()) {
            run.passed.push(run.node.clone());
        }
        let rollout = rollout.clone();
        self.note_migration(&rollout, act, stand, why, at);
    }

    fn migration_told_by(&self, number: RolloutNumber) -> Option<MigrationRun> {
        let rollout = self.rollouts.get(&number)?;
        let within = self.environments.get(&rollout.plan.environment)?;
        let records = within.migrations.get(&rollout.plan.app)?;
        let record = records.values().find(|record| record.rollout == number)?;
        Some(MigrationRun {
            act: record.act,
            release: record.release.clone(),
            node: record.node.clone(),
            generation: 0,
            stand: record.stand,
            why: record.why.clone(),
            log_tail: vec![],
            since: record.at,
            passed: vec![],
        })
    }

    fn note_migration(
        &mut self,
        rollout: &Rollout,
        act: MigrationAct,
        stand: MigrationStand,
        why: Option<&String>,
        at: Timestamp,
    ) {
        let Some(run) = &rollout.migration else { return };
        let Some(within) = self.environments.get_mut(&rollout.plan.environment) else {
            return;
        };
        let records = within.migrations.entry(rollout.plan.app.clone()).or_default();
        let version = &run.release.version;
        let known = records.get(version);
        let contracted = known.is_some_and(|known| known.contracted);
        let record = |act, stand, contracted| MigrationRecord {
            release: run.release.clone(),
            act,
            stand,
            node: run.node.clone(),
            rollout: rollout.number,
            at,
            why: why.cloned(),
            contracted,
        };
        use MigrationAct as Act;
        use MigrationStand as Stand;
        match (act, stand) {
            // Not there, or not there any more.
            (Act::Up, Stand::NotStarted) | (Act::Down, Stand::Done) => {
                records.remove(version);
            }
            (Act::Status, Stand::NotStarted) if why.is_none() => {
                records.remove(version);
            }
            (Act::Status, Stand::Done) | (Act::Down | Act::Contract, Stand::NotStarted) => {
                records.insert(version.clone(), record(Act::Up, Stand::Done, contracted));
            }
            // Asking came to nothing: it stands as it stood.
            (Act::Status, _) => {}
            (Act::Contract, stand) => {
                records.insert(version.clone(), record(act, stand, true));
            }
            (Act::Up | Act::Down, stand) => {
                records.insert(version.clone(), record(act, stand, contracted));
            }
        }
    }
}
