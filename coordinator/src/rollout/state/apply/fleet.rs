//! The fleet: environments, releases, tokens and nodes.

use std::collections::{BTreeMap, BTreeSet};

use fleet_proto::ids::{AppName, EnvironmentName, NodeId, RolloutNumber, TokenId};
use fleet_proto::labels::Selector;
use fleet_proto::session::Order;
use fleet_proto::time::Timestamp;

use super::IllegalEvent;
use crate::rollout::event::{CatchUp, NewToken, PushRelease, Tenure};
use crate::rollout::node::{Connection, Node};
use crate::rollout::state::{Environment, Halt, Release, State, Token};

impl State {
    pub(super) fn take_charge(&mut self, term: u64) -> Result<(), IllegalEvent> {
        if term <= self.term {
            return Err(IllegalEvent::Term {
                last: self.term,
                found: term,
            });
        }
        self.term = term;
        Ok(())
    }

    /// What this state wants of the fleet is from another time: nodes are as they say,
    /// until somebody wants something anew.
    pub(super) fn take_over(&mut self, term: u64, rollout: RolloutNumber) -> Result<(), IllegalEvent> {
        self.take_charge(term)?;
        self.taken_over = self.last_rollout().max(rollout);
        self.outdated.clear();
        for environment in self.environments.values_mut() {
            environment.desired.clear();
            environment.behind.clear();
        }
        for app in self.nodes.values_mut().flat_map(|node| node.apps.values_mut()) {
            app.order = None;
            app.wanted = None;
        }
        Ok(())
    }

    pub(super) fn define_environment(
        &mut self,
        name: &EnvironmentName,
        select: &Selector,
        catch_up: CatchUp,
    ) {
        let environment = self.environments.entry(name.clone());
        let environment = environment.or_insert_with(|| Environment {
            select: select.clone(),
            desired: BTreeMap::new(),
            catch_up,
            halt: None,
            known_bad: BTreeMap::new(),
            behind: BTreeMap::new(),
            migrations: BTreeMap::new(),
            members: BTreeSet::new(),
            down: BTreeMap::new(),
        });
        environment.select = select.clone();
        environment.catch_up = catch_up;
        self.note_wishes_of_all(name);
    }

    pub(super) fn halt_at(
        &mut self,
        environment: Option<&EnvironmentName>,
    ) -> Result<&mut Option<Halt>, IllegalEvent> {
        let Some(name) = environment else {
            return Ok(&mut self.halt);
        };
        match self.environments.get_mut(name) {
            Some(within) => Ok(&mut within.halt),
            None => Err(IllegalEvent::NoEnvironment(name.clone())),
        }
    }

    /// What was not to move, or could not be seen to, is not late for that.
    pub(super) fn start_clocks(&mut self, at: Timestamp) {
        for number in &self.active {
            if let Some(rollout) = self.rollouts.get_mut(number) {
                rollout.clock_from = at;
            }
        }
    }

    pub(super) fn push_release(&mut self, push: &PushRelease, by: &str, at: Timestamp) {
        let releases = self.releases.entry(push.app.clone()).or_default();
        if let Some(known) = releases.get_mut(&push.release.version)
            && known.release == push.release
        {
            known.signed_by.clone_from(&push.signed_by);
            return;
        }
        releases.insert(
            push.release.version.clone(),
            Release {
                release: push.release.clone(),
                counter: push.counter,
                components: push.components.clone(),
                platforms: push.platforms.clone(),
                strategy: push.strategy.clone(),
                healthy_deadline: push.healthy_deadline,
                migration: push.migration.clone(),
                signed_by: push.signed_by.clone(),
                pushed_at: at,
                by: by.to_owned(),
            },
        );
    }

    pub(super) fn create_token(&mut self, new: &NewToken, expires_at: Timestamp, by: &str, at: Timestamp) {
        self.tokens.retain(|_, known| known.is_kept(at));
        let token = Token {
            secret_hash: new.secret_hash,
            node: new.node.clone(),
            labels: new.labels.clone(),
            uses_left: new.uses,
            expires_at,
            tenure: new.tenure,
            revoked: false,
            by: by.to_owned(),
        };
        self.tokens.insert(new.id.clone(), token);
    }

    pub(super) fn use_up(&mut self, token: &TokenId) -> Result<(), IllegalEvent> {
        let token = self.token(token)?;
        token.uses_left = token.uses_left.saturating_sub(1);
        Ok(())
    }

    /// A node that comes back under its name is as it was, until it says how it is.
    pub(super) fn enrol(&mut self, id: &NodeId, mut new: Node, at: Timestamp) {
        self.forget_expired(at);
        // One that has expired has left its name to another, of which nothing is known.
        if let Some(known) = self.nodes.remove(id).filter(|known| !known.has_expired()) {
            new.apps = known.apps;
            new.history_taken = known.history_taken;
            // The same machine may come back with its ledger; another one is told again.
            new.service = known.service;
            // No node gets out of it by getting in again.
            new.cordon = known.cordon;
        }
        for app in new.apps.values_mut() {
            // What another machine of that name left says nothing about this one.
            app.left.clear();
            app.catch_up_after = Timestamp(0);
        }
        self.silent.remove(id);
        self.away.insert(id.clone());
        // Also one that never comes expires.
        if new.tenure == Tenure::Ephemeral {
            self.expiring.insert(id.clone());
        } else {
            self.expiring.remove(id);
        }
        self.nodes.insert(id.clone(), new);
        self.note_wishes(id);
    }

    pub(super) fn token(&mut self, token: &TokenId) -> Result<&mut Token, IllegalEvent> {
        self.tokens
            .get_mut(token)
            .ok_or_else(|| IllegalEvent::NoToken(token.clone()))
    }

    pub(super) fn node(&mut self, node: &NodeId) -> Result<&mut Node, IllegalEvent> {
        self.nodes
            .get_mut(node)
            .ok_or_else(|| IllegalEvent::NoNode(node.clone()))
    }

    /// A move that goes forward has taken away what ran, and left nothing.
    pub(super) fn note_emptied(
        &mut self,
        node: &NodeId,
        app: &AppName,
        is_taken_away: bool,
    ) -> Result<(), IllegalEvent> {
        let known = self.node(node)?;
        let Some(stands) = known.apps.get(app) else {
            return Ok(());
        };
        let deployed = stands
            .order
            .as_ref()
            .filter(|issued| matches!(issued.order, Order::Deploy { .. }));
        let number = deployed.map(|issued| issued.number);
        let is_empty = stands.current.is_none();
        let step = number
            .and_then(|number| self.rollouts.get(&number))
            .and_then(|rollout| rollout.steps.get(node));
        let served = step.is_some_and(|step| step.from.is_some());
        if let Some(stands) = self.node(node)?.apps.get_mut(app) {
            stands.emptied = is_empty && (stands.emptied || (is_taken_away && served));
        }
        Ok(())
    }

    pub(super) fn connect(&mut self, node: &NodeId, connection: Connection) -> Result<(), IllegalEvent> {
        let known = self.node(node)?;
        known.connection = connection;
        let is_gone = matches!(connection, Connection::Unreachable { .. });
        let expires = is_gone && known.tenure == Tenure::Ephemeral;
        let apps: Vec<AppName> = known.apps.keys().cloned().collect();
        if connection == Connection::Connected {
            self.away.remove(node);
        } else {
            self.away.insert(node.clone());
        }
        if matches!(connection, Connection::Silent { .. }) {
            self.silent.insert(node.clone());
        } else {
            self.silent.remove(node);
        }
        if expires {
            self.expiring.insert(node.clone());
        } else {
            self.expiring.remove(node);
        }
        for app in apps {
            self.note_wish(node, &app);
        }
        Ok(())
    }
}
