//! Migrations: once for each database and release, on one node. What nobody knows is asked
//! of the migration's own status command, else of a person; it is never guessed.

mod job;

use fleet_proto::ids::NodeId;
use fleet_proto::migration::{MigrationAct, MigrationPlan, MigrationStand, Undo};
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;

use self::job::Job;
use super::{Decision, Waiting};
use crate::rollout::event::RolloutKind;
use crate::rollout::node::NodeApp;
use crate::rollout::plan::Plan;
use crate::rollout::progress::Progress;
use crate::rollout::state::{MigrationRecord, Rollout, State};
use crate::rollout::way_back::counter;

/// Before the first wave: `up`, on the first node that can, those of the first wave before
/// others.
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
    let nodes = rollout.plan.waves.iter().flat_map(|wave| &wave.nodes);
    job.next(&nodes.cloned().collect::<Vec<_>>())
}

/// After the last wave, and when nobody is left who may run what is older: what only that
/// needed is taken away. A catch-up does it too, if it brings the last one.
pub(super) fn contract(
    state: &State,
    rollout: &Rollout,
    _progress: &Progress,
    now: Timestamp,
) -> Option<Decision> {
    let release = rollout.release().filter(|_| rollout.is_forward())?;
    let plan = plan_of(state, rollout, release).filter(|plan| plan.has_contract)?;
    let all_passed = rollout.wave >= rollout.plan.waves.len() && rollout.plan.held_back.is_empty();
    let record = record(state, rollout, release).filter(|_| all_passed)?;
    let is_mine = record.rollout == rollout.number && record.act == MigrationAct::Contract;
    if !is_mine && (!is_to_be_contracted(record) || !may_run_older(state, rollout, release).is_empty()) {
        return None;
    }
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
    let planned = done.into_iter().chain(others).map(|(id, _)| id.clone());
    job.next(&planned.chain(others_of(state, rollout)).collect::<Vec<_>>())
}

/// `up` was done, and what the contract step takes away is still there.
fn is_to_be_contracted(record: &MigrationRecord) -> bool {
    let may_begin = record.act == MigrationAct::Up && record.stand == MigrationStand::Done;
    let failed = record.act == MigrationAct::Contract && record.stand != MigrationStand::Done;
    may_begin || failed
}

/// What is to be known of a rollout that succeeds and leaves the contract step to another.
pub(super) fn contract_remains(state: &State, rollout: &Rollout) -> Option<String> {
    let release = rollout.release()?;
    plan_of(state, rollout, release).filter(|plan| plan.has_contract)?;
    record(state, rollout, release).filter(|record| is_to_be_contracted(record))?;
    let older = may_run_older(state, rollout, release);
    (!older.is_empty()).then(|| {
        let (nodes, run) = (super::sentences::nodes(&older), runs(&older));
        format!(
            "the contract step of {release} waits until {nodes} {run} it; fleetctl rollout {release} brings along who is left"
        )
    })
}

/// Members that run an older release, or may come to run one: they are not sure of theirs,
/// or on their way.
fn may_run_older(state: &State, rollout: &Rollout, release: &ReleaseRef) -> Vec<NodeId> {
    let app = &rollout.plan.app;
    let own = counter(state, app, release);
    let is_older = |other: &ReleaseRef| other != release && counter(state, app, other) < own;
    members_that(state, rollout, |_, stands| {
        stands.busy || stands.current.iter().chain(&stands.last_good).any(is_older)
    })
}

/// After no node runs the release any more: `down`, where that is how it is undone; of what
/// is newer first.
pub(super) fn undo(
    state: &State,
    rollout: &Rollout,
    _progress: &Progress,
    now: Timestamp,
) -> Option<Decision> {
    if rollout.is_forward() || rollout.wave < rollout.plan.waves.len() {
        return None;
    }
    to_be_undone(state, rollout).into_iter().find_map(|(release, plan)| {
        let still = may_run(state, rollout, release);
        let to_come: Vec<NodeId> = still.iter().filter(|id| is_to_come(state, rollout, id)).cloned().collect();
        if let Some(first) = to_come.first() {
            return Some(Decision::wait(Waiting {
                hint: Some(format!(
                    "fleetctl node show {first}; fleetctl node revoke {first} --reason WHY, if it is gone for good"
                )),
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
        let planned = rollout.steps.keys().cloned();
        job.next(&planned.chain(others_of(state, rollout)).collect::<Vec<_>>())
    })
}

/// On its way back in this rollback, or on its way in what was before it.
fn is_to_come(state: &State, rollout: &Rollout, id: &NodeId) -> bool {
    match rollout.steps.get(id) {
        Some(step) => !step.phase.is_settled(),
        None => {
            let node = state.nodes.get(id).filter(|node| node.is_connected());
            node.and_then(|node| node.app(&rollout.plan.app))
                .is_some_and(|stands| stands.busy)
        }
    }
}

/// What is to be known of a rollback that could not undo it.
pub(super) fn stays(state: &State, rollout: &Rollout) -> Option<String> {
    let stays: Vec<String> = to_be_undone(state, rollout)
        .into_iter()
        .filter_map(|(release, _)| {
            let still = may_run(state, rollout, release);
            let (nodes, run) = (super::sentences::nodes(&still), runs(&still));
            (!still.is_empty()).then(|| {
                format!("the migration of {release} stays, for {nodes} {run} it or what came after it")
            })
        })
        .collect();
    (!stays.is_empty()).then(|| stays.join("; "))
}

fn runs(nodes: &[NodeId]) -> &'static str {
    if nodes.len() == 1 { "runs" } else { "run" }
}

/// Whether there is something to undo for a rollback that moves nobody.
pub fn has_something_to_undo(state: &State, rollout: &Rollout) -> bool {
    let Some(release) = rollout
        .release()
        .filter(|_| rollout.is_forward() && !rollout.beside)
    else {
        return false;
    };
    let is_there = record(state, rollout, release).is_some_and(is_there_to_undo)
        && plan_of(state, rollout, release).is_some_and(|plan| plan.undo == Undo::Down);
    let app = &rollout.plan.app;
    let own = counter(state, app, release);
    let runs_it = |stands: &NodeApp| {
        let current = stands.current.as_ref();
        current.is_some_and(|current| counter(state, app, current) >= own)
    };
    is_there && members_that(state, rollout, |_, stands| runs_it(stands)).is_empty()
}

/// What failed going up left nothing that could be undone.
fn is_there_to_undo(record: &MigrationRecord) -> bool {
    let failed_up = record.act == MigrationAct::Up && record.stand == MigrationStand::Failed;
    !record.contracted && record.act != MigrationAct::Contract && !failed_up
}

/// Every migration of a newer release than this rollback goes back to, the newest first.
fn to_be_undone<'a>(state: &'a State, rollout: &Rollout) -> Vec<(&'a ReleaseRef, &'a MigrationPlan)> {
    let app = &rollout.plan.app;
    let records = state
        .environments
        .get(&rollout.plan.environment)
        .and_then(|within| within.migrations.get(app));
    let to = rollout.release().map(|to| counter(state, app, to));
    // Beside a rollout nothing is undone: it may be the other one that brings it.
    let mut found: Vec<_> = records
        .filter(|_| !rollout.beside)
        .into_iter()
        .flat_map(|records| records.values())
        .filter(|record| is_there_to_undo(record))
        .filter_map(|record| {
            let release = state.release(app, &record.release.version)?;
            let plan = release
                .migration
                .as_ref()
                .filter(|plan| plan.undo == Undo::Down)?;
            let is_newer = to.is_none_or(|to| to < Some(release.counter));
            is_newer.then_some((release.counter, &record.release, plan))
        })
        .collect();
    found.sort_by_key(|(counter, ..)| std::cmp::Reverse(*counter));
    found
        .into_iter()
        .map(|(_, release, plan)| (release, plan))
        .collect()
}

/// Members that run the release or a newer one, or may come to.
fn may_run(state: &State, rollout: &Rollout, release: &ReleaseRef) -> Vec<NodeId> {
    let app = &rollout.plan.app;
    let own = counter(state, app, release);
    members_that(state, rollout, |id, stands| {
        let is_back = rollout
            .steps
            .get(id)
            .is_some_and(|step| step.phase == Phase::RolledBack);
        let runs = |current: &ReleaseRef| counter(state, app, current) >= own;
        stands.current.as_ref().is_some_and(runs) || (stands.busy && !is_back)
    })
}

fn members_that(state: &State, rollout: &Rollout, may: impl Fn(&NodeId, &NodeApp) -> bool) -> Vec<NodeId> {
    let within = state.environments.get(&rollout.plan.environment);
    let members = within.into_iter().flat_map(|within| &within.members);
    let stands = |id: &&NodeId| {
        let node = state.nodes.get(*id);
        let stands = node.and_then(|node| node.app(&rollout.plan.app));
        stands.is_some_and(|stands| may(id, stands))
    };
    members.filter(stands).cloned().collect()
}

/// Members outside the plan, whom a newer rollout has told nothing: they would refuse.
fn others_of(state: &State, rollout: &Rollout) -> Vec<NodeId> {
    members_that(state, rollout, |id, stands| {
        !rollout.has_in_its_plan(id) && stands.told.0 <= rollout.number && !stands.busy
    })
}

/// What the release itself says; a catch-up's plan holds none.
fn plan_of<'a>(state: &'a State, rollout: &Rollout, release: &ReleaseRef) -> Option<&'a MigrationPlan> {
    let known = state.release(&rollout.plan.app, &release.version)?;
    known.migration.as_ref().filter(|_| known.release == *release)
}

fn record<'a>(state: &'a State, rollout: &Rollout, release: &ReleaseRef) -> Option<&'a MigrationRecord> {
    let within = state.environments.get(&rollout.plan.environment)?;
    let records = within.migrations.get(&rollout.plan.app)?;
    records
        .get(&release.version)
        .filter(|record| record.release == *release)
}

/// Begun, and nobody knows its end.
fn open_records<'a>(state: &'a State, plan: &Plan) -> impl Iterator<Item = &'a MigrationRecord> {
    let records = state.migrations_of(&plan.app, &plan.environment);
    records.filter(|record| matches!(record.stand, MigrationStand::Started | MigrationStand::Unknown))
}

/// What a person may be asked about while this rollout waits: what it began itself, else what
/// it cannot go on without.
pub fn in_doubt<'a>(state: &'a State, rollout: &Rollout) -> Option<&'a MigrationRecord> {
    let plan = &rollout.plan;
    let unsettled = || {
        let records = state.migrations_of(&plan.app, &plan.environment);
        records.filter(|record| record.stand != MigrationStand::Done)
    };
    if let Some(own) = unsettled().find(|record| record.rollout == rollout.number) {
        return Some(own);
    }
    if rollout.is_ended() {
        return None;
    }
    let is_wanted = |record: &&MigrationRecord| match rollout.is_forward() {
        true => rollout.release() == Some(&record.release),
        false => record.act == MigrationAct::Down,
    };
    unsettled()
        .find(is_wanted)
        .or_else(|| open_records(state, plan).next())
}

/// What was found out while a person was asked.
pub(super) fn known_since(state: &State, rollout: &Rollout, since: Timestamp) -> Option<String> {
    let plan = &rollout.plan;
    let mut records = state.migrations_of(&plan.app, &plan.environment);
    let done = records.find(|record| record.stand == MigrationStand::Done && record.at > since)?;
    in_doubt(state, rollout).is_none().then(|| {
        format!(
            "; by now the migration of {} ({}) on {} is done",
            done.release, done.act, done.node
        )
    })
}
