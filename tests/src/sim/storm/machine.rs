//! One machine: what is on its disk, what really runs on it, and its agent, if that runs.

use std::collections::{BTreeMap, BTreeSet};

use fleet_agent::install::Work;
use fleet_agent::ledger::{AppRecord, Ledger};
use fleet_proto::ids::{AppName, NodeId};
use fleet_proto::quantity::Bytes;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{AppStatus, Facts, Health, Hello, Phase, ServiceStatus};
use fleet_proto::time::Timestamp;

use super::network::SessionId;

#[derive(Debug)]
pub struct Machine {
    pub id: NodeId,
    pub zone: usize,
    pub is_on: bool,
    pub booted_at: Timestamp,
    /// As it was saved last: an agent saves before anything follows.
    pub ledger: Ledger,
    /// Releases that are whole on the disk.
    pub slots: BTreeMap<AppName, BTreeSet<ReleaseRef>>,
    pub is_full: bool,
    /// Processes outlive the agent, not the power.
    pub running: BTreeMap<AppName, ReleaseRef>,
    /// Nothing that runs here is well.
    pub is_ill: bool,
    pub agent: Option<Agent>,
    /// Good releases that are kept at most.
    pub good_releases_max: usize,
}

#[derive(Debug, Default)]
pub struct Agent {
    pub life: u64,
    /// As far as it knows.
    pub session: Option<SessionId>,
    pub said: BTreeMap<AppName, AppStatus>,
    pub history_through: u64,
    pub is_about_to_speak: bool,
    pub said_of_service: ServiceStatus,
    pub health: BTreeMap<AppName, Health>,
    pub prefetch: BTreeMap<AppName, ReleaseRef>,
    pub lanes: BTreeMap<AppName, Lane>,
}

/// What the agent is at with one app: fetching beside, and running.
#[derive(Debug, Default)]
pub struct Lane {
    pub work: Option<Work>,
    /// Rises with each change of the work: an outcome of older work is nobody's.
    pub assignment: u64,
    pub fetching: Option<ReleaseRef>,
    pub fetch_effect: u64,
    /// Given while the node is drained.
    pub drained: bool,
    /// What has been made so, once anything has.
    pub converged: Option<Made>,
    /// Being made to run: cannot be interrupted, but by death.
    pub converging: Option<Converging>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub release: Option<ReleaseRef>,
    pub drained: bool,
}

impl Made {
    /// What runs of it.
    pub fn started(self) -> Option<ReleaseRef> {
        self.release.filter(|_| !self.drained)
    }
}

#[derive(Debug)]
pub struct Converging {
    pub to: Made,
    pub assignment: u64,
}

impl Machine {
    pub fn new(id: NodeId, zone: usize, now: Timestamp) -> Self {
        Self {
            id,
            zone,
            is_on: true,
            booted_at: now,
            ledger: Ledger::default(),
            slots: BTreeMap::new(),
            is_full: false,
            running: BTreeMap::new(),
            is_ill: false,
            agent: None,
            good_releases_max: 3,
        }
    }

    /// The agent, if it is still the same process.
    pub fn agent(&mut self, life: u64) -> Option<&mut Agent> {
        self.agent.as_mut().filter(|agent| agent.life == life)
    }

    pub fn is_alive(&self, life: u64) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.life == life)
    }

    pub fn has(&self, app: &AppName, release: &ReleaseRef) -> bool {
        self.slots.get(app).is_some_and(|slots| slots.contains(release))
    }

    /// Its agent is there, and nothing goes on that ends by itself.
    pub fn is_at_rest(&self) -> bool {
        let there = self.agent.as_ref().is_some_and(|agent| {
            agent.session.is_some() && agent.lanes.values().all(|lane| lane.converging.is_none())
        });
        let mut steps = self
            .ledger
            .apps
            .values()
            .filter_map(|record| record.step.as_ref());
        there && steps.all(|step| step.phase.is_settled() || step.phase == Phase::Baking)
    }

    pub fn status(&self) -> Vec<AppStatus> {
        self.ledger
            .apps
            .iter()
            .map(|(app, record)| record.status(app, self.health(app, record)))
            .collect()
    }

    fn health(&self, app: &AppName, record: &AppRecord) -> Health {
        if self.ledger.service.drained && self.stands_still(app) {
            return fleet_agent::drained::health(record.current.is_some());
        }
        let unknown = if record.current.is_none() {
            Health::Empty
        } else {
            Health::Unknown
        };
        let agent = self.agent.as_ref();
        let told = agent.and_then(|agent| agent.health.get(app)).cloned();
        told.unwrap_or(unknown)
    }

    /// It has been stopped since the node was drained.
    fn stands_still(&self, app: &AppName) -> bool {
        let lane = self.agent.as_ref().and_then(|agent| agent.lanes.get(app));
        lane.and_then(|lane| lane.converged.as_ref())
            .is_some_and(|made| made.drained)
    }

    pub fn service(&self) -> ServiceStatus {
        let all_still = self.ledger.apps.keys().all(|app| self.stands_still(app));
        ServiceStatus {
            sequence: self.ledger.service.sequence,
            drained: self.ledger.service.drained && all_still,
        }
    }

    pub fn hello(&self) -> anyhow::Result<Hello> {
        Ok(Hello {
            protocol: fleet_proto::PROTOCOL,
            agent_version: "0.1.0".to_owned(),
            facts: Facts {
                platform: "linux/amd64".parse()?,
                hostname: self.id.to_string(),
                kernel: "6.1".to_owned(),
                cpus: 2,
                memory: Bytes(4 << 30),
                disk: Bytes(20 << 30),
                disk_free: Bytes(10 << 30),
                booted_at: self.booted_at,
            },
            apps: self.status(),
            service: Some(self.service()),
        })
    }
}
