//! A node's answer to a question, passed on to whoever asked. The node may send so many pieces,
//! and one more for each that was taken: so nothing of it is ever left in the connection, where
//! it would keep the session from being read.

use std::time::Duration;

use fleet_proto::ids::NodeId;
use fleet_proto::session::question::{AnswerPiece, PIECES_AHEAD};
use fleet_proto::wire;
use tokio::sync::mpsc;
use tokio::sync::mpsc::OwnedPermit;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::Agents;
use crate::questions::NotWanted;
use crate::refusal;

const BEGIN_DEADLINE: Duration = Duration::from_secs(10);

pub(super) type Taken = ReceiverStream<Result<wire::AnswerTaken, Status>>;

pub(super) async fn take(
    agents: &Agents,
    node: NodeId,
    revoked: CancellationToken,
    mut inbound: Streaming<wire::AnswerPiece>,
) -> Result<Taken, Status> {
    let first = timeout(BEGIN_DEADLINE, inbound.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the answer's first piece did not come"))??
        .ok_or_else(no_beginning)?;
    let AnswerPiece::Begins(id) = AnswerPiece::try_from(first).map_err(refusal::usage)? else {
        return Err(no_beginning());
    };
    let asker = agents.questions.answer(&id, &node).map_err(|why| {
        tracing::warn!(%node, question = ?id, %why, "refused an answer");
        not_wanted(&why)
    })?;
    // Each taken piece is said once, and only so many are under way: never full.
    let (taken, stream) = mpsc::channel(PIECES_AHEAD + 1);
    let stopping = agents.stopping.clone();
    tokio::spawn(async move {
        let passing = Passing {
            node: node.clone(),
            room: Vec::with_capacity(PIECES_AHEAD),
            taken,
        };
        let ended = tokio::select! {
            ended = passing.pass_on(inbound, asker) => ended,
            () = revoked.cancelled() => Ok(()),
            () = stopping.cancelled() => Ok(()),
        };
        if let Err(why) = ended {
            tracing::warn!(%node, question = ?id, why, "cut an answer");
        }
    });
    Ok(ReceiverStream::new(stream))
}

fn no_beginning() -> Status {
    Status::invalid_argument("an answer begins with its question")
}

fn not_wanted(why: &NotWanted) -> Status {
    match why {
        // Whoever asked may have gone in this moment.
        NotWanted::Unknown => Status::cancelled(why.to_string()),
        NotWanted::Another | NotWanted::Twice => Status::permission_denied(why.to_string()),
    }
}

struct Passing {
    node: NodeId,
    /// What the node may send, as places in the asker's queue.
    room: Vec<OwnedPermit<AnswerPiece>>,
    taken: mpsc::Sender<Result<wire::AnswerTaken, Status>>,
}

impl Passing {
    /// An error is the node's fault.
    async fn pass_on(
        mut self,
        mut inbound: Streaming<wire::AnswerPiece>,
        asker: mpsc::Sender<AnswerPiece>,
    ) -> Result<(), String> {
        while self.room.len() < PIECES_AHEAD {
            match asker.clone().reserve_owned().await {
                Ok(place) => self.room.push(place),
                Err(_) => return self.nobody_asks().await,
            }
        }
        loop {
            tokio::select! {
                // Else the node could be told of room before what it sends is counted.
                biased;
                () = asker.closed() => return self.nobody_asks().await,
                () = self.taken.closed() => return Ok(()),
                message = inbound.message() => match message {
                    Ok(Some(piece)) => if self.is_last(piece).await? { return Ok(()) },
                    Ok(None) => return Ok(()),
                    Err(status) => {
                        tracing::info!(node = %self.node, why = status.message(), "an answer broke off");
                        return Ok(());
                    }
                },
                place = asker.clone().reserve_owned(), if self.room.len() < PIECES_AHEAD => {
                    let Ok(place) = place else { return self.nobody_asks().await };
                    self.room.push(place);
                    let told = self.taken.send(Ok(wire::AnswerTaken { pieces: 1 }));
                    if told.await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Tells whether the answer is complete with it.
    async fn is_last(&mut self, piece: wire::AnswerPiece) -> Result<bool, String> {
        let piece = match AnswerPiece::try_from(piece) {
            Ok(piece) => piece,
            Err(error) => return Err(self.refuse(format!("it cannot be understood: {error}")).await),
        };
        let is_last = match &piece {
            AnswerPiece::Lines(_) | AnswerPiece::Drift(_) => false,
            AnswerPiece::Refused(_) | AnswerPiece::Ends => true,
            AnswerPiece::Begins(_) => return Err(self.refuse("it begins twice".to_owned()).await),
        };
        let Some(place) = self.room.pop() else {
            return Err(self.refuse("more was sent than was taken".to_owned()).await);
        };
        place.send(piece);
        Ok(is_last)
    }

    async fn refuse(&self, why: String) -> String {
        let _gone = self
            .taken
            .send(Err(Status::resource_exhausted(why.clone())))
            .await;
        why
    }

    async fn nobody_asks(&self) -> Result<(), String> {
        let _gone = self
            .taken
            .send(Err(Status::cancelled("nobody reads the answer any more")))
            .await;
        Ok(())
    }
}
