//! Answers to what the coordinator asks on the session, each in a call of its own beside it.
//! No more is sent than may be: what the coordinator has no room for stays here, and whoever
//! reads for it waits.

use std::sync::Arc;
use std::time::Duration;

use fleet_proto::session::drift::DriftWanted;
use fleet_proto::session::question::{
    AnswerPiece, AnswerRefused, Asked, LogsWanted, PIECES_AHEAD, QUESTIONS_PER_NODE, Question,
};
use fleet_proto::wire;
use fleet_proto::wire::agent_client::AgentClient;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::config::Config;
use crate::drift::{self, Look};
use crate::layout::Layout;
use crate::ledger::Ledger;
use crate::link::Reach;
use crate::logs;

const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// An answer of which nobody reads the rest ends within the time that its reader needs to
/// notice it; a coordinator asks the next one a moment before that.
const PLACE_DEADLINE: Duration = Duration::from_secs(5);
/// Those that wait for a place included. An honest coordinator keeps to the number of places.
const AT_ONCE_MAX: usize = QUESTIONS_PER_NODE * 4;

#[derive(Clone)]
pub struct Answers {
    reach: Reach,
    layout: Layout,
    config: Arc<Config>,
    /// One look at a time.
    looking: Arc<Semaphore>,
    all: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// The coordinator does not want the rest of it, or is gone.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{}", .0.message())]
    Status(#[from] Status),
    #[error("the coordinator gave no answer within {}s", ANSWER_DEADLINE.as_secs())]
    NoAnswer,
    #[error("nobody wants the rest")]
    Unwanted,
}

impl Answers {
    pub fn new(reach: Reach, layout: Layout, config: Arc<Config>) -> Self {
        Self {
            reach,
            layout,
            config,
            looking: Arc::new(Semaphore::new(1)),
            all: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            places: Arc::new(Semaphore::new(QUESTIONS_PER_NODE)),
        }
    }

    pub fn begin(&self, question: Question, ledger: &Ledger) {
        let Ok(one_of_all) = self.all.clone().try_acquire_owned() else {
            tracing::warn!(?question, "more is asked at once than is answered");
            return;
        };
        tracing::info!(?question, "asked");
        let answers = self.clone();
        let ledger = ledger.clone();
        tokio::spawn(async move {
            let _one_of_all = one_of_all;
            let id = question.id.clone();
            match answers.answer(question, ledger).await {
                Ok(()) => tracing::debug!(question = ?id, "answered"),
                Err(broken) => tracing::info!(question = ?id, why = %broken, "the answer broke off"),
            }
        });
    }

    async fn answer(&self, question: Question, ledger: Ledger) -> Result<(), Broken> {
        let mut call = Call::begin(&self.reach, &question).await?;
        let place = tokio::time::timeout(PLACE_DEADLINE, self.places.clone().acquire_owned()).await;
        let told = match (place, question.what) {
            (Ok(Ok(place)), Asked::Logs(wanted)) => self.tell_logs(&mut call, wanted, place).await?,
            (Ok(Ok(place)), Asked::Drift(wanted)) => {
                self.tell_drift(&mut call, wanted, ledger, place).await?
            }
            _ => Err(busy()),
        };
        call.end(told).await
    }

    async fn tell_logs(
        &self,
        call: &mut Call,
        wanted: LogsWanted,
        place: OwnedSemaphorePermit,
    ) -> Result<Result<(), AnswerRefused>, Broken> {
        let (batches, mut told) = mpsc::channel(1);
        let layout = self.layout.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let _until_it_is_over = place;
            logs::tell(&layout, &wanted, batches)
        });
        while let Some(lines) = call.next_of(&mut told).await? {
            call.send(AnswerPiece::Lines(lines)).await?;
        }
        Ok(reading.await.unwrap_or_else(|error| Err(failed(&error))))
    }
}

impl Answers {
    async fn tell_drift(
        &self,
        call: &mut Call,
        wanted: DriftWanted,
        ledger: Ledger,
        place: OwnedSemaphorePermit,
    ) -> Result<Result<(), AnswerRefused>, Broken> {
        let (answer, mut looked) = mpsc::channel(1);
        let look = Look {
            config: self.config.clone(),
            layout: self.layout.clone(),
            ledger,
        };
        let looking = self.looking.clone();
        let work = tokio::spawn(async move {
            let turn = looking.acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let _until_it_is_over = (place, turn);
                let report = drift::look(&look, &wanted, &|| !answer.is_closed());
                let _unwanted = answer.blocking_send(report);
            })
            .await
        });
        while let Some(report) = call.next_of(&mut looked).await? {
            call.send(AnswerPiece::Drift(report)).await?;
        }
        let ended = work.await.and_then(std::convert::identity);
        Ok(ended.map_err(|error| failed(&error)))
    }
}

fn busy() -> AnswerRefused {
    AnswerRefused {
        why: format!("the node answers {QUESTIONS_PER_NODE} questions already, which is the limit"),
        hint: Some("end another `fleetctl logs` of it".to_owned()),
        is_absent: false,
    }
}

fn failed(error: &tokio::task::JoinError) -> AnswerRefused {
    AnswerRefused {
        why: format!("the node failed over it: {error}"),
        hint: None,
        is_absent: false,
    }
}

/// One answer on the wire.
struct Call {
    to_wire: mpsc::Sender<wire::AnswerPiece>,
    taken: Streaming<wire::AnswerTaken>,
    /// So many pieces may be sent.
    may_send: usize,
}

impl Call {
    async fn begin(reach: &Reach, question: &Question) -> Result<Self, Broken> {
        let (to_wire, from_here) = mpsc::channel(PIECES_AHEAD + 1);
        let begins = AnswerPiece::Begins(question.id.clone());
        to_wire.send(begins.into()).await.map_err(|_| Broken::Unwanted)?;
        let mut client = AgentClient::new(reach.channel()).max_decoding_message_size(wire::MESSAGE_BYTES_MAX);
        let opening = client.answer(ReceiverStream::new(from_here));
        let taken = tokio::time::timeout(ANSWER_DEADLINE, opening)
            .await
            .map_err(|_| Broken::NoAnswer)??
            .into_inner();
        Ok(Self {
            to_wire,
            taken,
            may_send: PIECES_AHEAD,
        })
    }

    /// The next batch, once it may be sent. None: there is no more.
    async fn next_of<T>(&mut self, told: &mut mpsc::Receiver<T>) -> Result<Option<T>, Broken> {
        loop {
            tokio::select! {
                batch = told.recv(), if self.may_send > 0 => return Ok(batch),
                taken = self.taken.message() => self.note(taken?)?,
            }
        }
    }

    async fn send(&mut self, piece: AnswerPiece) -> Result<(), Broken> {
        while self.may_send == 0 {
            let taken = self.taken.message().await?;
            self.note(taken)?;
        }
        self.may_send -= 1;
        let sent = self.to_wire.send(piece.into()).await;
        sent.map_err(|_| Broken::Unwanted)
    }

    fn note(&mut self, taken: Option<wire::AnswerTaken>) -> Result<(), Broken> {
        let taken = taken.ok_or(Broken::Unwanted)?;
        let pieces = usize::try_from(taken.pieces).unwrap_or(usize::MAX);
        self.may_send = self.may_send.saturating_add(pieces).min(PIECES_AHEAD);
        Ok(())
    }

    /// Until the coordinator has it, so that its last piece is not lost with the call.
    async fn end(mut self, told: Result<(), AnswerRefused>) -> Result<(), Broken> {
        let last = match told {
            Ok(()) => AnswerPiece::Ends,
            Err(refused) => AnswerPiece::Refused(refused),
        };
        self.send(last).await?;
        drop(self.to_wire);
        while self.taken.message().await?.is_some() {}
        Ok(())
    }
}
