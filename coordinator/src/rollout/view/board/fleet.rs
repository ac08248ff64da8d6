//! Every node of an environment in one small document: a cell each.

use std::collections::BTreeMap;

use fleet_proto::ids::{AppName, EnvironmentName, NodeId};
use fleet_proto::release::Strategy;
use fleet_proto::session::Phase;
use fleet_proto::view::board::{FleetBoard, FleetWords};

use super::nodes::{connection_word, health_word};
use crate::rollout::input::Refusal;
use crate::rollout::node::Node;
use crate::rollout::plan::{find_app, find_environment};
use crate::rollout::state::{Rollout, State};

const CONNECTIONS: [&str; 5] = ["connected", "silent", "unreachable", "revoked", "expired"];
const HEALTHS: [&str; 4] = ["empty", "unknown", "healthy", "unhealthy"];
const CORDONED: i32 = 1;
const DRAINED: i32 = 2;

/// Of what is named; else of the newest rollout that is active, else of what comes first.
pub fn fleet(
    state: &State,
    environment: Option<&EnvironmentName>,
    app: Option<&AppName>,
) -> Result<FleetBoard, Refusal> {
    let fits = |rollout: &&Rollout| {
        environment.is_none_or(|name| *name == rollout.plan.environment)
            && app.is_none_or(|name| *name == rollout.plan.app)
    };
    let active = state.active.iter().rev();
    let active = active.filter_map(|number| state.rollouts.get(number)).find(fits);
    let environment = match (environment, active) {
        (Some(named), _) => Some(find_environment(state, Some(named))?.0),
        (None, Some(rollout)) => Some(rollout.plan.environment.clone()),
        (None, None) => state.environments.keys().next().cloned(),
    };
    let app = match (app, active) {
        (Some(named), _) => Some(find_app(state, Some(named))?),
        (None, Some(rollout)) => Some(rollout.plan.app.clone()),
        (None, None) => state.releases.keys().next().cloned(),
    };
    Ok(Table::new(state, environment, app, active).fill())
}

struct Table<'a> {
    state: &'a State,
    rollout: Option<&'a Rollout>,
    /// By which the nodes of a wave are spread.
    domain: String,
    zones: BTreeMap<&'a str, i32>,
    versions: BTreeMap<String, i32>,
    board: FleetBoard,
}

impl<'a> Table<'a> {
    fn new(
        state: &'a State,
        environment: Option<EnvironmentName>,
        app: Option<AppName>,
        active: Option<&'a Rollout>,
    ) -> Self {
        let strategy = active.map(|rollout| &rollout.plan.strategy);
        let domain = strategy.map_or_else(|| Strategy::default().spread, |strategy| strategy.spread.clone());
        Self {
            state,
            rollout: active,
            domain,
            zones: BTreeMap::new(),
            versions: BTreeMap::new(),
            board: FleetBoard {
                position: state.position,
                environment,
                app,
                rollout: active.map(|rollout| rollout.number),
                waves: active.map_or(0, |rollout| rollout.plan.waves.len()),
                ..FleetBoard::default()
            },
        }
    }

    fn fill(mut self) -> FleetBoard {
        let state = self.state;
        let within = self.board.environment.as_ref();
        let within = within.and_then(|name| state.environments.get(name));
        let members = state.nodes.iter().filter(|(_, node)| {
            let is_in = within.is_none_or(|within| within.select.matches(&node.labels));
            is_in && !node.is_revoked()
        });
        for (id, node) in members {
            self.add(id, node);
        }
        self.board.words = FleetWords {
            zones: in_order(self.zones.iter().map(|(word, at)| (*at, (*word).to_owned()))),
            versions: in_order(self.versions.iter().map(|(word, at)| (*at, word.clone()))),
            phases: Phase::ALL.map(Phase::word).to_vec(),
            connections: CONNECTIONS.to_vec(),
            healths: HEALTHS.to_vec(),
        };
        self.board
    }

    fn add(&mut self, id: &NodeId, node: &'a Node) {
        let zone = node.labels.get(&self.domain);
        let zone = zone.map_or(-1, |zone| place(&mut self.zones, zone.as_str()));
        let step = self.rollout.and_then(|rollout| rollout.steps.get(id));
        let app = self.board.app.as_ref().and_then(|app| node.app(app));
        let current = app.and_then(|app| app.current.as_ref());
        let version = current.map_or(-1, |release| {
            place(&mut self.versions, release.version.to_string())
        });
        let health = app.map_or(0, |app| index(&HEALTHS, health_word(&app.health)));
        let cordoned = i32::from(node.cordon.is_some()) * CORDONED;
        let drained = i32::from(node.service.drained) * DRAINED;
        let board = &mut self.board;
        board.nodes.push(id.clone());
        board.zone.push(zone);
        board.wave.push(step.map_or(-1, |step| small(step.wave + 1)));
        board.phase.push(step.map_or(-1, |step| step.phase as i32));
        board
            .connection
            .push(index(&CONNECTIONS, connection_word(node.connection)));
        board.health.push(health);
        board.version.push(version);
        board.flags.push(cordoned | drained);
    }
}

fn small(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The word's number; a new one gets the next.
fn place<W: Ord>(words: &mut BTreeMap<W, i32>, word: W) -> i32 {
    let next = small(words.len());
    *words.entry(word).or_insert(next)
}

fn index(words: &[&str], word: &str) -> i32 {
    words.iter().position(|known| *known == word).map_or(-1, small)
}

fn in_order(words: impl Iterator<Item = (i32, String)>) -> Vec<String> {
    let by_place: BTreeMap<i32, String> = words.collect();
    by_place.into_values().collect()
}
