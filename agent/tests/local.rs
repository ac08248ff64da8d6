//! The local socket among people who do not behave: each is refused with an answer or cut
//! off, the log says so, and the next proper question is answered.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

#[path = "../../tests/support/log.rs"]
mod log;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use fleet_agent::local::{self, Answer, Asked, Question};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use log::Log;

const PATIENCE: Duration = Duration::from_secs(20);
const REFUSED: &str = "a local question was refused";

/// A socket behind which somebody answers, and the log of that.
struct Desk {
    directory: tempfile::TempDir,
    log: Log,
}

impl Desk {
    /// In the test's own thread, as the log is.
    fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (questions, mut asked) = mpsc::channel::<Asked>(16);
        let desk = Self {
            directory,
            log: Log::begin(),
        };
        tokio::spawn(local::serve(local::listen(&desk.path()).unwrap(), questions));
        tokio::spawn(async move {
            while let Some(asked) = asked.recv().await {
                let why = format!("not today, {}", asked.by);
                let _asker_gone = asked.answer.send(Answer::Refused { why });
            }
        });
        desk
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path()).await.unwrap()
    }

    /// A proper question is answered, and in which time.
    async fn answers(&self) -> Duration {
        let began = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, local::ask(&self.path(), &Question::Status)).await;
        let answer = answer.unwrap().unwrap();
        let is_answered = matches!(&answer, Some(Answer::Refused { why }) if why.starts_with("not today, "));
        assert!(is_answered, "{answer:?}");
        began.elapsed()
    }
}

/// What comes back until the other side closes.
async fn rest(stream: &mut UnixStream) -> String {
    let mut text = Vec::new();
    let _cut = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut text))
        .await
        .unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused_with_an_answer() {
    let desk = Desk::open();
    let deep = [b"[".repeat(60_000), b"\n".to_vec()].concat();
    let cases: &[(&str, &[u8], &str)] = &[
        ("nothing but the end", b"\n", "cannot be understood: EOF"),
        (
            "half a question",
            b"{\"rollback\":{\"app\":\n",
            "cannot be understood: EOF",
        ),
        (
            "garbage",
            &[0, 1, 2, 0xff, 0xfe, b'\n'],
            "cannot be understood: expected value",
        ),
        (
            "no text",
            b"\"stat\xffus\"\n",
            "cannot be understood: invalid unicode",
        ),
        ("an unknown question", b"\"reboot\"\n", "unknown variant `reboot`"),
        (
            "an unknown field",
            b"{\"rollback\":{\"app\":\"shop\",\"to\":null,\"as\":\"root\"}}\n",
            "unknown field `as`",
        ),
        (
            "a path for an app",
            b"{\"rollback\":{\"app\":\"../etc\",\"to\":null}}\n",
            "`../etc`",
        ),
        ("two questions", b"\"status\" \"stop\"\n", "trailing characters"),
        (
            "brackets without end",
            &deep,
            "cannot be understood: expected value",
        ),
        (
            "a request of the web",
            b"GET / HTTP/1.1\r\n",
            "cannot be understood: expected value",
        ),
    ];
    for (case, bytes, expected) in cases {
        let mut stream = desk.connect().await;
        stream.write_all(bytes).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(
            answer.starts_with("{\"refused\":{\"why\":\"the question is refused: ")
                && answer.contains(expected),
            "{case}: {answer}"
        );
        let logged = desk.log.take();
        assert!(
            logged.contains(REFUSED) && logged.contains(expected),
            "{case}: {logged}"
        );
        desk.answers().await;
    }
}

#[tokio::test]
async fn a_line_without_end_is_cut_at_its_limit() {
    let desk = Desk::open();
    let mut stream = desk.connect().await;
    let piece = [b'x'; 4096];
    let mut written = 0_usize;
    while written < 64 << 20 && stream.write_all(&piece).await.is_ok() {
        written += piece.len();
    }
    // Beside the question there is what waits in the socket.
    assert!(written < 4 << 20, "{written} bytes were taken");
    let answer = rest(&mut stream).await;
    assert!(answer.contains("it is longer than 65536 bytes"), "{answer}");
    assert!(desk.log.take().contains(REFUSED));
    desk.answers().await;
}

#[tokio::test]
async fn those_who_take_their_time_are_cut_and_keep_nobody_out() {
    let desk = Desk::open();
    let mut slow = Vec::new();
    for _ in 0..30 {
        slow.push(desk.connect().await);
    }
    let began = Instant::now();
    let mut answers = Vec::new();
    while began.elapsed() < PATIENCE && answers.len() < slow.len() {
        for stream in &mut slow {
            let _cut = stream.write_all(b"\"").await;
        }
        assert!(desk.answers().await < Duration::from_secs(2));
        if began.elapsed() > Duration::from_secs(6) {
            for stream in &mut slow {
                answers.push(rest(stream).await);
            }
        }
    }
    assert_eq!(answers.len(), slow.len());
    for answer in answers {
        // The quotes that came before the deadline make no question.
        assert!(
            answer.is_empty() || answer.contains("it did not come within 5s"),
            "{answer}"
        );
    }
    assert_eq!(desk.log.take().matches("it did not come within 5s").count(), 30);
}

#[tokio::test]
async fn hundreds_of_silent_callers_keep_nobody_out() {
    let desk = Desk::open();
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(desk.connect().await);
    }
    assert!(desk.answers().await < Duration::from_secs(2));
    // The first of them was cut off to make room, and the last still may ask.
    assert_eq!(rest(&mut silent[0]).await, "");
    assert!(desk.log.take().contains("one was cut off"));
    let last = silent.last_mut().unwrap();
    last.write_all(b"\"status\"\n").await.unwrap();
    assert!(rest(last).await.contains("not today"));
}

#[tokio::test]
async fn those_who_hang_up_are_no_trouble() {
    let desk = Desk::open();
    for bytes in [&b""[..], b"\"sta", b"\"status\"\n"] {
        for _ in 0..100 {
            let mut stream = desk.connect().await;
            stream.write_all(bytes).await.unwrap();
        }
        assert!(desk.answers().await < Duration::from_secs(2));
    }
}

/// The socket's mode keeps others out; should somebody widen it, the kernel's word does.
#[tokio::test]
async fn another_user_is_refused_though_the_mode_lets_them_in() {
    if !nix::unistd::Uid::effective().is_root() {
        // Nobody else can become another user: the mode alone is looked at.
        let desk = Desk::open();
        let mode = std::fs::metadata(desk.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        return;
    }
    let desk = Desk::open();
    let config = desk.directory.path().join("agent.toml");
    let text = format!(
        "node = \"n01\"\ncoordinators = [\"https://127.0.0.1:1\"]\nstate = \"{}\"\n[trust]\nrelease_keys = [\"{}\"]\n",
        desk.directory.path().display(),
        fleet_proto::signing::SecretKey::generate().unwrap().public()
    );
    std::fs::write(&config, text).unwrap();
    let program = desk.directory.path().join("fleet-agent");
    std::fs::copy(env!("CARGO_BIN_EXE_fleet-agent"), &program).unwrap();
    let widen = |path: PathBuf, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    widen(desk.directory.path().to_owned(), 0o755);
    let status_as_nobody = || {
        let mut command = Command::new(&program);
        command
            .args(["status", "--config"])
            .arg(&config)
            .uid(65534)
            .gid(65534);
        tokio::task::spawn_blocking(move || command.output())
    };
    let kept_out = status_as_nobody().await.unwrap().unwrap();
    let said = String::from_utf8(kept_out.stderr).unwrap();
    assert!(
        !kept_out.status.success() && said.contains("may not be used by this user"),
        "{said}"
    );
    widen(desk.path(), 0o666);
    let refused = status_as_nobody().await.unwrap().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    let expected = "it is for root and for the user that the agent runs as";
    assert!(!refused.status.success() && said.contains(expected), "{said}");
    let logged = desk.log.take();
    assert!(logged.contains(REFUSED) && logged.contains("nobody"), "{logged}");
    desk.answers().await;
}
