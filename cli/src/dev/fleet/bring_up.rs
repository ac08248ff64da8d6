//! From nothing running to every node connected.

use std::path::Path;
use std::time::{Duration, Instant};

use fleet_proto::quantity::Span;
use fleet_proto::session::Health;
use fleet_proto::time::Timestamp;
use fleet_proto::view::{ConnectionView, NodeView};
use fleet_proto::wire::CreateTokenRequest;
use serde::Deserialize;
use tokio::task::JoinSet;

use super::{ENVIRONMENT, Fleet, Ready, finish};
use crate::dev::node::{Node, ZONES};
use crate::dev::process::Process;
use crate::dev::sample;
use crate::error::Error;
use crate::identity::Identity;
use crate::operator::Operator;
use crate::render::rollouts::count_is;
use crate::render::screen::Screen;

/// A coordinator with a long journal reads it first.
const START_DEADLINE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const APPS_DEADLINE: Duration = Duration::from_secs(15);
/// Enrolling makes keys and starts a process each: more at once would only queue.
const ENROL_AT_ONCE: usize = 8;

/// Whole addresses, scheme and all.
#[derive(Deserialize)]
struct Endpoints {
    grpc: String,
    http: String,
}

impl Fleet {
    /// Starts everything, and returns when every node is connected and the sample app
    /// is pushed.
    pub async fn bring_up(&mut self, screen: &Screen) -> Result<Ready, Error> {
        self.held = None;
        let endpoints = self.start_coordinator().await?;
        let address = endpoints.grpc;
        let identity = Identity::read(&self.layout.operator(), Timestamp::now())?;
        let (mut operator, _) = Operator::connect(&address, &identity).await?;
        screen.say(&format!(
            "coordinator at {address}, its dashboard at {}/",
            endpoints.http
        ));
        self.enrol_all(&mut operator).await?;
        for node in &self.nodes {
            self.agents.push(node.start(&self.binaries)?);
        }
        let connected = self.wait_until_connected(&mut operator).await?;
        self.wait_until_apps_are_known(&mut operator).await?;
        screen.say(&format!("{} connected", count_is(connected, "node")));
        let releases = sample::push_all(
            &mut operator,
            &self.layout,
            &self.binaries,
            &self.layout.release_key(),
        )
        .await?;
        for pushed in &releases {
            screen.say(&crate::render::releases::pushed(pushed));
        }
        Ok(Ready {
            operator,
            address,
            http: endpoints.http,
        })
    }

    async fn start_coordinator(&mut self) -> Result<Endpoints, Error> {
        let path = self.layout.endpoints();
        let _absent = std::fs::remove_file(&path);
        let config = self.layout.coordinator_config();
        let args = [Path::new("run"), Path::new("--config"), &config];
        let log = self.layout.log("coordinator");
        let process = Process::start("coordinator", &self.binaries.coordinator, &args, &log)?;
        let process = self.coordinator.insert(process);
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            if let Ok(endpoints) = serde_json::from_str(&text) {
                return Ok(endpoints);
            }
            if let Some(status) = process.ended() {
                return Err(process.failure(&format!("the coordinator ended with {status}")));
            }
            if begun.elapsed() > START_DEADLINE {
                return Err(process.failure("the coordinator does not listen"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// One token a zone, for as many nodes as it has: labels come from tokens.
    async fn enrol_all(&self, operator: &mut Operator) -> Result<(), Error> {
        let mut tasks = JoinSet::new();
        for (zone_index, zone) in ZONES.iter().enumerate() {
            let in_zone = self.nodes.iter().skip(zone_index).step_by(ZONES.len());
            let new: Vec<&Node> = in_zone.filter(|node| !node.is_enrolled()).collect();
            if new.is_empty() {
                continue;
            }
            let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            let request = CreateTokenRequest {
                labels: [label("zone", zone), label("environment", ENVIRONMENT)].into(),
                uses: u32::try_from(new.len()).unwrap_or(u32::MAX),
                valid_for: Span::from_secs(600).to_string(),
                node: String::new(),
                ephemeral: false,
            };
            let token = operator.create_token(request).await?.token;
            for node in new {
                let (node, binaries, token) = (node.clone(), self.binaries.clone(), token.clone());
                if tasks.len() >= ENROL_AT_ONCE {
                    finish(tasks.join_next().await)?;
                }
                tasks.spawn(async move { node.enrol(&binaries, &token).await });
            }
        }
        while let Some(result) = tasks.join_next().await {
            finish(Some(result))?;
        }
        Ok(())
    }

    /// Says how many there are.
    async fn wait_until_connected(&self, operator: &mut Operator) -> Result<usize, Error> {
        let begun = Instant::now();
        loop {
            let views = operator.nodes("").await?.view;
            let waited_for: Vec<&Node> = self
                .nodes
                .iter()
                .filter(|node| !is_revoked(node, &views))
                .collect();
            if waited_for.iter().all(|node| is_connected(node, &views)) {
                return Ok(waited_for.len());
            }
            let names: Vec<&str> = waited_for.iter().map(|node| node.name.as_str()).collect();
            let ended = self
                .agents
                .iter()
                .filter(|agent| names.contains(&agent.name.as_str()));
            if let Some((agent, status)) = ended.filter_map(|agent| Some((agent, agent.ended()?))).next() {
                return Err(agent.failure(&format!("the agent of {} ended with {status}", agent.name)));
            }
            if begun.elapsed() > START_DEADLINE {
                let logs = self.layout.root().join("logs");
                return Err(Error::refused(
                    "not every agent connected in time",
                    format!("look at the logs in {}", logs.display()),
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// A fleet that ran before has apps, which its agents start again. One that stays
    /// down is not our business: somebody may have come to look at just that.
    async fn wait_until_apps_are_known(&self, operator: &mut Operator) -> Result<(), Error> {
        let begun = Instant::now();
        while begun.elapsed() < APPS_DEADLINE {
            let views = operator.nodes("").await?.view;
            let mut apps = views.iter().flat_map(|view| &view.apps);
            if !apps.any(|app| app.current.is_some() && app.health != Health::Healthy) {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

fn view_of<'a>(node: &Node, views: &'a [NodeView]) -> Option<&'a NodeView> {
    views.iter().find(|view| view.node.as_str() == node.name)
}

fn is_connected(node: &Node, views: &[NodeView]) -> bool {
    view_of(node, views).is_some_and(|view| view.connection == ConnectionView::Connected)
}

/// In a fleet that ran before; such a node does not come back.
fn is_revoked(node: &Node, views: &[NodeView]) -> bool {
    view_of(node, views).is_some_and(|view| matches!(view.connection, ConnectionView::Revoked { .. }))
}
