//! The local socket: what people on the node ask of a running agent. One line of JSON
//! each way.

use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fleet_proto::ids::AppName;
use fleet_proto::version::Version;
use nix::unistd::{Pid, Uid};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::durable::{self, FileError, failed};
use crate::effects::chain;
use crate::person;
use crate::status::NodeStatus;

/// A question names an app and a version at most.
const QUESTION_BYTES_MAX: u64 = 64 << 10;
const ANSWER_BYTES_MAX: u64 = 1 << 20;
const QUESTION_DEADLINE: Duration = Duration::from_secs(5);
/// A rollback stops, starts and checks; longer than this it is worth a look of one's own.
const ANSWER_DEADLINE: Duration = Duration::from_secs(180);
/// Questions that are being answered; as many as [`WAITING_MAX`] wait for that.
const AT_ONCE_MAX: usize = 8;
const WAITING_MAX: usize = 64;
/// Those who have connected and not asked yet. One more, and the one who has taken longest
/// is cut off: whoever says nothing keeps nobody out.
const UNHEARD_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Question {
    Status,
    Rollback { app: AppName, to: Option<Version> },
    Stop,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Status(Box<NodeStatus>),
    RolledBack(RolledBack),
    Stopped,
    Refused { why: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolledBack {
    pub app: AppName,
    pub from: Option<Version>,
    pub to: Version,
    /// Why the release that was put back is not healthy, if it is not.
    pub ill: Option<String>,
    /// The node is drained: it runs when it is undrained.
    #[serde(default)]
    pub drained: bool,
}

/// A question, and where its answer goes.
pub struct Asked {
    pub question: Question,
    pub by: String,
    pub answer: oneshot::Sender<Answer>,
    /// Ends when the answer has been written, or cannot be.
    pub told: Told,
}

pub struct Told(oneshot::Receiver<()>);

impl Told {
    /// For whoever ends with the answer: the asker shall have it first.
    pub async fn wait(self) {
        let _late = tokio::time::timeout(QUESTION_DEADLINE, self.0).await;
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("cannot ask the agent at its socket")]
    Io(#[from] std::io::Error),
    #[error(
        "the agent's socket {} may not be used by this user\nhint: ask as the user that the agent runs as, or as root", .path.display()
    )]
    NotAllowed { path: PathBuf },
    #[error("the agent gave no answer within {}s", ANSWER_DEADLINE.as_secs())]
    NoAnswer,
    #[error("the answer is not read")]
    NotRead,
    #[error("the connection was closed without an answer")]
    Cut,
    #[error("the agent's answer cannot be understood: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// Only the agent's own user can connect: the socket is in its directory, and is 0600.
pub fn listen(path: &Path) -> Result<UnixListener, FileError> {
    durable::remove(path)?;
    let listener =
        by_short_name(path, |short| UnixListener::bind(short)).map_err(failed("listen at", path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(failed("set the mode of", path))?;
    Ok(listener)
}

/// A socket's name has at most 107 bytes, and a state directory may be deeper than that:
/// it is named through an open directory.
fn by_short_name<T>(path: &Path, act: impl FnOnce(&Path) -> std::io::Result<T>) -> std::io::Result<T> {
    let directory = std::fs::File::open(durable::parent(path))?;
    let name = path.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    act(&short)
}

/// Why a question is not answered. The asker is told, and the log is.
#[derive(Debug, thiserror::Error)]
enum Unheard {
    #[error("it is for root and for the user that the agent runs as")]
    Stranger,
    #[error("it did not come within {}s", QUESTION_DEADLINE.as_secs())]
    Late,
    #[error("it is longer than {QUESTION_BYTES_MAX} bytes")]
    TooLong,
    #[error("it cannot be understood: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("{WAITING_MAX} others wait for an answer")]
    TooMany,
    #[error("it broke off")]
    Broken(#[from] std::io::Error),
}

pub async fn serve(listener: UnixListener, questions: mpsc::Sender<Asked>) {
    let mut unheard: VecDeque<AbortHandle> = VecDeque::new();
    let desk = Desk {
        questions,
        answering: Arc::new(Semaphore::new(AT_ONCE_MAX)),
        waiting: Arc::new(Semaphore::new(WAITING_MAX)),
    };
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept at the local socket");
                tokio::time::sleep(QUESTION_DEADLINE).await;
                continue;
            }
        };
        unheard.retain(|hearing| !hearing.is_finished());
        if unheard.len() >= UNHEARD_MAX
            && let Some(oldest) = unheard.pop_front()
        {
            tracing::warn!("too many at the local socket who ask nothing; one was cut off");
            oldest.abort();
        }
        let hearing = tokio::spawn(desk.clone().hear(stream));
        unheard.push_back(hearing.abort_handle());
    }
}

#[derive(Clone)]
struct Desk {
    questions: mpsc::Sender<Asked>,
    answering: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Desk {
    /// Ends when the question is there: what follows is a task of its own.
    async fn hear(self, stream: UnixStream) {
        let (uid, by) = match asker(&stream) {
            Ok(asker) => asker,
            Err(error) => return tracing::warn!(%error, "nobody knows who asks at the local socket"),
        };
        let mut stream = BufReader::new(stream);
        let question = question(uid, &mut stream).await;
        let place = self.waiting.clone().try_acquire_owned();
        let heard = question.and_then(|question| Ok((question, place.map_err(|_| Unheard::TooMany)?)));
        tokio::spawn(async move {
            let answered = match heard {
                Ok((question, _place)) => self.answer(question, by, &mut stream).await,
                Err(why) => {
                    tracing::warn!(by, %why, "a local question was refused");
                    let why = format!("the question is refused: {why}");
                    write_answer(&mut stream, &Answer::Refused { why }).await
                }
            };
            if let Err(error) = answered {
                tracing::warn!(error = chain(&error), "a local question was not answered");
            }
        });
    }

    async fn answer(
        self,
        question: Question,
        by: String,
        stream: &mut BufReader<UnixStream>,
    ) -> Result<(), LocalError> {
        let _turn = self.answering.acquire().await;
        let (answer, answered) = oneshot::channel();
        let (_told_when_dropped, told) = oneshot::channel();
        let asked = Asked {
            question,
            by,
            answer,
            told: Told(told),
        };
        let _agent_stops = self.questions.send(asked).await;
        // Whoever asked waits no longer than that.
        let answered = tokio::time::timeout(ANSWER_DEADLINE, answered).await;
        let answer = answered
            .map_err(|_| LocalError::NoAnswer)?
            .unwrap_or_else(|_| Answer::Refused {
                why: "the agent is stopping".to_owned(),
            });
        write_answer(stream, &answer).await
    }
}

/// The socket's mode lets nobody else connect; whoever comes by a wider one, or with a
/// descriptor that somebody gave them, is refused all the same.
async fn question(uid: Uid, stream: &mut BufReader<UnixStream>) -> Result<Question, Unheard> {
    if !uid.is_root() && uid != Uid::effective() {
        return Err(Unheard::Stranger);
    }
    let line = tokio::time::timeout(QUESTION_DEADLINE, read_line(stream, QUESTION_BYTES_MAX))
        .await
        .map_err(|_| Unheard::Late)??;
    if line.len() as u64 == QUESTION_BYTES_MAX {
        return Err(Unheard::TooLong);
    }
    Ok(serde_json::from_slice(&line)?)
}

/// By the kernel's word: the agent's own environment says who started the agent.
fn asker(stream: &UnixStream) -> Result<(Uid, String), std::io::Error> {
    let peer = stream.peer_cred()?;
    let uid = Uid::from_raw(peer.uid());
    Ok((uid, person::of(uid, peer.pid().map(Pid::from_raw))))
}

/// None if no agent listens there.
pub async fn ask(path: &Path, question: &Question) -> Result<Option<Answer>, LocalError> {
    let connected = by_short_name(path, |short| std::os::unix::net::UnixStream::connect(short));
    let stream = match connected.and_then(|stream| {
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }) {
        Ok(stream) => stream,
        // Whoever may not ask cannot say that nobody is there.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(LocalError::NotAllowed {
                path: path.to_owned(),
            });
        }
        Err(_) => return Ok(None),
    };
    let mut stream = BufReader::new(stream);
    // Who is refused before the question has come is told all the same.
    let asked = write_line(&mut stream, question).await;
    let line = tokio::time::timeout(ANSWER_DEADLINE, read_line(&mut stream, ANSWER_BYTES_MAX))
        .await
        .map_err(|_| LocalError::NoAnswer)??;
    if line.is_empty() {
        asked?;
        return Err(LocalError::Cut);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

async fn read_line(stream: &mut BufReader<UnixStream>, bytes_max: u64) -> Result<Vec<u8>, std::io::Error> {
    let mut line = Vec::new();
    stream.take(bytes_max).read_until(b'\n', &mut line).await?;
    Ok(line)
}

async fn write_answer(stream: &mut BufReader<UnixStream>, answer: &Answer) -> Result<(), LocalError> {
    let written = tokio::time::timeout(QUESTION_DEADLINE, write_line(stream, answer)).await;
    written.map_err(|_| LocalError::NotRead)?
}

async fn write_line(stream: &mut BufReader<UnixStream>, value: &impl Serialize) -> Result<(), LocalError> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    Ok(stream.flush().await?)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    /// An answer that is far larger than what waits in a socket.
    fn answer_all(mut asked: mpsc::Receiver<Asked>) {
        tokio::spawn(async move {
            while let Some(asked) = asked.recv().await {
                let why = "x".repeat(900_000);
                let _asker_gone = asked.answer.send(Answer::Refused { why });
            }
        });
    }

    #[tokio::test]
    async fn those_who_ask_and_do_not_listen_do_not_keep_out_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let (questions, asked) = mpsc::channel(64);
        tokio::spawn(serve(listen(&path).unwrap(), questions));
        answer_all(asked);
        let mut deaf = Vec::new();
        for _ in 0..AT_ONCE_MAX {
            let mut stream = BufReader::new(UnixStream::connect(&path).await.unwrap());
            write_line(&mut stream, &Question::Status).await.unwrap();
            deaf.push(stream);
        }
        let answer = tokio::time::timeout(QUESTION_DEADLINE * 4, ask(&path, &Question::Status)).await;
        assert!(matches!(answer.unwrap().unwrap(), Some(Answer::Refused { .. })));
    }
}
