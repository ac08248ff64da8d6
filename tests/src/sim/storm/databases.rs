//! Databases: one for each app in each environment, and what migrations really did to them.

use std::collections::BTreeMap;

use fleet_agent::install::{MigrationPart, MigrationWork, Outcome};
use fleet_proto::ids::{AppName, RolloutNumber};
use fleet_proto::migration::{MigrationAct, MigrationStand};
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::FailureClass;

use super::Storm;
use super::agenda::Thing;
use super::invariants::seen::Place;
use super::invariants::{Held, must};
use super::outcomes::failure;
use crate::sim::node::cut_short;

#[derive(Debug, Default)]
pub struct Databases {
    of: BTreeMap<Place, BTreeMap<ReleaseRef, Applied>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Applied {
    #[default]
    No,
    Yes,
    /// A command is at it, or was when it was cut short.
    InDoubt,
}

impl Storm {
    /// From here on it may have changed the database.
    pub(super) fn begin_migration(&mut self, node: usize, app: &AppName) -> anyhow::Result<()> {
        let Some((number, work)) = self.migration_on(node, app) else {
            return Ok(());
        };
        let Some(place) = self.place_of(number) else {
            return Ok(());
        };
        let MigrationWork {
            release, act, part, ..
        } = work;
        if part != MigrationPart::Run {
            self.look_after_migration(node, app);
            return Ok(());
        }
        let applied = self.databases.of.entry(place).or_default();
        let other = applied
            .iter()
            .find(|(other, state)| **other != release && **state == Applied::InDoubt)
            .map(|(other, _)| other.clone());
        let state = applied.entry(release.clone()).or_default();
        let before = *state;
        if act != MigrationAct::Status {
            *state = Applied::InDoubt;
        }
        let machine = &self.machines[node];
        it_runs_at_most_once(&machine.id, &release, act, before)?;
        one_at_a_time(&machine.id, &release, act, other.as_ref())?;
        self.look_after_migration(node, app);
        Ok(())
    }

    fn look_after_migration(&mut self, node: usize, app: &AppName) {
        if let Some(agent) = &self.machines[node].agent {
            let (life, app) = (agent.life, app.clone());
            let at = self.now + self.dice.delay(8_000);
            self.agenda.add(at, Thing::Migrated { node, life, app });
        }
    }

    fn migration_on(&self, node: usize, app: &AppName) -> Option<(RolloutNumber, MigrationWork)> {
        let record = self.machines[node].ledger.apps.get(app)?;
        Some((record.fence_seen.rollout, record.work().migrate?))
    }

    fn place_of(&self, number: RolloutNumber) -> Option<Place> {
        let rollout = self.witness.seen.rollouts.get(&number)?;
        Some(rollout.place.clone())
    }

    /// It comes to its end, if its agent lives so long. Otherwise it was cut short, at a
    /// point that only the database knows.
    pub(super) fn migrated(&mut self, node: usize, life: u64, app: &AppName) -> anyhow::Result<()> {
        let lives = self.machines[node].agent(life).is_some();
        let found = self.migration_on(node, app).filter(|_| lives);
        let Some((number, work)) = found else {
            return Ok(());
        };
        let MigrationWork {
            release, act, part, ..
        } = work;
        let told = match part {
            MigrationPart::Prepare => Some(Outcome::MigrationBegins),
            MigrationPart::FindOut => Some(cut_short(&release, act)),
            MigrationPart::Run => None,
        };
        if let Some(outcome) = told {
            return self.settle(node, app, &outcome);
        }
        let Some(place) = self.place_of(number) else {
            return Ok(());
        };
        let fails = self.dice.percent(10);
        let was_applied = self.dice.percent(50);
        let state = self
            .databases
            .of
            .entry(place)
            .or_default()
            .entry(release.clone())
            .or_default();
        let (stand, failed) = match act {
            MigrationAct::Status => {
                if *state == Applied::InDoubt {
                    *state = if was_applied { Applied::Yes } else { Applied::No };
                }
                match *state {
                    Applied::Yes => (MigrationStand::Done, None),
                    _ => (MigrationStand::NotStarted, None),
                }
            }
            // A migration that fails is taken back by the database.
            MigrationAct::Up if fails => {
                *state = Applied::No;
                (MigrationStand::Failed, Some("a column is there already"))
            }
            MigrationAct::Up | MigrationAct::Contract => {
                *state = Applied::Yes;
                (MigrationStand::Done, None)
            }
            MigrationAct::Down => {
                *state = Applied::No;
                (MigrationStand::Done, None)
            }
        };
        let outcome = Outcome::Migrated {
            stand,
            failure: failed.map(|why| failure(FailureClass::Release, why)),
        };
        if failed.is_some() {
            self.witness.blame(number);
        }
        if self.dies_here(node) {
            return Ok(());
        }
        self.settle(node, app, &outcome)
    }
}

/// Invariant 6: `up` begins where the release's migration is surely not there, and `down`
/// where it surely is.
fn it_runs_at_most_once(
    node: &fleet_proto::ids::NodeId,
    release: &ReleaseRef,
    act: MigrationAct,
    before: Applied,
) -> Held {
    let may = match act {
        MigrationAct::Up => before == Applied::No,
        MigrationAct::Down => before == Applied::Yes,
        MigrationAct::Status | MigrationAct::Contract => true,
    };
    must(may, "6", || {
        format!("{node} begins the migration of {release} ({act}), and the database is at {before:?}")
    })
}

/// Invariant 6: while nobody knows how far one came, no other begins.
fn one_at_a_time(
    node: &fleet_proto::ids::NodeId,
    release: &ReleaseRef,
    act: MigrationAct,
    other: Option<&ReleaseRef>,
) -> Held {
    must(act == MigrationAct::Status || other.is_none(), "6", || {
        let other = other.map(ToString::to_string).unwrap_or_default();
        format!(
            "{node} begins the migration of {release} ({act}), and nobody knows how far that of {other} came"
        )
    })
}
