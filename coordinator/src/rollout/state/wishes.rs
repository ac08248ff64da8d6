//! What is wanted of each node, and who does not run it: an index, so that nobody has to
//! look at a whole fleet to find the one that is behind.

use std::collections::BTreeSet;

use fleet_proto::ids::{AppName, EnvironmentName, NodeId};
use fleet_proto::release::ReleaseRef;

use super::{Environment, State};
use crate::rollout::node::{Node, NodeApp};

impl Environment {
    /// What one node of it is to run, if anybody has said so.
    pub fn wish<'a>(&'a self, node: &'a Node, app: &AppName) -> Option<&'a ReleaseRef> {
        let own = node.app(app).and_then(|stands| stands.wanted.as_ref());
        own.or_else(|| self.desired.get(app))
    }

    fn is_behind(&self, node: &Node, app: &AppName) -> bool {
        let Some(wish) = self.wish(node, app).filter(|_| !node.is_revoked()) else {
            return false;
        };
        let is_as_wished = |stands: &NodeApp| {
            stands.current.as_ref() == Some(wish) && stands.last_good.as_ref() == Some(wish)
        };
        self.select.matches(&node.labels) && !node.app(app).is_some_and(is_as_wished)
    }
}

impl State {
    /// One app on one node changed.
    pub(super) fn note_wish(&mut self, id: &NodeId, app: &AppName) {
        let Some(node) = self.nodes.get(id) else { return };
        for (name, within) in &mut self.environments {
            let is_behind = within.is_behind(node, app)
                && !self
                    .active
                    .iter()
                    .filter_map(|number| self.rollouts.get(number))
                    .any(|rollout| {
                        rollout.plan.app == *app
                            && rollout.plan.environment == *name
                            && !rollout.is_catch_up()
                            && rollout.has_in_its_plan(id)
                    });
            if is_behind {
                within.behind.entry(app.clone()).or_default().insert(id.clone());
            } else if let Some(behind) = within.behind.get_mut(app) {
                behind.remove(id);
            }
        }
    }

    /// A node came, went, or was labelled anew.
    pub(super) fn note_wishes(&mut self, id: &NodeId) {
        let apps: BTreeSet<AppName> = self
            .environments
            .values()
            .flat_map(|within| within.desired.keys().chain(within.behind.keys()))
            .chain(self.nodes.get(id).into_iter().flat_map(|node| node.apps.keys()))
            .cloned()
            .collect();
        for app in apps {
            self.note_wish(id, &app);
        }
    }

    /// What an environment wants, or who is in it, changed.
    pub(super) fn note_wishes_of_all(&mut self, environment: &EnvironmentName) {
        let Some(within) = self.environments.get(environment) else {
            return;
        };
        let apps: Vec<AppName> = within
            .desired
            .keys()
            .chain(within.behind.keys())
            .chain(self.releases.keys())
            .cloned()
            .collect();
        for app in apps {
            self.note_wishes_for(environment, &app);
        }
    }

    /// Everybody's, for one app: when a rollout begins or ends.
    pub(super) fn note_wishes_for(&mut self, environment: &EnvironmentName, app: &AppName) {
        let Some(within) = self.environments.get(environment) else {
            return;
        };
        let planned: Vec<_> = self
            .active
            .iter()
            .filter_map(|number| self.rollouts.get(number))
            .filter(|rollout| {
                rollout.plan.app == *app && rollout.plan.environment == *environment && !rollout.is_catch_up()
            })
            .collect();
        let behind: BTreeSet<NodeId> = self
            .nodes
            .iter()
            .filter(|(id, node)| {
                within.is_behind(node, app) && !planned.iter().any(|rollout| rollout.has_in_its_plan(id))
            })
            .map(|(id, _)| id.clone())
            .collect();
        if let Some(within) = self.environments.get_mut(environment) {
            within.behind.insert(app.clone(), behind);
        }
    }
}
