//! One act of one migration, from the order to its end, whoever has to say what that was.

use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::migration::{MigrationAct, MigrationPlan, MigrationStand};
use fleet_proto::quantity::Span;
use fleet_proto::release::{OnFailure, ReleaseRef};
use fleet_proto::session::Order;
use fleet_proto::time::Timestamp;

use super::{open_records, plan_of, record};
use crate::rollout::decide::{Decision, Waiting, end, sentences, shut_gate};
use crate::rollout::event::{Event, Outcome, PauseCause};
use crate::rollout::gate;
use crate::rollout::node::Node;
use crate::rollout::state::{Course, MigrationRecord, MigrationRun, Rollout, State};

/// So many nodes that cannot begin are no chance any more.
const NODES_TRIED: usize = 3;
/// After its own time limit a node says so; later than this it says nothing any more.
const MARGIN: Span = Span::from_secs(60);

/// One act of one release's migration, that a rollout cannot do without.
pub(super) struct Job<'a> {
    pub(super) state: &'a State,
    pub(super) rollout: &'a Rollout,
    pub(super) plan: &'a MigrationPlan,
    pub(super) release: &'a ReleaseRef,
    pub(super) act: MigrationAct,
    pub(super) now: Timestamp,
}

impl Job<'_> {
    /// None when it is done.
    pub(super) fn next(&self, nodes: &[NodeId]) -> Option<Decision> {
        let record = record(self.state, self.rollout, self.release);
        let run = self.run();
        if let Some(run) = run.filter(|run| run.stand == MigrationStand::Started) {
            return Some(self.wait_for(run, nodes));
        }
        let Some(record) = record else {
            return match self.act {
                // Undone, or never done.
                MigrationAct::Down => None,
                _ => Some(self.begin(nodes, run)),
            };
        };
        match (record.act, record.stand) {
            (MigrationAct::Contract, MigrationStand::Done) if self.act != MigrationAct::Down => None,
            (act, MigrationStand::Done) if act == self.act => None,
            (MigrationAct::Up, MigrationStand::Done) => Some(self.begin(nodes, run)),
            // In this very rollout; an operator who resumes it has it tried again.
            (act, MigrationStand::Failed)
                if act == self.act && run.is_some_and(|run| run.stand == MigrationStand::Failed) =>
            {
                Some(self.fail(record))
            }
            (act, MigrationStand::Failed | MigrationStand::NotStarted) if act == self.act => {
                Some(self.begin(nodes, run))
            }
            _ => Some(self.find_out(record, nodes)),
        }
    }

    /// What this rollout told last, if it was about this release.
    fn run(&self) -> Option<&MigrationRun> {
        let run = self.rollout.migration.as_ref();
        run.filter(|run| run.release == *self.release)
    }

    /// One at a time in one database: how another one stands is found out first.
    fn begin(&self, nodes: &[NodeId], run: Option<&MigrationRun>) -> Decision {
        let own = self.release;
        let plan = &self.rollout.plan;
        let open = open_records(self.state, plan).find(|record| record.release != *own);
        match open {
            Some(record) => self.settle_first(record, nodes),
            None => self.tell(self.act, nodes, run),
        }
    }

    fn settle_first(&self, record: &MigrationRecord, nodes: &[NodeId]) -> Decision {
        let Some(plan) = plan_of(self.state, self.rollout, &record.release) else {
            return self.ask_a_person(nobody_knows(record, None));
        };
        let first = Job {
            plan,
            release: &record.release,
            act: record.act,
            ..*self
        };
        match first.run().filter(|run| run.stand == MigrationStand::Started) {
            Some(run) => first.wait_for(run, nodes),
            None => first.find_out(record, nodes),
        }
    }

    fn tell(&self, act: MigrationAct, nodes: &[NodeId], run: Option<&MigrationRun>) -> Decision {
        // The way back is open.
        let gates = gate::before_wave(self.state, self.rollout);
        let shut = shut_gate(&gates).filter(|_| self.rollout.is_forward());
        if let Some(waiting) = shut {
            return Decision::wait(waiting);
        }
        let passed = run.map_or(&[][..], |run| &run.passed);
        if passed.len() >= NODES_TRIED {
            let why = run.and_then(|run| run.why.clone()).unwrap_or_default();
            return self.ask_a_person(format!("the migration of {} cannot begin: {why}", self.release));
        }
        let can = |id: &&NodeId| {
            let node = self.state.nodes.get(*id);
            node.is_some_and(|node| node.is_connected() && node.cordon.is_none()) && !passed.contains(id)
        };
        let Some(id) = nodes.iter().find(can) else {
            return self.no_node_can(nodes, run);
        };
        Decision::events(vec![Event::CommandIssued {
            number: self.rollout.number,
            node: id.clone(),
            generation: self.state.last_generation(self.rollout, id) + 1,
            order: Order::Migrate {
                release: self.release.clone(),
                act,
            },
        }])
    }

    fn no_node_can(&self, nodes: &[NodeId], run: Option<&MigrationRun>) -> Decision {
        if let Some(why) = run.and_then(|run| run.why.clone()) {
            return self.ask_a_person(format!("the migration of {} cannot begin: {why}", self.release));
        }
        let deadline = self.rollout.plan.strategy.progress_deadline;
        let since = self.rollout.progress_at.max(self.rollout.clock_from);
        let nodes_named = sentences::nodes(nodes);
        if self.now.since(since) > deadline {
            return self.ask_a_person(format!(
                "no node could be told to do the migration of {} ({}) within progress_deadline {deadline}: {nodes_named} cannot be reached, or nothing new is to be brought there",
                self.release, self.act
            ));
        }
        Decision::wait(Waiting {
            until: Some(since.plus(deadline)),
            hint: nodes.first().map(|id| format!("fleetctl node show {id}")),
            ..Waiting::new(format!(
                "a node that can do the migration of {} ({}): {nodes_named} cannot be reached, or nothing new is to be brought there",
                self.release, self.act
            ))
        })
    }

    fn wait_for(&self, run: &MigrationRun, nodes: &[NodeId]) -> Decision {
        let is_gone = self.state.nodes.get(&run.node).is_none_or(Node::is_unreachable);
        if is_gone && run.act == MigrationAct::Status {
            let others: Vec<NodeId> = nodes.iter().filter(|id| **id != run.node).cloned().collect();
            return self.tell(MigrationAct::Status, &others, None);
        }
        self.wait_until_it_ends(&run.node, run.act, run.since, self.rollout.number)
    }

    /// It is told, and has a time limit of its own, with the time to fetch what it needs.
    fn wait_until_it_ends(
        &self,
        node: &NodeId,
        act: MigrationAct,
        since: Timestamp,
        number: RolloutNumber,
    ) -> Decision {
        let by = if number == self.rollout.number {
            String::new()
        } else {
            format!(" by {number}")
        };
        let release = self.release;
        if self.state.nodes.get(node).is_none_or(Node::is_unreachable) {
            return self.ask_a_person(format!(
                "{node} was told{by} to do the migration of {release} ({act}) and cannot be reached: nobody knows how far it came"
            ));
        }
        let (fetch, timeout) = (self.rollout.plan.strategy.fetch_deadline, self.plan.timeout);
        let limit = Span::from_millis(fetch.as_millis() + timeout.as_millis() + MARGIN.as_millis());
        let until = since.max(self.rollout.clock_from).plus(limit);
        if self.now > until {
            return self.ask_a_person(format!(
                "the migration of {release} ({act}) on {node} has not ended {limit} after it was told{by} to do it (fetch_deadline {fetch}, the migration's own time limit of {timeout}, and a minute)"
            ));
        }
        let who = if by.is_empty() {
            format!("on {node}")
        } else {
            format!("that {number} began on {node}")
        };
        Decision::wait(Waiting {
            since: Some(since),
            until: Some(until),
            hint: Some(format!("fleetctl node show {node}")),
            ..Waiting::new(format!("the migration of {release} ({act}) {who}"))
        })
    }

    /// How it stands, where nobody saw its end: its own status says, or a person.
    fn find_out(&self, record: &MigrationRecord, nodes: &[NodeId]) -> Decision {
        // While it may still be at it, no answer would hold.
        if record.stand == MigrationStand::Started {
            return self.wait_until_it_ends(&record.node, record.act, record.at, record.rollout);
        }
        let asked = self.run().filter(|run| run.act == MigrationAct::Status);
        let came_to_nothing = asked.is_some_and(|run| run.stand != MigrationStand::NotStarted);
        if self.plan.has_status && !came_to_nothing {
            return self.tell(MigrationAct::Status, nodes, asked);
        }
        self.ask_a_person(nobody_knows(record, asked))
    }

    fn fail(&self, record: &MigrationRecord) -> Decision {
        let why = record.why.clone().unwrap_or_default();
        let why = format!(
            "the migration of {} ({}) failed on {}: {why}",
            record.release, record.act, record.node
        );
        // Nobody has moved yet: there is nothing to put back.
        let ends = self.act == MigrationAct::Up
            && self.rollout.plan.strategy.on_failure == OnFailure::Rollback
            && !is_paused(self.rollout);
        if ends {
            return Decision::events(end(self.rollout, Outcome::Failed, Some(why), None));
        }
        self.ask_a_person(why)
    }

    fn ask_a_person(&self, why: String) -> Decision {
        Decision::events(vec![Event::RolloutPaused {
            number: self.rollout.number,
            cause: PauseCause::Migration,
            why,
            by: None,
        }])
    }
}

fn nobody_knows(record: &MigrationRecord, asked: Option<&MigrationRun>) -> String {
    let why = asked
        .and_then(|run| run.why.clone())
        .or(record.why.clone())
        .unwrap_or_else(|| "nobody saw its end".to_owned());
    format!(
        "nobody knows how the migration of {} ({}) on {} stands: {why}",
        record.release, record.act, record.node
    )
}

fn is_paused(rollout: &Rollout) -> bool {
    matches!(rollout.course, Course::Paused { .. })
}
