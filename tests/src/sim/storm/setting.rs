//! How a seed begins: its fleet, its weather, and a first release that works.

use std::collections::BTreeMap;

use anyhow::Context;
use fleet_coordinator::rollout::event::CatchUp;
use fleet_coordinator::rollout::event::{NewToken, Tenure};
use fleet_coordinator::rollout::input::{Definition, Intent, Request};
use fleet_proto::digest::Digest;
use fleet_proto::ids::{AppName, EnvironmentName, NodeId};
use fleet_proto::labels::Labels;
use fleet_proto::quantity::{Amount, Span};
use fleet_proto::time::Timestamp;

use super::agenda::{Agenda, Thing};
use super::coordinator::Coordinator;
use super::dice::Dice;
use super::faults::Faults;
use super::invariants::Witness;
use super::machine::Machine;
use super::network::{Network, Weather};
use super::record::Record;
use super::releases::{Nature, Releases};
use super::story::{Story, Telling};
use super::{NOON, Storm};

/// One seed of so many writes to the real journal.
const ON_DISK_ONE_OF: u64 = 20;
const ZONES: usize = 3;
/// From here on a turn costs milliseconds, and takes what has come within seconds.
const LARGE: usize = 500;

impl Storm {
    pub(super) fn gather(seed: u64, nodes: usize, telling: Telling) -> anyhow::Result<Self> {
        let mut dice = Dice::new(seed);
        let record = if seed.is_multiple_of(ON_DISK_ONE_OF) {
            Record::on_disk()?
        } else {
            Record::in_memory()
        };
        let environments = environments(&mut dice)?;
        let mut coordinator = Coordinator::new(record, environments);
        // A large fleet says more in the same time: each turn and each snapshot holds more.
        let larger = (nodes as u64 / 50).max(1);
        coordinator.events_per_snapshot = dice.between(50, 5_000) * larger;
        coordinator.tick_ms = dice.between(250, 1_500);
        let delays = if nodes < LARGE {
            [10, 100, 1_000]
        } else {
            [500, 2_000, 4_000]
        };
        coordinator.turn_delay_ms = dice.pick(&delays).copied().unwrap_or(100);
        // Nodes are seldom gone for longer.
        let expiry = Span::from_secs(dice.between(30, 900));
        coordinator.settings.ephemeral_expiry = expiry;
        let apps: Vec<AppName> = if dice.percent(25) {
            vec!["shop".parse()?, "till".parse()?]
        } else {
            vec!["shop".parse()?]
        };
        let weather = Weather {
            latency_ms: dice.between(1, 300),
            doubled: dice.between(0, 30),
            late: dice.between(0, 30),
        };
        let mut storm = Self {
            now: NOON,
            faults: faults(&mut dice, nodes),
            dice,
            agenda: Agenda::default(),
            coordinator,
            network: Network {
                weather,
                ..Network::default()
            },
            machines: Vec::with_capacity(nodes),
            by_id: BTreeMap::new(),
            releases: Releases::default(),
            apps,
            witness: Witness::default(),
            databases: super::databases::Databases::default(),
            story: Story::new(telling),
            lives: 0,
            asked: 0,
            operator: "operator".parse()?,
            is_calm: true,
            happened: 0,
        };
        storm.start_coordinator()?;
        storm.enrol(nodes)?;
        Ok(storm)
    }

    fn enrol(&mut self, nodes: usize) -> anyhow::Result<()> {
        let environments: Vec<EnvironmentName> = self.coordinator.environments.keys().cloned().collect();
        for number in 0..nodes {
            let zone = number % ZONES;
            // Most are in the first one.
            let environment = environments
                .get(usize::from(number % 4 == 3))
                .or(environments.first())
                .context("there is an environment")?;
            let labels = Labels::from([
                ("zone".to_owned(), format!("z{zone}")),
                ("environment".to_owned(), environment.to_string()),
            ]);
            self.enrol_one(number, zone, labels)?;
        }
        self.pass(1_000)?;
        for node in 0..nodes {
            self.start_agent(node)?;
        }
        self.pass(30_000)
    }

    fn enrol_one(&mut self, number: usize, zone: usize, labels: Labels) -> anyhow::Result<()> {
        let node: NodeId = format!("n{number:04}").parse()?;
        let token = NewToken {
            id: format!("for-{node}").parse()?,
            secret_hash: Digest::of(node.as_str().as_bytes()),
            node: None,
            labels,
            uses: 1,
            tenure: match self.dice.percent(20) {
                true => Tenure::Ephemeral,
                false => Tenure::Lasting,
            },
        };
        let enrol = Request::Enrol {
            token: token.id.clone(),
            secret_hash: token.secret_hash,
            node: node.clone(),
            key: token.secret_hash,
            certificates_from: Timestamp(0),
            platform: "linux/amd64".parse()?,
        };
        let valid_for = Span::from_secs(600);
        self.ask(Request::CreateToken { token, valid_for });
        self.ask(enrol);
        let mut machine = Machine::new(node.clone(), zone, Timestamp(self.now));
        machine.good_releases_max = self.dice.index(3) + 2;
        self.machines.push(machine);
        self.by_id.insert(node, number);
        Ok(())
    }

    /// Most fleets have something to lose before anything goes wrong.
    pub(super) fn first_release(&mut self) -> anyhow::Result<()> {
        if self.dice.percent(20) {
            return Ok(());
        }
        for app in self.apps.clone() {
            let push = self.releases.make(&app, Nature::Good, None)?;
            let version = push.release.version.clone();
            self.ask(Request::PushRelease(push));
            for environment in self.coordinator.environments.keys().cloned().collect::<Vec<_>>() {
                self.ask(Request::StartRollout(Intent {
                    app: Some(app.clone()),
                    environment: Some(environment),
                    version: Some(version.clone()),
                    max_unavailable: Some(Amount::Percent(100)),
                    ..Intent::default()
                }));
            }
        }
        self.pass(180_000)
    }

    pub(super) fn break_out(&mut self) {
        self.is_calm = false;
        self.agenda.add(self.now, Thing::Operator);
        self.agenda.add(self.now, Thing::Weather);
    }
}

fn environments(dice: &mut Dice) -> anyhow::Result<BTreeMap<EnvironmentName, Definition>> {
    let names = if dice.percent(30) {
        vec!["production", "staging"]
    } else {
        vec!["production"]
    };
    let catch_up = if dice.percent(70) {
        CatchUp::Auto
    } else {
        CatchUp::Manual
    };
    names
        .into_iter()
        .map(|name| {
            let select = format!("environment={name}").parse()?;
            Ok((name.parse()?, Definition { select, catch_up }))
        })
        .collect()
}

fn faults(dice: &mut Dice, nodes: usize) -> Faults {
    // From one in a minute to many; larger fleets have more of them.
    let more = (nodes as u64 / 50).clamp(1, 20);
    Faults {
        every_ms: dice.between(1_000, 60_000) / more,
        operator_every_ms: dice.between(5_000, 60_000),
        deaths_in_turn: dice.between(0, 5),
        deaths_between_writes: dice.between(0, 20),
        starts_that_fail: dice.between(0, 20),
        store_is_down: false,
    }
}
