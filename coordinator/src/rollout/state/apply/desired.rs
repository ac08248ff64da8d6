//! What an environment and each of its nodes want to run: what rollouts and people made of it.

use fleet_proto::ids::NodeId;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::Phase;

use crate::rollout::event::{Outcome, RolloutKind};
use crate::rollout::state::{Rollout, State, Unwanted};

impl State {
    /// An operator's rollback does; one that puts back what a rollout failed with does not.
    pub fn undoes_what_was_wanted(&self, rollout: &Rollout) -> bool {
        match &rollout.kind {
            RolloutKind::Rollback { parent, .. } => {
                let parent = parent.and_then(|parent| self.rollouts.get(&parent));
                parent.is_none_or(|parent| match parent.is_forward() {
                    true => parent.succeeded(),
                    // The same once more.
                    false => self.undoes_what_was_wanted(parent),
                })
            }
            RolloutKind::Forward { .. } | RolloutKind::CatchUp { .. } => false,
        }
    }

    /// From when an operator takes a release back nobody is brought to it any more; and
    /// nodes that go back from it do not want it for themselves.
    pub(super) fn want_no_more(&mut self, rollout: &Rollout, leave: Option<&ReleaseRef>) -> Unwanted {
        let app = &rollout.plan.app;
        let mut unwanted = Unwanted::default();
        let undoes = self.undoes_what_was_wanted(rollout);
        if let Some(within) = self.environments.get_mut(&rollout.plan.environment)
            && undoes
            && (leave.is_none() || leave == within.desired.get(app))
        {
            unwanted.of_the_environment = within.desired.remove(app);
        }
        for id in rollout.steps.keys() {
            let stands = self.nodes.get_mut(id).and_then(|node| node.apps.get_mut(app));
            let taken = stands.and_then(|stands| {
                let left = |wanted: &mut ReleaseRef| leave.is_none() || leave == Some(wanted);
                stands.wanted.take_if(left)
            });
            if let Some(taken) = taken {
                unwanted.of_nodes.insert(id.clone(), taken);
            }
        }
        unwanted
    }

    /// A rollback that failed or was aborted: nodes that went back stay there, the others want
    /// what they wanted. The environment wants that too, unless it failed, or all went back,
    /// and those that did agree on another release.
    pub(super) fn want_again(&mut self, rollout: &Rollout, outcome: Outcome) {
        let app = &rollout.plan.app;
        let went = |id: &NodeId| {
            let step = rollout.steps.get(id);
            step.is_some_and(|step| step.phase == Phase::RolledBack)
        };
        for (id, wanted) in &rollout.unwanted.of_nodes {
            let stands = self.nodes.get_mut(id).and_then(|node| node.apps.get_mut(app));
            if let Some(stands) = stands.filter(|_| !went(id)) {
                stands.wanted.get_or_insert_with(|| wanted.clone());
            }
        }
        let reached = self.reached(rollout);
        for id in rollout.steps.keys().filter(|id| went(id)) {
            let stands = self.nodes.get_mut(id).and_then(|node| node.apps.get_mut(app));
            if let Some(stands) = stands {
                stands.wanted = stands.current.clone();
            }
        }
        let all_went = rollout.steps.keys().all(went);
        let Some(within) = self.environments.get_mut(&rollout.plan.environment) else {
            return;
        };
        let Some(before) = &rollout.unwanted.of_the_environment else {
            return;
        };
        let wanted = match reached.as_slice() {
            [agreed] if outcome == Outcome::Failed || all_went => agreed,
            _ => before,
        };
        within
            .desired
            .entry(app.clone())
            .or_insert_with(|| wanted.clone());
    }

    /// What the nodes run that a rollback has brought back.
    fn reached(&self, rollout: &Rollout) -> Vec<ReleaseRef> {
        let back = rollout.steps.iter();
        let back = back.filter(|(_, step)| step.phase == Phase::RolledBack);
        let mut reached: Vec<ReleaseRef> = back
            .filter_map(|(node, _)| self.nodes.get(node)?.current(&rollout.plan.app).cloned())
            .collect();
        reached.sort();
        reached.dedup();
        reached
    }

    /// Each node's own wish is what its newest rollout made of it: all that it wants if that
    /// covered the whole environment, its release if it covered a part.
    fn want_of_each(&mut self, rollout: &Rollout) {
        let app = &rollout.plan.app;
        let release = rollout
            .release()
            .filter(|_| rollout.is_forward() && rollout.selected);
        let left_out = rollout.plan.left_out.iter().map(|left_out| &left_out.node);
        let nodes: Vec<NodeId> = if rollout.is_forward() && !rollout.selected {
            self.nodes.keys().cloned().collect()
        } else {
            rollout.steps.keys().chain(left_out).cloned().collect()
        };
        let within = self.environments.get(&rollout.plan.environment);
        let Some(select) = within.map(|within| within.select.clone()) else {
            return;
        };
        for id in nodes {
            let step = rollout.steps.get(&id);
            let Some(node) = self
                .nodes
                .get_mut(&id)
                .filter(|node| select.matches(&node.labels))
            else {
                continue;
            };
            let stands = match release {
                Some(_) => node.apps.entry(app.clone()).or_default(),
                None => match node.apps.get_mut(app) {
                    Some(stands) => stands,
                    None => continue,
                },
            };
            stands.wanted = match step {
                // Where an operator's rollback brought it.
                Some(step) if !rollout.is_forward() && step.phase == Phase::RolledBack => {
                    stands.current.clone()
                }
                _ => release.cloned(),
            };
        }
    }

    /// A rollout that succeeded says what the environment wants from now on; a rollback
    /// says so only where all nodes agree, and only if it undid what was wanted: after a
    /// rollout that failed, the environment wants what it wanted before.
    pub(super) fn record_desired(&mut self, rollout: &Rollout) {
        if !rollout.is_forward() && !self.undoes_what_was_wanted(rollout) {
            return;
        }
        let app = &rollout.plan.app;
        self.want_of_each(rollout);
        if rollout.is_forward() && rollout.selected {
            return;
        }
        let reached = match &rollout.kind {
            RolloutKind::Forward { release } | RolloutKind::CatchUp { release } => vec![release.clone()],
            RolloutKind::Rollback { .. } => self.reached(rollout),
        };
        let nobody_went = rollout.steps.values().all(|step| step.phase != Phase::RolledBack);
        let Some(environment) = self.environments.get_mut(&rollout.plan.environment) else {
            return;
        };
        if let [release] = reached.as_slice() {
            environment.desired.insert(app.clone(), release.clone());
        } else if !reached.is_empty() || !nobody_went {
            environment.desired.remove(app);
        }
    }
}
