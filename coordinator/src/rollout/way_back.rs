//! How far back nodes may go: behind a migration that cannot be undone nobody goes unasked,
//! by whatever command. Every way back asks here.

use std::collections::BTreeSet;

use fleet_proto::ids::{AppName, EnvironmentName, NodeId};
use fleet_proto::migration::{MigrationStand, Undo};
use fleet_proto::release::ReleaseRef;

use super::state::{MigrationRecord, Rollout, State};

/// How far back a node would go, in the order in which releases were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    To(u64),
    /// What it had before this one; nobody but the node knows what that was.
    Below(u64),
}

impl Reach {
    /// To a named release.
    pub fn of(state: &State, app: &AppName, release: &ReleaseRef) -> Self {
        Self::To(counter(state, app, release).unwrap_or(0))
    }

    fn steps_over(self, migrated: u64) -> bool {
        match self {
            Self::To(to) => migrated > to,
            Self::Below(left) => migrated >= left,
        }
    }
}

/// When it was made, among the releases of its app.
pub fn counter(state: &State, app: &AppName, release: &ReleaseRef) -> Option<u64> {
    let known = state.release(app, &release.version)?;
    (known.release == *release).then_some(known.counter)
}

/// Where a node goes from what it is to leave, or from what runs. None: it has nothing to
/// go back to.
pub fn reach(state: &State, app: &AppName, id: &NodeId, leave: Option<&ReleaseRef>) -> Option<Reach> {
    let stands = state.nodes.get(id)?.app(app)?;
    let leaves = leave.or(stands.current.as_ref())?;
    let below = || counter(state, app, leaves).map_or(Reach::To(0), Reach::Below);
    let to = |release| counter(state, app, release).map_or_else(below, Reach::To);
    if let Some(good) = stands.last_good.as_ref().filter(|good| *good != leaves) {
        return Some(to(good));
    }
    let mut brought = state.rollouts.values().rev().filter(|rollout| {
        rollout.is_forward() && rollout.plan.app == *app && rollout.release() == Some(leaves)
    });
    let step = brought.find_map(|rollout| {
        let step = rollout.steps.get(id)?;
        (step.is_issued() && step.from.as_ref() != Some(leaves)).then_some(step)
    });
    match step {
        Some(step) => step.from.as_ref().map(to),
        None => Some(below()),
    }
}

/// The newest migration without a way back that lies behind one of these: applied, or begun
/// and perhaps applied.
pub fn is_shut<'a>(
    state: &'a State,
    app: &AppName,
    environment: &EnvironmentName,
    reaches: &[Reach],
) -> Option<&'a MigrationRecord> {
    without_a_way_back(state, app, environment)
        .filter(|(migrated, _)| reaches.iter().any(|reach| reach.steps_over(*migrated)))
        .max_by_key(|(migrated, _)| *migrated)
        .map(|(_, record)| record)
}

/// The same, for nodes that are to leave what a rollout brings.
pub fn is_shut_for<'a>(
    state: &'a State,
    rollout: &Rollout,
    nodes: &BTreeSet<NodeId>,
) -> Option<&'a MigrationRecord> {
    let plan = &rollout.plan;
    // Hardly ever there is any, and then nobody has to be looked up.
    without_a_way_back(state, &plan.app, &plan.environment).next()?;
    let reaches: Vec<Reach> = nodes
        .iter()
        .filter_map(|id| reach(state, &plan.app, id, rollout.release()))
        .collect();
    is_shut(state, &plan.app, &plan.environment, &reaches)
}

fn without_a_way_back<'a>(
    state: &'a State,
    app: &AppName,
    environment: &EnvironmentName,
) -> impl Iterator<Item = (u64, &'a MigrationRecord)> {
    let within = state.environments.get(environment);
    let records = within.and_then(|within| within.migrations.get(app));
    let releases = state.releases.get(app);
    records
        .into_iter()
        .flat_map(|records| records.values())
        .filter_map(move |record| {
            let release = releases.and_then(|releases| releases.get(&record.release.version));
            let plan = release.and_then(|release| release.migration.as_ref());
            let has_none = record.contracted || plan.is_some_and(|plan| plan.undo == Undo::Never);
            has_none.then_some((release.map_or(u64::MAX, |release| release.counter), record))
        })
}

/// What it says of itself.
pub fn why_shut(app: &AppName, record: &MigrationRecord) -> String {
    let release = &record.release;
    if record.contracted {
        return format!("the contract step of {app} {release} took away what older releases may need");
    }
    match record.stand {
        MigrationStand::Done => format!(
            "the migration of {app} {release} cannot be undone, and what ran before may not run on what it left"
        ),
        MigrationStand::Failed => format!(
            "the migration of {app} {release} failed, and what it may have left in the database cannot be undone"
        ),
        _ => format!("the migration of {app} {release} may have been done, and cannot be undone"),
    }
}

/// What opens it.
pub fn hint(record: &MigrationRecord) -> String {
    let insist = "--again goes back all the same; a release that mends it goes forward";
    if record.contracted || record.stand == MigrationStand::Done {
        return insist.to_owned();
    }
    let number = record.rollout.0;
    format!("fleetctl migration {number} not-done, if the database has nothing of it; {insist}")
}
