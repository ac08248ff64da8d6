//! How many of what there are: counted in one pass over the state, for dashboards.
//!
//! What is counted is told apart by app and environment, of which there are few, and by
//! words that are known from the start; never by node, of which there are thousands.

mod waits;

use std::collections::BTreeMap;

use fleet_proto::ids::{AppName, EnvironmentName};
use fleet_proto::quantity::Span;
use fleet_proto::session::{Health, Phase};
use fleet_proto::time::Timestamp;

use crate::rollout::node::{Connection, Node, NodeApp};
use crate::rollout::state::{Course, Environment, Rollout, State, Step};

pub use waits::WAITS;

pub const COURSES: [&str; 6] = ["running", "paused", "held", "succeeded", "failed", "aborted"];
pub const OUTCOMES: [&str; 3] = ["succeeded", "failed", "aborted"];
pub const CONNECTIONS: [&str; 5] = ["connected", "silent", "unreachable", "revoked", "expired"];
pub const CONDITIONS: [&str; 4] = ["healthy", "unhealthy", "unknown", "drained"];
/// A step on its way on a node that cannot be reached, whatever phase it was in.
pub const UNREACHABLE: &str = "unreachable";

type Counts = BTreeMap<&'static str, u64>;

/// None is for what is in no environment, and for a halt of the whole fleet.
pub type Place = Option<EnvironmentName>;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    pub of_apps: BTreeMap<(AppName, EnvironmentName), OfApp>,
    pub of_places: BTreeMap<Place, OfPlace>,
}

/// One app in one environment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OfApp {
    /// By their course.
    pub rollouts: Counts,
    /// When the newest one ended so.
    pub ended: BTreeMap<&'static str, Timestamp>,
    /// Active rollouts, by what each waits for.
    pub waits: BTreeMap<&'static str, Wait>,
    /// Of active rollouts, by phase.
    pub steps: Counts,
    /// Told to move, and not heard to have come to an end.
    pub in_flight: u64,
    /// Nodes that run the app, by how it is there.
    pub conditions: Counts,
    pub behind: u64,
    pub unavailable: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wait {
    pub rollouts: u64,
    pub longest: Span,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct OfPlace {
    pub connections: Counts,
    /// When the newest ephemeral node expired.
    pub expired_at: Option<Timestamp>,
    pub halted_since: Option<Timestamp>,
}

pub fn figures(state: &State, now: Timestamp) -> Figures {
    let mut figures = Figures::default();
    for environment in state.environments.keys() {
        figures
            .of_places
            .insert(Some(environment.clone()), OfPlace::default());
        for app in state.releases.keys() {
            // All of them from the start: a series that appears late hides its first change.
            let pair = (app.clone(), environment.clone());
            figures.of_apps.insert(pair, OfApp::default());
        }
    }
    figures.count_halts(state);
    figures.count_nodes(state);
    for (name, within) in &state.environments {
        figures.count_environment(state, name, within);
    }
    for rollout in state.rollouts.values() {
        figures.count_rollout(state, rollout, now);
    }
    figures
}

impl Figures {
    fn of(&mut self, app: &AppName, environment: &EnvironmentName) -> &mut OfApp {
        self.of_apps
            .entry((app.clone(), environment.clone()))
            .or_default()
    }

    fn at(&mut self, place: Place) -> &mut OfPlace {
        self.of_places.entry(place).or_default()
    }

    fn count_halts(&mut self, state: &State) {
        self.at(None).halted_since = state.halt.as_ref().map(|halt| halt.since);
        for (name, within) in &state.environments {
            self.at(Some(name.clone())).halted_since = within.halt.as_ref().map(|halt| halt.since);
        }
    }

    /// Every node as if it were in no environment; those that are in one are moved there later.
    fn count_nodes(&mut self, state: &State) {
        let mut anywhere = Counts::new();
        for node in state.nodes.values() {
            if node.is_revoked() {
                // They are no members any more: their labels say where they were.
                for place in places_of(state, node) {
                    self.at(place).count_gone(node.connection);
                }
            } else {
                *anywhere.entry(word(node.connection)).or_default() += 1;
            }
        }
        let nowhere = self.at(None);
        for (word, count) in anywhere {
            *nowhere.connections.entry(word).or_default() += count;
        }
    }

    fn count_environment(&mut self, state: &State, name: &EnvironmentName, within: &Environment) {
        let mut connections = Counts::new();
        let mut conditions: BTreeMap<&AppName, Counts> = BTreeMap::new();
        for node in within.members.iter().filter_map(|id| state.nodes.get(id)) {
            *connections.entry(word(node.connection)).or_default() += 1;
            for (app, stands) in &node.apps {
                if let Some(condition) = condition(node, stands) {
                    *conditions.entry(app).or_default().entry(condition).or_default() += 1;
                }
            }
        }
        let nowhere = self.at(None);
        for (word, count) in &connections {
            let all = nowhere.connections.entry(word).or_default();
            *all = all.saturating_sub(*count);
        }
        for (word, count) in connections {
            *self.at(Some(name.clone())).connections.entry(word).or_default() += count;
        }
        for (app, counts) in conditions {
            self.of(app, name).conditions = counts;
        }
        for (app, nodes) in &within.behind {
            self.of(app, name).behind = nodes.len() as u64;
        }
        for (app, nodes) in &within.down {
            self.of(app, name).unavailable = nodes.len() as u64;
        }
    }

    fn count_rollout(&mut self, state: &State, rollout: &Rollout, now: Timestamp) {
        let of = self.of(&rollout.plan.app, &rollout.plan.environment);
        *of.rollouts.entry(rollout.course.word()).or_default() += 1;
        if let Course::Ended { at, .. } = rollout.course {
            let newest = of.ended.entry(rollout.course.word()).or_default();
            *newest = at.max(*newest);
            return;
        }
        if let Some((what, since)) = waits::wait(state, rollout) {
            let wait = of.waits.entry(what).or_default();
            wait.rollouts += 1;
            wait.longest = wait.longest.max(now.since(since));
        }
        for (id, step) in &rollout.steps {
            let is_away = state.away.contains(id) && state.nodes.get(id).is_none_or(Node::is_unreachable);
            *of.steps.entry(phase(step, is_away)).or_default() += 1;
            of.in_flight += u64::from(step.is_in_flight() && !step.taken_over);
        }
    }
}

impl OfPlace {
    fn count_gone(&mut self, connection: Connection) {
        *self.connections.entry(word(connection)).or_default() += 1;
        if let Connection::Expired { at } = connection {
            self.expired_at = self.expired_at.max(Some(at));
        }
    }
}

fn places_of(state: &State, node: &Node) -> Vec<Place> {
    let environments = state.environments.iter();
    let selecting = environments.filter(|(_, within)| within.select.matches(&node.labels));
    let places: Vec<Place> = selecting.map(|(name, _)| Some(name.clone())).collect();
    if places.is_empty() { vec![None] } else { places }
}

fn phase(step: &Step, is_away: bool) -> &'static str {
    if is_away && step.is_in_flight() {
        UNREACHABLE
    } else {
        Phase::word(step.phase)
    }
}

fn word(connection: Connection) -> &'static str {
    match connection {
        Connection::Connected => "connected",
        Connection::Silent { .. } => "silent",
        Connection::Unreachable { .. } => "unreachable",
        Connection::Revoked { .. } => "revoked",
        Connection::Expired { .. } => "expired",
    }
}

/// None where nothing of the app runs. Of a node that is away nobody knows how it is now.
fn condition(node: &Node, stands: &NodeApp) -> Option<&'static str> {
    stands.current.as_ref()?;
    if node.service.drained {
        return Some("drained");
    }
    if !node.is_connected() {
        return Some("unknown");
    }
    match stands.health {
        Health::Healthy => Some("healthy"),
        Health::Unhealthy { .. } => Some("unhealthy"),
        Health::Unknown | Health::Empty => Some("unknown"),
    }
}

#[cfg(test)]
mod tests;
