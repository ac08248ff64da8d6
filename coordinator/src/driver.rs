//! The only loop: inputs → events → journal → state → answers and commands.
//!
//! One thread owns the journal and the state; everybody else speaks to it through
//! bounded queues, and reads a second state through [`Handle::read`]. That one takes a
//! turn's events when they are durable: nobody sees, and nobody is sent, what a power cut
//! could undo, and nobody who reads waits for the disk. A turn takes all that is waiting,
//! so that many reports cost one append.

mod figures;
mod outdated;
mod recovery;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};

use fleet_proto::ids::{EnvironmentName, NodeId, OperatorName};
use fleet_proto::session::ToAgent;
use fleet_proto::time::Timestamp;

use crate::journal::{Journal, JournalError, Reader};
use crate::rollout::event::Stamped;
use crate::rollout::input::{Author, Definition, Input, Refusal, RefusalKind, Reply, Request, Settings};
use crate::rollout::state::{IllegalEvent, State};
use crate::rollout::turn::{TurnError, turn};
use crate::service::Pulse;

pub use figures::Figures;
pub use outdated::{TakeOverError, TakenOver, take_over};
pub use sessions::{Ending, NotTaken, SessionId, Sessions};

/// Reports of a whole wave fit; beyond that the senders wait.
const QUEUE_MAX: usize = 4096;
/// One turn's inputs: bounds how long an operator's abort can wait behind reports.
const INPUTS_PER_TURN: usize = 1024;
/// How often time itself is an input: bakes, graces and deadlines are not finer.
const TICK: Duration = Duration::from_millis(250);
/// So many events are replayed within a second or two at start.
const EVENTS_PER_SNAPSHOT: u64 = 5_000;

#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("the journal failed; nothing that was not acknowledged has been sent")]
    Journal(#[from] JournalError),
    #[error("the rules contradict the state")]
    Turn(#[from] TurnError),
    #[error("event {position} of the journal cannot be read")]
    Unreadable {
        position: u64,
        #[source]
        source: serde_json::Error,
    },
    #[error("the snapshot at {position} cannot be read")]
    Snapshot {
        position: u64,
        #[source]
        source: serde_json::Error,
    },
    #[error("an event does not follow from those before it; the journal is not this coordinator's")]
    Illegal(#[from] IllegalEvent),
    #[error("an event cannot be written down")]
    Encode(#[source] serde_json::Error),
    #[error("cannot start the driver's thread")]
    Thread(#[source] std::io::Error),
}

enum Message {
    Input(Box<Input>),
    Request {
        by: Author,
        request: Box<Request>,
        answer: oneshot::Sender<Result<Reply, Refusal>>,
    },
    Stop,
}

/// What the configuration says, and a coordinator that takes charge writes down.
#[derive(Debug, Clone, Default)]
pub struct Charge {
    pub environments: BTreeMap<EnvironmentName, Definition>,
    pub admins: BTreeSet<OperatorName>,
}

/// How the rest of the coordinator speaks to the loop.
#[derive(Clone)]
pub struct Handle {
    queue: mpsc::Sender<Message>,
    /// As far as it is durable.
    published: Arc<RwLock<State>>,
    sessions: Arc<Sessions>,
    position: watch::Receiver<u64>,
    figures: Arc<Mutex<Figures>>,
    reader: Reader,
}

impl Handle {
    /// Answers when what follows is durable.
    pub async fn submit(&self, by: Author, request: Request) -> Result<Reply, Refusal> {
        let (answer, answered) = oneshot::channel();
        let stopping = || Refusal::new(RefusalKind::Refused, "the coordinator is stopping");
        let message = Message::Request {
            by,
            request: Box::new(request),
            answer,
        };
        self.queue.send(message).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?
    }

    /// What a node said. Waits while the queue is full: that is the back-pressure.
    pub async fn report(&self, input: Input) {
        // A closed queue means that the coordinator stops; the node will say it again.
        let _ = self.queue.send(Message::Input(Box::new(input))).await;
    }

    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// The journal's end, as it moves.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.position.clone()
    }

    pub fn figures(&self) -> Figures {
        self.figures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What the journal takes up on disk.
    pub fn journal_bytes(&self) -> Result<u64, DriverError> {
        Ok(self.reader.bytes()?)
    }

    /// Events after this position, at most `limit`.
    pub fn events_after(&self, position: u64, limit: usize) -> Result<Vec<Stamped>, DriverError> {
        self.reader
            .read(position + 1, limit)?
            .into_iter()
            .map(|(position, bytes)| recovery::decode(position, &bytes))
            .collect()
    }

    /// Lets the loop finish what is queued, and ends it.
    pub async fn stop(&self) {
        let _ = self.queue.send(Message::Stop).await;
    }
}

pub struct Driver {
    journal: Journal,
    queue: mpsc::Receiver<Message>,
    state: State,
    published: Arc<RwLock<State>>,
    sessions: Arc<Sessions>,
    position: watch::Sender<u64>,
    figures: Arc<Mutex<Figures>>,
    settings: Settings,
    snapshot_at: u64,
}

impl Driver {
    /// Reads the journal, and takes charge: the first turn raises the term.
    pub fn open(
        journal: Journal,
        recovered: crate::journal::Recovered,
        settings: Settings,
        charge: Charge,
    ) -> Result<(Self, Handle), DriverError> {
        let snapshot_at = recovered
            .snapshot
            .as_ref()
            .map_or(0, |snapshot| snapshot.position);
        let state = recovery::replay(recovered)?;
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let (position, changes) = watch::channel(state.position);
        let published = Arc::new(RwLock::new(state.clone()));
        let sessions = Arc::new(Sessions::default());
        let figures = Arc::new(Mutex::new(Figures::default()));
        let handle = Handle {
            queue: sender,
            published: published.clone(),
            sessions: sessions.clone(),
            position: changes,
            figures: figures.clone(),
            reader: journal.reader(),
        };
        let mut driver = Self {
            journal,
            queue,
            state,
            published,
            sessions,
            position,
            figures,
            settings,
            snapshot_at,
        };
        let charge = Input::TakeCharge {
            environments: charge.environments,
            admins: charge.admins,
        };
        driver.take_turn(vec![Message::Input(Box::new(charge))])?;
        Ok((driver, handle))
    }

    /// Runs on a thread of its own until it is stopped, or until the journal fails:
    /// then the process must end, because nothing can be promised any more.
    pub fn spawn(mut self) -> Result<oneshot::Receiver<Result<(), DriverError>>, DriverError> {
        let (ended, end) = oneshot::channel();
        thread::Builder::new()
            .name("driver".into())
            .spawn(move || {
                let outcome = self.run();
                // The journal is closed before anybody hears of the end and opens it again.
                drop(self);
                let _ = ended.send(outcome);
            })
            .map_err(DriverError::Thread)?;
        Ok(end)
    }

    fn run(&mut self) -> Result<(), DriverError> {
        let clock = Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(DriverError::Thread)?;
        let mut ticked = Instant::now();
        let mut pulse = Pulse::wanted();
        loop {
            pulse.beat(Instant::now());
            let mut messages = self.wait_until(&clock, ticked + TICK);
            while messages.len() < INPUTS_PER_TURN {
                match self.queue.try_recv() {
                    Ok(message) => messages.push(message),
                    Err(_) => break,
                }
            }
            let stop = messages.iter().any(|message| matches!(message, Message::Stop));
            if ticked.elapsed() >= TICK {
                messages.push(Message::Input(Box::new(Input::Tick)));
                ticked = Instant::now();
            }
            self.take_turn(messages)?;
            self.snapshot_when_due()?;
            if stop {
                return self.snapshot();
            }
        }
    }

    /// The first message, or none when it is time to tick.
    fn wait_until(&mut self, clock: &Runtime, until: Instant) -> Vec<Message> {
        let first = clock.block_on(async { tokio::time::timeout_at(until.into(), self.queue.recv()).await });
        match first {
            Ok(Some(message)) => vec![message],
            Ok(None) => vec![Message::Stop],
            Err(_) => vec![],
        }
    }

    fn take_turn(&mut self, messages: Vec<Message>) -> Result<(), DriverError> {
        let begun = Instant::now();
        let mut inputs = Vec::with_capacity(messages.len());
        let mut callers = Vec::new();
        for message in messages {
            match message {
                Message::Input(input) => inputs.push(*input),
                Message::Request { by, request, answer } => {
                    inputs.push(Input::Request {
                        by,
                        request: *request,
                    });
                    callers.push(answer);
                }
                Message::Stop => {}
            }
        }
        let after = self.state.position;
        let outcome = turn(&mut self.state, &inputs, &self.settings, Timestamp::now())?;
        self.append(self.state.term, after, &outcome.events)?;
        self.publish(&outcome.events)?;
        outdated::say_if_found(&self.state, &outcome.events);
        let position = self.state.position;
        self.position
            .send_if_modified(|known| std::mem::replace(known, position) != position);
        self.count(|figures| figures.turns.observe(begun.elapsed().as_secs_f64()));
        for (answer, caller) in outcome.answers.into_iter().zip(callers) {
            // Whoever has stopped waiting for the answer has lost nothing but the answer.
            let _ = caller.send(answer);
        }
        self.send(outcome.messages);
        Ok(())
    }

    fn append(&mut self, term: u64, after: u64, events: &[Stamped]) -> Result<(), DriverError> {
        if events.is_empty() {
            return Ok(());
        }
        let records = events
            .iter()
            .map(serde_json::to_vec)
            .collect::<Result<Vec<_>, _>>()
            .map_err(DriverError::Encode)?;
        let begun = Instant::now();
        self.journal.append(term, after, &records)?;
        self.count(|figures| {
            figures.appends.observe(begun.elapsed().as_secs_f64());
            figures.appended_bytes += records.iter().map(|record| record.len() as u64).sum::<u64>();
        });
        Ok(())
    }

    fn publish(&self, events: &[Stamped]) -> Result<(), DriverError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            self.count(|figures| figures.note(&published, event));
            published.apply(event)?;
        }
        Ok(())
    }

    fn send(&self, messages: Vec<(NodeId, ToAgent)>) {
        for (node, message) in messages {
            self.sessions.send(&node, message);
        }
    }

    fn count(&self, what: impl FnOnce(&mut Figures)) {
        what(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn snapshot_when_due(&mut self) -> Result<(), DriverError> {
        if self.journal.end() < self.snapshot_at + EVENTS_PER_SNAPSHOT {
            return Ok(());
        }
        self.snapshot()
    }

    fn snapshot(&mut self) -> Result<(), DriverError> {
        let position = self.state.position;
        let bytes = serde_json::to_vec(&self.state).map_err(DriverError::Encode)?;
        self.journal.save_snapshot(position, &bytes)?;
        self.snapshot_at = position;
        Ok(())
    }
}
