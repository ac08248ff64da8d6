//! A storm: whole fleets through everything that can go wrong, from one seed.
//!
//! ```text
//!              ┌──────────────── Agenda: what happens next, in virtual time ───────────────┐
//!  operators ──┤                                                                            │
//!  faults ─────┼─► Coordinator (real turn, real journal) ─► Network ─► Machine (install.rs) ┘
//!              └──────────────────────────────┬──────────────────────────────┘
//!                                          Witness: the invariants, after every event
//! ```
//!
//! The same seed is the same run, on every machine: nothing here reads a clock, and what
//! is iterated is ordered. After the storm comes a calm, in which everything has to come
//! to an end, or to say what it waits for.

pub mod agenda;
pub mod agents;
pub mod calm;
pub mod coordinator;
mod databases;
pub mod dice;
pub mod faults;
pub mod invariants;
pub mod lanes;
pub mod machine;
pub mod network;
pub mod operators;
pub mod outcomes;
pub mod record;
pub mod releases;
pub mod setting;
pub mod story;

use std::collections::BTreeMap;

use fleet_proto::ids::{AppName, NodeId, OperatorName};

use agenda::{Agenda, Thing};
use coordinator::Coordinator;
use dice::Dice;
use faults::Faults;
use invariants::Witness;
use machine::Machine;
use network::Network;
use releases::Releases;
use story::{Story, Telling};

/// 2026-02-12T12:00:00Z.
const NOON: u64 = 1_770_897_600_000;

pub struct Storm {
    pub now: u64,
    dice: Dice,
    agenda: Agenda,
    coordinator: Coordinator,
    network: Network,
    machines: Vec<Machine>,
    by_id: BTreeMap<NodeId, usize>,
    releases: Releases,
    apps: Vec<AppName>,
    faults: Faults,
    witness: Witness,
    databases: databases::Databases,
    story: Story,
    /// Processes ever started: each has a life of its own.
    lives: u64,
    asked: u64,
    operator: OperatorName,
    is_calm: bool,
    happened: u64,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ran {
    /// Things that happened, in the fleet and in the journal.
    pub events: u64,
    pub rollouts: u64,
}

/// A seed that broke something, and the end of its story.
#[derive(Debug)]
pub struct Violation {
    pub seed: u64,
    pub nodes: usize,
    pub what: String,
    pub story: Vec<String>,
}

/// Plays one seed. A seed that breaks something is played once more, to be told.
pub fn play(seed: u64, nodes: usize) -> Result<Ran, Box<Violation>> {
    match run(seed, nodes, Telling::Nothing) {
        (Ok(ran), _) => Ok(ran),
        (Err(error), _) => {
            let (again, story) = run(seed, nodes, Telling::TheEnd);
            let what = match again {
                Err(same) if same.to_string() == error.to_string() => format!("{same:#}"),
                other => format!("{error:#}; and not the same again, but {:?}", other.map(|_| ())),
            };
            Err(Box::new(Violation {
                seed,
                nodes,
                what,
                story,
            }))
        }
    }
}

pub fn run(seed: u64, nodes: usize, telling: Telling) -> (anyhow::Result<Ran>, Vec<String>) {
    match Storm::gather(seed, nodes, telling) {
        Ok(mut storm) => {
            let outcome = storm.rage();
            (outcome, storm.story.end())
        }
        Err(error) => (Err(error), vec![]),
    }
}

impl Storm {
    fn rage(&mut self) -> anyhow::Result<Ran> {
        self.first_release()?;
        self.break_out();
        let lasts = self.dice.between(4, 20) * 60_000;
        self.pass(lasts)?;
        self.calm_down()?;
        Ok(Ran {
            events: self.happened + self.coordinator.events,
            rollouts: self.coordinator.acknowledged.next_rollout().0 - 1,
        })
    }

    /// Everything that happens within this time.
    fn pass(&mut self, ms: u64) -> anyhow::Result<()> {
        let until = self.now + ms;
        while let Some((at, thing)) = self.agenda.next(until) {
            self.now = at;
            self.happened += 1;
            self.happens(thing)?;
        }
        self.now = until;
        Ok(())
    }

    fn happens(&mut self, thing: Thing) -> anyhow::Result<()> {
        match thing {
            Thing::Tick { life } => self.tick(life)?,
            Thing::Turn { life } => self.take_turn(life)?,
            Thing::StartCoordinator => self.start_coordinator()?,
            Thing::ReachesCoordinator { session, said } => self.reaches_coordinator(session, said),
            Thing::ReachesAgent { session, said } => self.reaches_agent(session, said)?,
            Thing::CoordinatorMisses { session } => self.coordinator_misses(session),
            Thing::AgentMisses { session } => self.agent_misses(session),
            Thing::StartAgent { node } => self.start_agent(node)?,
            Thing::PowerOn { node } => self.power_on(node),
            Thing::Connect { node, life } => self.connect(node, life)?,
            Thing::Say { node, life } => self.say(node, life),
            Thing::Fetched {
                node,
                life,
                app,
                effect,
            } => self.fetched(node, life, &app, effect)?,
            Thing::Converged { node, life, app } => self.converged(node, life, &app)?,
            Thing::Judged {
                node,
                life,
                app,
                assignment,
            } => self.judged(node, life, &app, assignment)?,
            Thing::Migrated { node, life, app } => self.migrated(node, life, &app)?,
            Thing::Looked { node, life, app } => self.looked(node, life, &app),
            Thing::MustBeBack {
                node,
                life,
                app,
                order,
            } => {
                let machine = &self.machines[node];
                let record = machine.ledger.apps.get(&app);
                if let Some(record) =
                    record.filter(|record| record.fence_seen == order && machine.is_alive(life))
                {
                    invariants::nodes::must_be_back(machine, &app, record)?;
                }
            }
            Thing::Weather if !self.is_calm => self.strike()?,
            Thing::Operator if !self.is_calm => self.operator_acts()?,
            Thing::Weather | Thing::Operator => {}
            Thing::FreeDisk { node } => self.machines[node].is_full = false,
            Thing::Recover { node } => self.recover(node),
            Thing::Rejoin { zone } => self.rejoin(zone),
            Thing::StoreIsBack => self.faults.store_is_down = false,
        }
        Ok(())
    }

    fn tell(&mut self, sentence: impl FnOnce(&Self) -> String) {
        if self.story.listens() {
            let sentence = sentence(self);
            self.story.add(self.now - NOON, &sentence);
        }
    }
}
