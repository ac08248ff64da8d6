//! A session that an agent has opened, as the coordinator that it came to.

use fleet_proto::fence::Fence;
use fleet_proto::ids::RolloutNumber;
use fleet_proto::quantity::Span;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{AppStatus, Command, FromAgent, Hello, Order, Phase, ToAgent, Welcome};
use fleet_proto::wire;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::PATIENCE;

/// A session that an agent has opened.
pub struct Visit {
    pub hello: Hello,
    pub said: Streaming<wire::FromAgent>,
    pub to_agent: mpsc::Sender<Result<wire::ToAgent, Status>>,
}

impl Visit {
    pub async fn say(&self, message: ToAgent) {
        self.say_raw(message.into()).await;
    }

    /// Whether it makes sense or not.
    pub async fn say_raw(&self, message: wire::ToAgent) {
        self.to_agent.send(Ok(message)).await.unwrap();
    }

    pub async fn welcome(&self) {
        let welcome = Welcome {
            term: 1,
            heartbeat: Span::from_millis(200),
        };
        self.say(ToAgent::Welcome(welcome)).await;
    }

    /// What the agent says next; none when the session is over.
    pub async fn hear(&mut self) -> Option<FromAgent> {
        let said = tokio::time::timeout(PATIENCE, self.said.message()).await;
        let said = said.expect("the agent says nothing");
        Some(said.ok()??.try_into().unwrap())
    }

    pub async fn until_phase(&mut self, phase: Phase) -> AppStatus {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            if let FromAgent::Status(status) = self.hear().await.expect("the session is over")
                && status.step.as_ref().is_some_and(|step| step.phase == phase)
            {
                return *status;
            }
        }
        panic!("the agent was never {phase}");
    }
    /// In term 1 and rollout 1.
    pub async fn order(&self, generation: u32, order: Order) {
        self.order_fenced(fence(1, 1, generation), order).await;
    }

    pub async fn order_fenced(&self, fence: Fence, order: Order) {
        let command = command("shop", fence, order);
        self.say(ToAgent::Command(command)).await;
    }

    /// Deployed and committed, with two generations from this one.
    pub async fn bring(&mut self, release: ReleaseRef, generation: u32) {
        self.order(generation, Order::Deploy { release }).await;
        self.until_phase(Phase::Baking).await;
        self.order(generation + 1, Order::Commit).await;
        self.until_phase(Phase::Done).await;
    }
}

pub fn fence(term: u64, rollout: u64, generation: u32) -> Fence {
    Fence {
        term,
        rollout: RolloutNumber(rollout),
        generation,
    }
}

pub fn command(app: &str, fence: Fence, order: Order) -> Command {
    Command {
        fence,
        app: app.parse().unwrap(),
        environment: None,
        order,
    }
}
