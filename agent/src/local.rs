//! The local socket: what people on the node ask of a running agent. One line of JSON
//! each way.

use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_proto::ids::AppName;
use fleet_proto::version::Version;
use nix::unistd::{Pid, Uid};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::durable::{self, FileError, failed};
use crate::person;
use crate::status::NodeStatus;

const LINE_BYTES_MAX: u64 = 1 << 20;
const QUESTION_DEADLINE: Duration = Duration::from_secs(5);
/// A rollback stops, starts and checks; longer than this it is worth a look of one's own.
const ANSWER_DEADLINE: Duration = Duration::from_secs(180);
const AT_ONCE_MAX: usize = 8;

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

pub async fn serve(listener: UnixListener, questions: mpsc::Sender<Asked>) {
    let at_once = std::sync::Arc::new(Semaphore::new(AT_ONCE_MAX));
    loop {
        let Ok(permit) = at_once.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept at the local socket");
                tokio::time::sleep(QUESTION_DEADLINE).await;
                continue;
            }
        };
        let questions = questions.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(stream, questions).await {
                tracing::debug!(%error, "a local question was not answered");
            }
            drop(permit);
        });
    }
}

async fn answer(stream: UnixStream, questions: mpsc::Sender<Asked>) -> Result<(), LocalError> {
    let by = asker(&stream)?;
    let mut stream = BufReader::new(stream);
    let line = tokio::time::timeout(QUESTION_DEADLINE, read_line(&mut stream))
        .await
        .map_err(|_| LocalError::NoAnswer)??;
    let (answer, answered) = oneshot::channel();
    let (_told_when_dropped, told) = oneshot::channel();
    let answer = match serde_json::from_slice(&line) {
        Ok(question) => {
            let asked = Asked {
                question,
                by,
                answer,
                told: Told(told),
            };
            let _agent_stops = questions.send(asked).await;
            // Whoever asked waits no longer than that.
            let answered = tokio::time::timeout(ANSWER_DEADLINE, answered).await;
            answered
                .map_err(|_| LocalError::NoAnswer)?
                .unwrap_or_else(|_| Answer::Refused {
                    why: "the agent is stopping".to_owned(),
                })
        }
        Err(error) => Answer::Refused {
            why: format!("the question cannot be understood: {error}"),
        },
    };
    let written = tokio::time::timeout(QUESTION_DEADLINE, write_line(&mut stream, &answer)).await;
    written.map_err(|_| LocalError::NotRead)?
}

/// By the kernel's word: the agent's own environment says who started the agent.
fn asker(stream: &UnixStream) -> Result<String, std::io::Error> {
    let peer = stream.peer_cred()?;
    Ok(person::of(
        Uid::from_raw(peer.uid()),
        peer.pid().map(Pid::from_raw),
    ))
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
    write_line(&mut stream, question).await?;
    let line = tokio::time::timeout(ANSWER_DEADLINE, read_line(&mut stream))
        .await
        .map_err(|_| LocalError::NoAnswer)??;
    Ok(Some(serde_json::from_slice(&line)?))
}

async fn read_line(stream: &mut BufReader<UnixStream>) -> Result<Vec<u8>, std::io::Error> {
    let mut line = Vec::new();
    stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
    Ok(line)
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
