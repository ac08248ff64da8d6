//! What is asked of nodes on operators' behalf, and not yet answered. A node answers in a call
//! of its own, and has to name a question that was put to it, and to nobody else, just now.
//! Nothing of an answer is kept: it goes through a bounded queue to whoever asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_proto::ids::NodeId;
use fleet_proto::session::ToAgent;
use fleet_proto::session::question::{
    AnswerPiece, Asked, NoRandomness, PIECES_AHEAD, QUESTIONS_PER_NODE, Question, QuestionId,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::driver::{NotTaken, Sessions};

/// Each holds some pieces in memory: 16 MiB of them altogether.
pub const QUESTIONS_MAX: usize = 64;
/// To begin an answer; to find all of it takes a node longer, and is not in here.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Questions {
    open: Mutex<BTreeMap<QuestionId, Open>>,
}

struct Open {
    node: NodeId,
    /// Until somebody answers.
    pieces: Option<mpsc::Sender<AnswerPiece>>,
}

#[derive(Debug, thiserror::Error)]
pub enum NotAsked {
    #[error("{node} is asked {QUESTIONS_PER_NODE} things already, which is the limit")]
    NodeBusy { node: NodeId },
    #[error("{QUESTIONS_MAX} things are asked of nodes already, which is the limit")]
    AllBusy,
    #[error("{node} is not connected")]
    NotConnected { node: NodeId },
    #[error("{node} does not take its messages just now")]
    DoesNotListen { node: NodeId },
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// Why an answer is not taken from a node.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWanted {
    #[error("no such question is open")]
    Unknown,
    #[error("the question was put to another node")]
    Another,
    #[error("the question is being answered already")]
    Twice,
}

/// An answer that has no end.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    #[error("{node} took no notice of the question within {}s", BEGIN_WITHIN.as_secs())]
    NotBegun { node: NodeId },
    #[error("{node} went away before its answer was complete")]
    BrokenOff { node: NodeId },
}

/// A question that is open for as long as this is there.
pub struct Asking {
    questions: Arc<Questions>,
    id: QuestionId,
    node: NodeId,
    pieces: mpsc::Receiver<AnswerPiece>,
    begin_until: Option<Instant>,
}

impl Questions {
    pub fn ask(
        self: &Arc<Self>,
        sessions: &Sessions,
        node: &NodeId,
        what: Asked,
    ) -> Result<Asking, NotAsked> {
        let id = QuestionId::generate()?;
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        self.note(&id, node, sender)?;
        // From here on it is taken back whatever happens.
        let asking = Asking {
            questions: Arc::clone(self),
            id: id.clone(),
            node: node.clone(),
            pieces,
            begin_until: Some(Instant::now() + BEGIN_WITHIN),
        };
        let node = node.clone();
        match sessions.offer(&node, ToAgent::Question(Question { id, what })) {
            Ok(()) => Ok(asking),
            Err(NotTaken::Absent) => Err(NotAsked::NotConnected { node }),
            Err(NotTaken::Full) => Err(NotAsked::DoesNotListen { node }),
        }
    }

    fn note(
        &self,
        id: &QuestionId,
        node: &NodeId,
        sender: mpsc::Sender<AnswerPiece>,
    ) -> Result<(), NotAsked> {
        let mut open = self.open();
        if open.values().filter(|open| open.node == *node).count() >= QUESTIONS_PER_NODE {
            return Err(NotAsked::NodeBusy { node: node.clone() });
        }
        if open.len() >= QUESTIONS_MAX {
            return Err(NotAsked::AllBusy);
        }
        let asked = Open {
            node: node.clone(),
            pieces: Some(sender),
        };
        open.insert(id.clone(), asked);
        Ok(())
    }

    /// Where the answer goes, for the node that was asked, once.
    pub fn answer(&self, id: &QuestionId, by: &NodeId) -> Result<mpsc::Sender<AnswerPiece>, NotWanted> {
        let mut open = self.open();
        let asked = open.get_mut(id).ok_or(NotWanted::Unknown)?;
        if asked.node != *by {
            return Err(NotWanted::Another);
        }
        asked.pieces.take().ok_or(NotWanted::Twice)
    }

    pub fn len(&self) -> usize {
        self.open().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_begun(&self, id: &QuestionId) -> bool {
        self.open().get(id).is_some_and(|open| open.pieces.is_none())
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<QuestionId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking {
    /// The next piece; after `Ends` and `Refused` there is none.
    pub async fn next(&mut self) -> Result<AnswerPiece, Lost> {
        let node = || self.node.clone();
        let piece = match self.begin_until {
            None => self.pieces.recv().await,
            Some(until) => match timeout_at(until, self.pieces.recv()).await {
                Ok(piece) => piece,
                Err(_) if self.questions.is_begun(&self.id) => self.pieces.recv().await,
                Err(_) => return Err(Lost::NotBegun { node: node() }),
            },
        };
        self.begin_until = None;
        piece.ok_or_else(|| Lost::BrokenOff { node: node() })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.questions.open().remove(&self.id);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use crate::driver::Ending;
    use fleet_proto::session::question::LogsWanted;

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn logs() -> Asked {
        Asked::Logs(LogsWanted {
            app: "shop".parse().unwrap(),
            component: None,
            since: None,
            lines: 10,
            follow: false,
        })
    }

    fn id_of(message: Option<ToAgent>) -> QuestionId {
        match message {
            Some(ToAgent::Question(question)) => question.id,
            other => unreachable!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_question_is_answered_once_by_whom_it_was_put_to() {
        let (sessions, questions) = (Sessions::default(), Arc::new(Questions::default()));
        let (queue, mut inbox) = mpsc::channel(8);
        sessions.attach(node("n1"), queue, Ending::default());
        let mut asking = questions.ask(&sessions, &node("n1"), logs()).unwrap();
        let id = id_of(inbox.recv().await);
        assert_eq!(
            questions.answer(&id, &node("n2")).unwrap_err(),
            NotWanted::Another
        );
        let sender = questions.answer(&id, &node("n1")).unwrap();
        assert_eq!(questions.answer(&id, &node("n1")).unwrap_err(), NotWanted::Twice);
        sender.send(AnswerPiece::Ends).await.unwrap();
        assert_eq!(asking.next().await, Ok(AnswerPiece::Ends));
        drop(sender);
        assert_eq!(asking.next().await, Err(Lost::BrokenOff { node: node("n1") }));
        drop(asking);
        assert!(questions.is_empty());
        assert_eq!(
            questions.answer(&id, &node("n1")).unwrap_err(),
            NotWanted::Unknown
        );
    }

    #[tokio::test]
    async fn whoever_takes_no_notice_is_not_waited_for_and_whoever_does_is() {
        let (sessions, questions) = (Sessions::default(), Arc::new(Questions::default()));
        let absent = questions.ask(&sessions, &node("n1"), logs());
        assert!(matches!(absent.err(), Some(NotAsked::NotConnected { .. })));
        let (queue, mut inbox) = mpsc::channel(8);
        sessions.attach(node("n1"), queue, Ending::default());
        let mut asking = questions.ask(&sessions, &node("n1"), logs()).unwrap();
        asking.begin_until = Some(Instant::now());
        assert_eq!(asking.next().await, Err(Lost::NotBegun { node: node("n1") }));
        drop((asking, inbox.recv().await));

        let mut asking = questions.ask(&sessions, &node("n1"), logs()).unwrap();
        let sender = questions.answer(&id_of(inbox.recv().await), &node("n1")).unwrap();
        asking.begin_until = Some(Instant::now());
        let (waits, sends) = tokio::join!(asking.next(), async {
            // Only after whoever asks has seen that the time is over.
            tokio::task::yield_now().await;
            sender.send(AnswerPiece::Ends).await
        });
        assert_eq!((waits, sends), (Ok(AnswerPiece::Ends), Ok(())));
    }

    #[test]
    fn no_more_is_asked_than_may_be() {
        let (sessions, questions) = (Sessions::default(), Arc::new(Questions::default()));
        let mut inboxes = Vec::new();
        let mut asked = Vec::new();
        for number in 0..QUESTIONS_MAX / QUESTIONS_PER_NODE {
            let name = node(&format!("n{number}"));
            let (queue, inbox) = mpsc::channel(QUESTIONS_PER_NODE);
            sessions.attach(name.clone(), queue, Ending::default());
            inboxes.push(inbox);
            for _ in 0..QUESTIONS_PER_NODE {
                asked.push(questions.ask(&sessions, &name, logs()).unwrap());
            }
            let busy = questions.ask(&sessions, &name, logs());
            assert!(matches!(busy.err(), Some(NotAsked::NodeBusy { .. })));
        }
        let (queue, mut inbox) = mpsc::channel(1);
        sessions.attach(node("last"), queue, Ending::default());
        let full = questions.ask(&sessions, &node("last"), logs());
        assert!(matches!(full.err(), Some(NotAsked::AllBusy)));
        drop(asked.pop());
        // A question that does not get through holds no place.
        let _asked = questions.ask(&sessions, &node("last"), logs()).unwrap();
        assert_eq!(questions.len(), QUESTIONS_MAX);
        drop(asked.pop());
        let unheard = questions.ask(&sessions, &node("last"), logs());
        assert!(matches!(unheard.err(), Some(NotAsked::DoesNotListen { .. })));
        assert_eq!(questions.len(), QUESTIONS_MAX - 1);
        inbox.try_recv().unwrap();
    }
}
