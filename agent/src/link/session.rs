//! One session: greeting, orders in, states out, heartbeats.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_proto::ids::AppName;
use fleet_proto::session::{FromAgent, Hello, ServiceStatus, ToAgent, Welcome, WireError, anew};
use fleet_proto::wire;
use fleet_proto::wire::agent_client::AgentClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::backoff::jittered;
use super::{Link, LinkEvent, Report, Said};
use crate::facts::{self, Pulse};

/// What waits to be sent; states wait in the report, not here.
const OUTGOING_MAX: usize = 16;
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// A coordinator that does not read for this long is as good as gone.
const SEND_DEADLINE: Duration = Duration::from_secs(30);
const GREETED_LOG_BYTES_MAX: usize = wire::MESSAGE_BYTES_MAX / 2;
/// Whatever a coordinator may ask for.
const HEARTBEAT_MIN: Duration = Duration::from_millis(200);
const HEARTBEAT_MAX: Duration = Duration::from_secs(60);

pub(super) enum Ended {
    GoAway { retry_after: Duration, why: String },
    Lost(LostError),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LostError {
    #[error("{}", .0.message())]
    Status(#[from] Status),
    #[error("the coordinator gave no answer within {}s", ANSWER_DEADLINE.as_secs())]
    NoAnswer,
    #[error("the coordinator does not read what is sent")]
    NotRead,
    #[error("the coordinator ended the session")]
    Closed,
    #[error("the coordinator did not greet")]
    NoWelcome,
    #[error("the coordinator's message cannot be understood")]
    Wire(#[from] WireError),
}

impl LostError {
    pub fn is_to_enrol_anew(&self) -> bool {
        matches!(self, Self::Status(status) if anew::is_to_enrol_anew(status))
    }
}

impl From<LostError> for Ended {
    fn from(error: LostError) -> Self {
        Self::Lost(error)
    }
}

impl Link {
    pub(super) async fn session(&mut self) -> Ended {
        match self.open().await {
            Ok((inbound, outgoing)) => match self.hold(inbound, outgoing).await {
                Ok(ended) => ended,
                Err(error) => error.into(),
            },
            Err(error) => error.into(),
        }
    }

    async fn open(&mut self) -> Result<(Streaming<wire::ToAgent>, Outgoing), LostError> {
        let (to_wire, from_here) = mpsc::channel(OUTGOING_MAX);
        let mut outgoing = Outgoing {
            to_wire,
            said: BTreeMap::new(),
            history_through: 0,
            service: ServiceStatus::default(),
        };
        {
            let report = self.report.borrow_and_update();
            outgoing.said = greeted(&report);
            outgoing.service = report.service;
        }
        let hello = Hello {
            protocol: fleet_proto::PROTOCOL,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            facts: facts::facts(&self.state),
            apps: outgoing.said.values().map(|said| said.status.clone()).collect(),
            service: Some(outgoing.service),
        };
        outgoing.send(FromAgent::Hello(hello)).await?;
        let mut client =
            AgentClient::new(self.reach.channel()).max_decoding_message_size(wire::MESSAGE_BYTES_MAX);
        let opening = client.session(ReceiverStream::new(from_here));
        let inbound = tokio::time::timeout(ANSWER_DEADLINE, opening)
            .await
            .map_err(|_| LostError::NoAnswer)??
            .into_inner();
        Ok((inbound, outgoing))
    }

    async fn hold(
        &mut self,
        mut inbound: Streaming<wire::ToAgent>,
        mut outgoing: Outgoing,
    ) -> Result<Ended, LostError> {
        let welcome = self.greeting(&mut inbound).await?;
        let welcome = match welcome {
            Greeting::Welcome(welcome) => welcome,
            Greeting::GoAway(ended) => return Ok(ended),
        };
        let address = self.reach.address();
        tracing::info!(coordinator = address, term = welcome.term, "session open");
        self.tell(LinkEvent::Up { address }).await?;
        let report = self.report.borrow().clone();
        outgoing.send_changes(&report).await?;

        let heartbeat = welcome
            .heartbeat
            .as_duration()
            .clamp(HEARTBEAT_MIN, HEARTBEAT_MAX);
        let mut pulse = Pulse::default();
        let mut next_beat = tokio::time::Instant::now() + jittered(heartbeat);
        loop {
            tokio::select! {
                message = inbound.message() => match message? {
                    Some(message) => match ToAgent::try_from(message)? {
                        ToAgent::GoAway { retry_after, why } => {
                            return Ok(Ended::GoAway { retry_after: retry_after.as_duration(), why });
                        }
                        message => self.tell(LinkEvent::Message(message)).await?,
                    },
                    None => return Err(LostError::Closed),
                },
                changed = self.report.changed() => {
                    changed.map_err(|_| LostError::Closed)?;
                    let report = self.report.borrow_and_update().clone();
                    outgoing.send_changes(&report).await?;
                }
                Some(refusal) = self.refusals.recv() => outgoing.send(FromAgent::Refusal(refusal)).await?,
                () = tokio::time::sleep_until(next_beat) => {
                    let beat = pulse.beat(&self.state, self.figures.restarting());
                    outgoing.send(FromAgent::Heartbeat(beat)).await?;
                    next_beat = tokio::time::Instant::now() + jittered(heartbeat);
                }
            }
        }
    }

    async fn greeting(&self, inbound: &mut Streaming<wire::ToAgent>) -> Result<Greeting, LostError> {
        let first = tokio::time::timeout(ANSWER_DEADLINE, inbound.message())
            .await
            .map_err(|_| LostError::NoAnswer)??
            .ok_or(LostError::Closed)?;
        match ToAgent::try_from(first)? {
            ToAgent::Welcome(welcome) => Ok(Greeting::Welcome(welcome)),
            ToAgent::GoAway { retry_after, why } => Ok(Greeting::GoAway(Ended::GoAway {
                retry_after: retry_after.as_duration(),
                why,
            })),
            ToAgent::Command(_)
            | ToAgent::HistoryTaken { .. }
            | ToAgent::Prefetch { .. }
            | ToAgent::Service(_)
            | ToAgent::Question(_) => Err(LostError::NoWelcome),
        }
    }

    async fn tell(&self, event: LinkEvent) -> Result<(), LostError> {
        self.events.send(event).await.map_err(|_| LostError::Closed)
    }
}

/// All apps go into one message, which must not be too large to be read: what logs they
/// have beyond that is said behind the greeting, with each status by itself.
fn greeted(report: &Report) -> BTreeMap<AppName, Said> {
    let mut left = GREETED_LOG_BYTES_MAX;
    let mut apps = report.apps.clone();
    let steps = apps.values_mut().filter_map(|said| said.status.step.as_mut());
    for failure in steps.filter_map(|step| step.failure.as_mut()) {
        let bytes = failure.log_tail.iter().map(String::len).sum();
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => failure.log_tail.clear(),
        }
    }
    apps
}

enum Greeting {
    Welcome(Welcome),
    GoAway(Ended),
}

/// What this session has said already.
struct Outgoing {
    to_wire: mpsc::Sender<wire::FromAgent>,
    said: BTreeMap<AppName, Said>,
    history_through: u64,
    service: ServiceStatus,
}

impl Outgoing {
    async fn send(&self, message: FromAgent) -> Result<(), LostError> {
        tokio::time::timeout(SEND_DEADLINE, self.to_wire.send(message.into()))
            .await
            .map_err(|_| LostError::NotRead)?
            .map_err(|_| LostError::Closed)
    }

    async fn send_changes(&mut self, report: &Report) -> Result<(), LostError> {
        for (app, said) in &report.apps {
            if self.said.get(app) != Some(said) {
                self.send(FromAgent::Status(Box::new(said.status.clone())))
                    .await?;
                self.said.insert(app.clone(), said.clone());
            }
        }
        if self.service != report.service {
            self.send(FromAgent::Service(report.service)).await?;
            self.service = report.service;
        }
        for entry in &report.history {
            if entry.sequence > self.history_through {
                self.send(FromAgent::History(entry.clone())).await?;
                self.history_through = entry.sequence;
            }
        }
        Ok(())
    }
}
