//! From nothing running to every node connected.

use std::path::Path;
use std::time::{Duration, Instant};

use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use fleet_proto::view::ConnectionView;
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
use crate::render::screen::Screen;

/// A coordinator with a long journal reads it first.
const START_DEADLINE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
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
            "coordinator at {address}, dashboard at {}",
            endpoints.http
        ));
        self.enrol_all(&mut operator).await?;
        for node in &self.nodes {
            self.agents.push(node.start(&self.binaries)?);
        }
        self.wait_until_connected(&mut operator).await?;
        screen.say(&format!("{} nodes are connected", self.nodes.len()));
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

    async fn wait_until_connected(&self, operator: &mut Operator) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            let nodes = operator.nodes("").await?.view;
            let connected = nodes
                .iter()
                .filter(|node| node.connection == ConnectionView::Connected);
            if connected.count() >= self.nodes.len() {
                return Ok(());
            }
            if let Some((agent, status)) = self
                .agents
                .iter()
                .find_map(|a| a.ended().map(|status| (a, status)))
            {
                return Err(agent.failure(&format!("the agent of {} ended with {status}", agent.name)));
            }
            if begun.elapsed() > START_DEADLINE {
                return Err(Error::refused(
                    "not every agent connected in time",
                    format!(
                        "look at the logs in {}",
                        self.layout.root().join("logs").display()
                    ),
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Returns when a process ended that was there, with what to tell. Somebody may
    /// have killed it to see what happens, so it is left at that.
    pub async fn next_end(&mut self) -> String {
        let mut waits = JoinSet::new();
        for process in self.coordinator.iter().chain(&self.agents) {
            let (name, mut ended) = (process.name.clone(), process.watch());
            waits.spawn(async move {
                let status = ended
                    .wait_for(Option::is_some)
                    .await
                    .ok()
                    .and_then(|status| *status);
                (name, status)
            });
        }
        let Some(Ok((name, status))) = waits.join_next().await else {
            return std::future::pending().await;
        };
        let how = status.map_or_else(|| "somehow".to_owned(), |status| status.to_string());
        if self.coordinator.take_if(|process| process.name == name).is_some() {
            let config = self.layout.coordinator_config();
            return format!(
                "the coordinator ended: {how}\nhint: `fleet-coordinator run --config '{}'` starts it again",
                config.display()
            );
        }
        self.agents.retain(|agent| agent.name != name);
        let again = self
            .nodes
            .iter()
            .find(|node| node.name == name)
            .map(Node::start_again);
        let again = again.unwrap_or_default();
        format!("the agent of {name} ended: {how}\nhint: `{again}` starts it again")
    }
}
