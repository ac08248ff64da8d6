//! Migrations: once for each database and release, on one node. What nobody knows is asked
//! of the migration's own status command, else of a person; it is never guessed.

use fleet_proto::ids::NodeId;
use fleet_proto::migration::{MigrationAct, MigrationPlan, MigrationStand, Undo};
use fleet_proto::quantity::Span;
use fleet_proto::release::{OnFailure, ReleaseRef};
use fleet_proto::session::{Order, Phase};
use fleet_proto::time::Timestamp;

use super::{Decision, Waiting, end};
use crate::rollout::event::{Event, Outcome, PauseCause, RolloutKind};
use crate::rollout::node::Node;
use crate::rollout::progress::Progress;
use crate::rollout::state::{Course, MigrationRecord, MigrationRun, Rollout, State};

/// So many nodes that cannot begin are no chance any more.
const NODES_TRIED: usize = 3;
/// After its own time limit a node says so; later than this it says nothing any more.
const MARGIN: Span = Span::from_secs(60);

/// Before the first wave: `up`, on the first node of it that can.
pub(super) fn migrate_up(
    state: &State,
    rollout: &Rollout,
    _progress: &Progress,
    now: Timestamp,
) -> Option<Decision> {
    let plan = rollout.plan.migration.as_ref()?;
    let RolloutKind::Forward { release } = &rollout.kind else {
        return None;
    };
    if rollout.wave > 0 || rollout.waves.first()?.started_at.is_some() {
        return None;
    }
    let job = Job {
        state,
        rollout,
        plan,
        release,
        act: MigrationAct::Up,
        now,
    };
    job.next(&rollout.plan.waves.first()?.nodes)
}

/// After the last wave: what only the old release needed is taken away.
pub(super) fn contract(
    state: &State,
    rollout: &Rollout,
    _progress: &Progress,
    now: Timestamp,
) -> Option<Decision> {
    let plan = rollout.plan.migration.as_ref().filter(|plan| plan.has_contract)?;
    let RolloutKind::Forward { release } = &rollout.kind else {
        return None;
    };
    let everybody_has_it = rollout.wave >= rollout.plan.waves.len() && rollout.plan.held_back.is_empty();
    record(state, rollout, release).filter(|_| everybody_has_it)?;
    let job = Job {
        state,
        rollout,
        plan,
        release,
        act: MigrationAct::Contract,
        now,
    };
    // Best one that has the release; whoever it is, its database is the same.
    let (done, others): (Vec<_>, Vec<_>) = rollout
        .steps
        .iter()
        .partition(|(_, step)| step.phase == Phase::Done);
    let nodes = done.into_iter().chain(others).map(|(id, _)| id.clone());
    job.next(&nodes.collect::<Vec<_>>())
}

/// After no node runs the release any more: `down`, where that is how it is undone.
pub(super) fn undo(
    state: &State,
    rollout: &Rollout,
    _progress: &Progress,
    now: Timestamp,
) -> Option<Decision> {
    if rollout.is_forward() || rollout.wave < rollout.plan.waves.len() {
        return None;
    }
    let (release, plan) = to_be_undone(state, rollout)?;
    let still = runs_it_still(state, rollout, release);
    let to_come: Vec<NodeId> = still
        .iter()
        .filter(|id| {
            rollout
                .steps
                .get(*id)
                .is_some_and(|step| !step.phase.is_settled())
        })
        .cloned()
        .collect();
    if let Some(first) = to_come.first() {
        return Some(Decision::wait(Waiting {
            hint: Some(format!("fleetctl node show {first}")),
            ..Waiting::new(format!(
                "the migration of {release} is undone when no node runs it: {} may",
                super::sentences::nodes(&to_come)
            ))
        }));
    }
    if !still.is_empty() {
        // It is not this rollback that takes them away from it.
        return None;
    }
    let job = Job {
        state,
        rollout,
        plan,
        release,
        act: MigrationAct::Down,
        now,
    };
    job.next(&rollout.steps.keys().cloned().collect::<Vec<_>>())
}

/// What is to be known of a rollback that could not undo it.
pub(super) fn stays(state: &State, rollout: &Rollout) -> Option<String> {
    let (release, _) = to_be_undone(state, rollout)?;
    let still = runs_it_still(state, rollout, release);
    (!still.is_empty()).then(|| {
        let nodes = super::sentences::nodes(&still);
        let run = if still.len() == 1 { "runs" } else { "run" };
        format!("the migration of {release} stays, for {nodes} {run} it")
    })
}

/// What this rollback leaves, if its migration is there and to be undone.
fn to_be_undone<'a>(state: &'a State, rollout: &Rollout) -> Option<(&'a ReleaseRef, &'a MigrationPlan)> {
    let app = &rollout.plan.app;
    let within = state.environments.get(&rollout.plan.environment)?;
    within.migrations.get(app)?.values().find_map(|record| {
        let release = state.release(app, &record.release.version)?;
        let plan = release
            .migration
            .as_ref()
            .filter(|plan| plan.undo == Undo::Down)?;
        let is_left = rollout.steps.values().any(|step| {
            matches!(&step.order, Some(Order::Revert { leave: Some(leave), .. }) if *leave == record.release)
        });
        let run = rollout.migration.as_ref();
        let is_left = is_left || run.is_some_and(|run| run.release == record.release);
        let is_there = !record.contracted && record.act != MigrationAct::Contract;
        (is_left && is_there).then_some((&record.release, plan))
    })
}

fn runs_it_still(state: &State, rollout: &Rollout, release: &ReleaseRef) -> Vec<NodeId> {
    let Some(within) = state.environments.get(&rollout.plan.environment) else {
        return vec![];
    };
    let app = &rollout.plan.app;
    let nodes = state.nodes_of(&within.select);
    let runs = nodes.filter(|(_, node)| node.current(app) == Some(release));
    runs.map(|(id, _)| id.clone()).collect()
}

fn record<'a>(state: &'a State, rollout: &Rollout, release: &ReleaseRef) -> Option<&'a MigrationRecord> {
    let within = state.environments.get(&rollout.plan.environment)?;
    let records = within.migrations.get(&rollout.plan.app)?;
    records
        .get(&release.version)
        .filter(|record| record.release == *release)
}

/// One act of one release's migration, that a rollout cannot do without.
struct Job<'a> {
    state: &'a State,
    rollout: &'a Rollout,
    plan: &'a MigrationPlan,
    release: &'a ReleaseRef,
    act: MigrationAct,
    now: Timestamp,
}

impl Job<'_> {
    /// None when it is done.
    fn next(&self, nodes: &[NodeId]) -> Option<Decision> {
        let record = record(self.state, self.rollout, self.release);
        let run = self.rollout.migration.as_ref();
        let run = run.filter(|run| run.release == *self.release);
        if let Some(run) = run.filter(|run| run.stand == MigrationStand::Started) {
            return Some(self.wait_for(run, nodes));
        }
        let Some(record) = record else {
            return match self.act {
                // Undone, or never done.
                MigrationAct::Down => None,
                _ => Some(self.tell(self.act, nodes, run)),
            };
        };
        match (record.act, record.stand) {
            (MigrationAct::Contract, MigrationStand::Done) if self.act != MigrationAct::Down => None,
            (act, MigrationStand::Done) if act == self.act => None,
            (MigrationAct::Up, MigrationStand::Done) => Some(self.tell(self.act, nodes, run)),
            // In this very rollout; an operator who resumes it has it tried again.
            (act, MigrationStand::Failed)
                if act == self.act && run.is_some_and(|run| run.stand == MigrationStand::Failed) =>
            {
                Some(self.fail(record))
            }
            (act, MigrationStand::Failed | MigrationStand::NotStarted) if act == self.act => {
                Some(self.tell(self.act, nodes, run))
            }
            _ => Some(self.find_out(record, nodes, run)),
        }
    }

    fn tell(&self, act: MigrationAct, nodes: &[NodeId], run: Option<&MigrationRun>) -> Decision {
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
        let generation = self.rollout.steps.get(id).map_or(0, |step| step.generation);
        Decision::events(vec![Event::CommandIssued {
            number: self.rollout.number,
            node: id.clone(),
            generation: generation + 1,
            order: Order::Migrate {
                release: self.release.clone(),
                act,
            },
        }])
    }

    fn no_node_can(&self, nodes: &[NodeId], run: Option<&MigrationRun>) -> Decision {
        match run.and_then(|run| run.why.clone()) {
            Some(why) => self.ask_a_person(format!("the migration of {} cannot begin: {why}", self.release)),
            None => Decision::wait(Waiting {
                hint: nodes.first().map(|id| format!("fleetctl node show {id}")),
                ..Waiting::new(format!(
                    "a node to connect that can do the migration of {}: {}",
                    self.release,
                    super::sentences::nodes(nodes)
                ))
            }),
        }
    }

    fn wait_for(&self, run: &MigrationRun, nodes: &[NodeId]) -> Decision {
        let node = self.state.nodes.get(&run.node);
        if node.is_none_or(Node::is_unreachable) {
            if run.act == MigrationAct::Status {
                let others: Vec<NodeId> = nodes.iter().filter(|id| **id != run.node).cloned().collect();
                return self.tell(MigrationAct::Status, &others, None);
            }
            return self.ask_a_person(format!(
                "{} was told to do the migration of {} ({}) and cannot be reached: nobody knows how far it came",
                run.node, run.release, run.act
            ));
        }
        let limit = self.rollout.plan.strategy.fetch_deadline.as_millis()
            + self.plan.timeout.as_millis()
            + MARGIN.as_millis();
        let until = run
            .since
            .max(self.rollout.clock_from)
            .plus(Span::from_millis(limit));
        if self.now > until {
            return self.ask_a_person(format!(
                "{} does not come to the end of the migration of {} ({})",
                run.node, run.release, run.act
            ));
        }
        Decision::wait(Waiting {
            since: Some(run.since),
            until: Some(until),
            hint: Some(format!("fleetctl node show {}", run.node)),
            ..Waiting::new(format!(
                "the migration of {} ({}) on {}",
                run.release, run.act, run.node
            ))
        })
    }

    /// How it stands, where nobody saw its end: its own status says, or a person.
    fn find_out(&self, record: &MigrationRecord, nodes: &[NodeId], run: Option<&MigrationRun>) -> Decision {
        let asked = run.filter(|run| run.act == MigrationAct::Status);
        let came_to_nothing = asked.is_some_and(|run| run.stand != MigrationStand::NotStarted);
        // While it may still be at it, no answer would hold.
        let is_over = record.stand != MigrationStand::Started;
        if self.plan.has_status && is_over && !came_to_nothing {
            return self.tell(MigrationAct::Status, nodes, asked);
        }
        let why = asked
            .and_then(|run| run.why.clone())
            .or(record.why.clone())
            .unwrap_or_else(|| "nobody saw its end".to_owned());
        self.ask_a_person(format!(
            "nobody knows how the migration of {} ({}) on {} stands: {why}",
            record.release, record.act, record.node
        ))
    }

    fn fail(&self, record: &MigrationRecord) -> Decision {
        let why = record.why.clone().unwrap_or_default();
        let why = format!(
            "the migration of {} failed on {}: {why}",
            record.release, record.node
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
        }])
    }
}

fn is_paused(rollout: &Rollout) -> bool {
    matches!(rollout.course, Course::Paused { .. })
}
