//! Who is in an environment, who is down there, and who does not run what is wanted of it:
//! indexes, so that nobody has to look at a whole fleet to find the few.

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

    fn is_down(&self, node: &Node, app: &AppName) -> bool {
        let stands = node.app(app);
        !node.is_revoked()
            && self.select.matches(&node.labels)
            && stands.is_some_and(|stands| stands.is_down(node.is_connected() && !node.service.drained))
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
            let is_down = within.is_down(node, app);
            mark(within.down.entry(app.clone()).or_default(), id, is_down);
            let is_behind = within.is_behind(node, app)
                && !self
                    .active
                    .iter()
                    .filter_map(|number| self.rollouts.get(number))
                    .any(|rollout| {
                        rollout.plan.app == *app
                            && rollout.plan.environment == *name
                            && !rollout.beside
                            && rollout.has_in_its_plan(id)
                    });
            mark(within.behind.entry(app.clone()).or_default(), id, is_behind);
        }
    }

    /// A node came, went, or was labelled anew.
    pub(super) fn note_wishes(&mut self, id: &NodeId) {
        if let Some(node) = self.nodes.get(id) {
            for within in self.environments.values_mut() {
                let is_in = !node.is_revoked() && within.select.matches(&node.labels);
                mark(&mut within.members, id, is_in);
            }
        }
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
        let Some(within) = self.environments.get_mut(environment) else {
            return;
        };
        let is_in = |node: &Node| !node.is_revoked() && within.select.matches(&node.labels);
        let members = self.nodes.iter().filter(|(_, node)| is_in(node));
        within.members = members.map(|(id, _)| id.clone()).collect();
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

    /// Everybody's, for one app: when a rollout begins or ends. Everywhere, for a node of it
    /// may have been labelled into another environment meanwhile.
    pub(super) fn note_wishes_about(&mut self, app: &AppName) {
        let names: Vec<EnvironmentName> = self.environments.keys().cloned().collect();
        for name in names {
            self.note_wishes_for(&name, app);
        }
    }

    fn note_wishes_for(&mut self, environment: &EnvironmentName, app: &AppName) {
        let Some(within) = self.environments.get(environment) else {
            return;
        };
        let planned: Vec<_> = self
            .active
            .iter()
            .filter_map(|number| self.rollouts.get(number))
            .filter(|rollout| {
                rollout.plan.app == *app && rollout.plan.environment == *environment && !rollout.beside
            })
            .collect();
        let down = self.nodes.iter().filter(|(_, node)| within.is_down(node, app));
        let down: BTreeSet<NodeId> = down.map(|(id, _)| id.clone()).collect();
        let behind: BTreeSet<NodeId> = self
            .nodes
            .iter()
            .filter(|(id, node)| {
                within.is_behind(node, app) && !planned.iter().any(|rollout| rollout.has_in_its_plan(id))
            })
            .map(|(id, _)| id.clone())
            .collect();
        if let Some(within) = self.environments.get_mut(environment) {
            within.down.insert(app.clone(), down);
            within.behind.insert(app.clone(), behind);
        }
    }
}

fn mark(index: &mut BTreeSet<NodeId>, id: &NodeId, is_in: bool) {
    if !is_in {
        index.remove(id);
    } else if !index.contains(id) {
        index.insert(id.clone());
    }
}
