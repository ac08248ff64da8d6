//! One stream of one node: what it says goes to the driver, what the driver says to
//! it goes out. The stream's being there is the node's being there.

use std::time::Duration;

use fleet_proto::ids::NodeId;
use fleet_proto::session::{FromAgent, Hello, ToAgent, Welcome};
use fleet_proto::version::protocol_fits;
use fleet_proto::wire;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{Agents, Outbound};
use crate::driver::{Ending, SessionId};
use crate::listener::Caller;
use crate::refusal;
use crate::rollout::input::Input;

const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// Orders are few: one per app and turn. A node that is this far behind is cut off
/// and told again when it is back.
const QUEUE_MAX: usize = 64;
/// Silent for so many heartbeats, and the stream counts as dead.
const HEARTBEATS_MISSED: u32 = 3;
/// Many times what an honest agent says; a flooding one waits here, and not in the
/// queue that it shares with everybody.
const MESSAGES_PER_SECOND: u32 = 100;

pub(super) async fn open(
    agents: &Agents,
    node: NodeId,
    caller: Caller,
    mut inbound: Streaming<wire::FromAgent>,
) -> Result<Outbound, Status> {
    let hello = greeting(&mut inbound).await.inspect_err(|refusal| {
        let why = refusal.message().lines().next().unwrap_or_default();
        tracing::warn!(%node, address = %caller.address, why, "refused a greeting");
    })?;
    let (sender, queue) = mpsc::channel(QUEUE_MAX);
    let welcome = Welcome {
        term: agents.handle.read(|state| state.term),
        heartbeat: agents.heartbeat,
    };
    // The queue is empty, so this cannot fail.
    let _ = sender.try_send(ToAgent::Welcome(welcome));
    let ending = Ending {
        over: agents.stopping.child_token(),
        ..Ending::default()
    };
    tracing::info!(%node, address = %caller.address, "connected");
    let session = Session {
        agents: agents.clone(),
        node: node.clone(),
        ending: ending.clone(),
        revoked: caller.ending.clone(),
    };
    // A task of its own from the first word to the driver: a caller who goes away in the
    // middle of this call must not leave a node behind that seems to be there.
    tokio::spawn(session.run(hello, sender, inbound));
    Ok(Outbound::new(node, queue, caller.ending, ending))
}

/// The first message says which protocol is spoken, or nothing else is understood.
async fn greeting(inbound: &mut Streaming<wire::FromAgent>) -> Result<Hello, Status> {
    let first = timeout(HELLO_DEADLINE, inbound.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the session's first message did not come"))??;
    let Some(wire::FromAgent {
        message: Some(wire::from_agent::Message::Hello(hello)),
    }) = first
    else {
        return Err(Status::invalid_argument("a session begins with a hello"));
    };
    // Before the rest is read: another protocol may mean something else by it.
    let theirs = fleet_proto::version::Protocol {
        major: hello.protocol_major,
        minor: hello.protocol_minor,
    };
    protocol_fits(fleet_proto::PROTOCOL, theirs).map_err(|mismatch| {
        Status::failed_precondition(format!(
            "the agent (version {}) and the coordinator (version {}) do not understand each other: {mismatch}\nhint: bring the older of the two up to date",
            hello.agent_version.escape_debug(),
            env!("CARGO_PKG_VERSION"),
        ))
    })?;
    Hello::try_from(hello).map_err(refusal::usage)
}

struct Session {
    agents: Agents,
    node: NodeId,
    ending: Ending,
    revoked: CancellationToken,
}

impl Session {
    async fn run(self, hello: Hello, queue: mpsc::Sender<ToAgent>, inbound: Streaming<wire::FromAgent>) {
        let id = self.arrive(hello, queue).await;
        let why = tokio::select! {
            // The reason before what follows from it.
            biased;
            why = self.listen(inbound) => why,
            () = self.ending.replaced.cancelled() => "a newer stream of the node took its place".to_owned(),
            () = self.ending.over.cancelled() => "the stream was closed".to_owned(),
            () = self.revoked.cancelled() => "its certificate was revoked".to_owned(),
        };
        tracing::info!(node = %self.node, why, "disconnected");
        let _order = self.agents.presence.lock().await;
        let newest = self.agents.handle.sessions().detach(&self.node, id);
        // A coordinator that stops says nothing of its nodes: they are well.
        if newest && !self.agents.stopping.is_cancelled() {
            let gone = Input::NodeGone { node: self.node };
            self.agents.handle.report(gone).await;
        }
    }

    async fn arrive(&self, hello: Hello, queue: mpsc::Sender<ToAgent>) -> SessionId {
        let _order = self.agents.presence.lock().await;
        let sessions = self.agents.handle.sessions();
        let id = sessions.attach(self.node.clone(), queue, self.ending.clone());
        let connected = Input::NodeConnected {
            node: self.node.clone(),
            hello,
        };
        self.agents.handle.report(connected).await;
        id
    }

    /// Until the stream ends; says why it did.
    async fn listen(&self, mut inbound: Streaming<wire::FromAgent>) -> String {
        let silence = self.agents.heartbeat.as_duration() * HEARTBEATS_MISSED;
        let mut second = Instant::now() + Duration::from_secs(1);
        let mut messages = 0;
        loop {
            let message = match timeout(silence, inbound.message()).await {
                Err(_) => return format!("silent for {} s", silence.as_secs_f32()),
                Ok(Err(status)) => return status.message().to_owned(),
                Ok(Ok(None)) => return "the agent closed the stream".to_owned(),
                Ok(Ok(Some(message))) => message,
            };
            match FromAgent::try_from(message) {
                Ok(message) => self.take(message).await,
                Err(error) => return format!("it said what cannot be understood: {error}"),
            }
            messages += 1;
            if Instant::now() >= second {
                (second, messages) = (Instant::now() + Duration::from_secs(1), 0);
            } else if messages >= MESSAGES_PER_SECOND {
                sleep_until(second).await;
            }
        }
    }

    async fn take(&self, message: FromAgent) {
        let node = self.node.clone();
        let input = match message {
            FromAgent::Status(status) => Input::NodeStatus {
                node,
                status: *status,
            },
            FromAgent::Refusal(refusal) => Input::NodeRefused { node, refusal },
            FromAgent::History(entry) => Input::NodeHistory { node, entry },
            FromAgent::Service(status) => Input::NodeService { node, status },
            FromAgent::Hello(hello) => Input::NodeConnected { node, hello },
            FromAgent::Heartbeat(heartbeat) => {
                return self.agents.handle.sessions().note(&node, heartbeat);
            }
        };
        self.agents.handle.report(input).await;
    }
}
