//! Agents that lie, flood or say what nobody can understand: their own stream ends, the log
//! says why, and nobody else notices.

use std::time::{Duration, Instant};

use fleet_proto::wire;
use fleet_proto::wire::agent_client::AgentClient;
use fleet_proto::wire::from_agent::Message;
use prost::Message as _;
use prost::bytes::{Buf, BufMut};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use crate::coordinator::{Coordinator, Session, hello, hello_of};
use crate::log::Log;

const PATIENCE: Duration = Duration::from_secs(20);

fn said(message: Message) -> wire::FromAgent {
    wire::FromAgent {
        message: Some(message),
    }
}

fn status(change: impl Fn(&mut wire::AppStatus)) -> wire::FromAgent {
    let mut status = wire::AppStatus {
        app: "shop".into(),
        fence_seen: Some(wire::Fence::default()),
        health: wire::Health::Healthy.into(),
        ..wire::AppStatus::default()
    };
    change(&mut status);
    said(Message::Status(status))
}

fn step(change: impl Fn(&mut wire::StepStatus)) -> wire::FromAgent {
    let mut step = wire::StepStatus {
        rollout: 1,
        generation: u32::MAX,
        phase: "done".into(),
        ..wire::StepStatus::default()
    };
    change(&mut step);
    status(|status| status.step = Some(step.clone()))
}

fn history(change: impl Fn(&mut wire::HistoryEntry)) -> wire::FromAgent {
    let mut entry = wire::HistoryEntry {
        sequence: 1,
        app: "shop".into(),
        cause: "by-hand".into(),
        ..wire::HistoryEntry::default()
    };
    change(&mut entry);
    said(Message::History(entry))
}

fn release(version: &str, digest: &str) -> Option<wire::ReleaseRef> {
    let (version, digest) = (version.to_owned(), digest.to_owned());
    Some(wire::ReleaseRef { version, digest })
}

fn nonsense() -> Vec<(&'static str, wire::FromAgent)> {
    let zeroes = "0".repeat(64);
    let refusal = wire::Refusal {
        app: "shop".into(),
        ..wire::Refusal::default()
    };
    vec![
        ("nothing at all", wire::FromAgent { message: None }),
        ("no app", status(|status| status.app = String::new())),
        (
            "a path for an app",
            status(|status| status.app = "../../etc".into()),
        ),
        (
            "an escape code for an app",
            status(|status| status.app = "\u{1b}[2J".into()),
        ),
        ("no fence", status(|status| status.fence_seen = None)),
        (
            "no health",
            status(|status| status.health = wire::Health::Unspecified.into()),
        ),
        ("a health that there is not", status(|status| status.health = 77)),
        (
            "a path for a digest",
            status(|status| status.current = release("v1", "../x")),
        ),
        (
            "no version",
            status(|status| status.last_good = release("", &zeroes)),
        ),
        (
            "a phase that there is not",
            step(|step| step.phase = "rooted".into()),
        ),
        (
            "a stand that there is not",
            step(|step| step.migration = "maybe".into()),
        ),
        (
            "a class that there is not",
            step(|step| step.failure = Some(wire::Failure::default())),
        ),
        ("a refusal of nothing", said(Message::Refusal(refusal))),
        (
            "a cause that there is not",
            history(|entry| entry.cause = "magic".into()),
        ),
        (
            "more apps than a node has",
            said(Message::Hello(wire::Hello {
                facts: Some(wire::Facts::default()),
                apps: vec![wire::AppStatus::default(); 65],
                ..wire::Hello::default()
            })),
        ),
        (
            "a greeting without facts",
            said(Message::Hello(wire::Hello::default())),
        ),
    ]
}

async fn until_logged(log: &Log, words: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    let mut logged = String::new();
    loop {
        logged.push_str(&log.take());
        if logged
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
        {
            assert!(!logged.contains('\u{1b}'), "{logged}");
            return;
        }
        assert!(Instant::now() < deadline, "no {words:?} in {logged}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn reports_that_make_no_sense_end_the_stream_that_they_came_on() {
    let log = Log::begin();
    let coordinator = Coordinator::start().await;
    let mut well = coordinator.node("n2").await;
    let _other = Session::welcomed(&mut well).await;
    let mut client = coordinator.node("n1").await;
    for (case, message) in nonsense() {
        let mut session = Session::welcomed(&mut client).await;
        coordinator.until_connection_is("n1", "Connected").await;
        session.outbox.send(message).await.unwrap();
        let ended = tokio::time::timeout(PATIENCE, session.inbox.message()).await;
        assert!(!matches!(ended, Err(_) | Ok(Ok(Some(_)))), "{case}: {ended:?}");
        until_logged(&log, &["disconnected", "node=n1", "what cannot be understood"]).await;
        coordinator.until_connection_is("n1", "Silent").await;
        assert_eq!(coordinator.connection_of("n2"), "Connected", "{case}");
    }
    Session::welcomed(&mut client).await;
}

/// Numbers beyond all reason, in messages that are sound: nothing of them comes true.
#[tokio::test]
async fn numbers_beyond_all_reason_move_nothing() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let session = Session::welcomed(&mut client).await;
    let endless = wire::Fence {
        term: u64::MAX,
        rollout: u64::MAX,
        generation: u32::MAX,
    };
    for message in [
        status(|status| status.fence_seen = Some(endless)),
        step(|_| {}),
        step(|step| step.rollout = u64::MAX),
        said(Message::Refusal(wire::Refusal {
            app: "shop".into(),
            refused: Some(endless),
            seen: Some(endless),
            why: "because".into(),
        })),
        history(|entry| (entry.sequence, entry.at_ms) = (u64::MAX, u64::MAX)),
        said(Message::Heartbeat(wire::Heartbeat {
            cpu_percent: f64::NAN,
            memory_percent: f64::NEG_INFINITY,
            disk_free_bytes: u64::MAX,
            ..wire::Heartbeat::default()
        })),
        said(Message::Service(wire::ServiceStatus {
            service_sequence: u64::MAX,
            drained: true,
        })),
    ] {
        session.outbox.send(message).await.unwrap();
    }
    // Behind all of them.
    session
        .outbox
        .send(status(|status| status.app = "last".into()))
        .await
        .unwrap();
    let mut changes = coordinator.running.handle().changes();
    let heard = async {
        let node = "n1".parse().unwrap();
        while !coordinator
            .running
            .handle()
            .read(|state| state.nodes[&node].apps.keys().any(|app| app.as_str() == "last"))
        {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.unwrap();
    let (term, is_outdated) = coordinator
        .running
        .handle()
        .read(|state| (state.term, state.is_outdated()));
    assert_eq!((term, is_outdated), (1, false));
    coordinator
        .operator()
        .status(wire::StatusQuery::default())
        .await
        .unwrap();
}

/// Whose report it is says the certificate; what a node says of itself changes itself alone.
#[tokio::test]
async fn a_node_speaks_for_itself_only() {
    let log = Log::begin();
    let coordinator = Coordinator::start().await;
    let mut honest = coordinator.node("n2").await;
    let _honest = Session::welcomed(&mut honest).await;
    let mut liar = coordinator.node("n1").await;
    let mut greeting = hello();
    if let Some(Message::Hello(hello)) = &mut greeting.message {
        hello.facts.get_or_insert_default().hostname = "n2".into();
    }
    let session = Session::open(&mut liar, greeting).await.unwrap();
    session.outbox.send(status(|_| {})).await.unwrap();
    let mut changes = coordinator.running.handle().changes();
    let apps_of = |node: &str| {
        let node = node.parse().unwrap();
        coordinator
            .running
            .handle()
            .read(|state| state.nodes[&node].apps.len())
    };
    let heard = async {
        while apps_of("n1") == 0 {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.unwrap();
    assert_eq!(apps_of("n2"), 0);
    // A token that is for one node lets no other in, and its own certificate nobody else.
    let token = coordinator.token_for("n3").await;
    let refused = coordinator.enrol(&token.token, "n2").await.err().unwrap();
    assert!(refused.message().contains("n3"), "{refused}");
    let as_operator = coordinator.issue(
        "fleet.test",
        &fleet_proto::identity::Who::Operator("admin".parse().unwrap()),
        fleet_proto::time::Timestamp::now(),
    );
    let mut client = AgentClient::new(coordinator.member(&as_operator));
    let refused = Session::open(&mut client, hello()).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    until_logged(&log, &["refused a node", "this is for nodes"]).await;
}

/// What is kept for good is kept of whoever was told to make it.
#[tokio::test]
async fn nobody_leaves_a_backup_unasked() {
    let log = Log::begin();
    let coordinator = Coordinator::start().await;
    let mut node = coordinator.node("n1").await;
    let piece = |app: &str| wire::BackupPiece {
        app: app.to_owned(),
        rollout: 1,
        piece: Some(wire::BlobPiece {
            digest: fleet_proto::digest::Digest::of(b"dump").as_bytes().to_vec(),
            offset: 0,
            data: b"dump".to_vec(),
            bytes: 4,
        }),
    };
    let sent = tokio_stream::iter([piece("shop"), piece("shop")]);
    let refused = node.keep_backup(sent).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let refused = node.keep_backup(tokio_stream::iter([])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    until_logged(&log, &["refused a backup", "n1"]).await;
}

#[tokio::test]
async fn a_flood_waits_and_others_do_not() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let session = Session::welcomed(&mut client).await;
    let outbox = session.outbox.clone();
    let flood = tokio::spawn(async move {
        let began = Instant::now();
        for _ in 0..600 {
            let long = status(|status| status.health_why = "x".repeat(4000));
            outbox.send(long).await.unwrap();
        }
        began.elapsed()
    });
    let mut slowest = Duration::ZERO;
    let mut other = coordinator.node("n2").await;
    while !flood.is_finished() {
        let began = Instant::now();
        Session::welcomed(&mut other).await;
        coordinator
            .operator()
            .status(wire::StatusQuery::default())
            .await
            .unwrap();
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    // A hundred a second, and what waits in buffers on the way.
    let took = flood.await.unwrap();
    assert!(took > Duration::from_secs(1), "{took:?}");
    assert_eq!(coordinator.connection_of("n1"), "Connected");
}

/// Bytes as they are.
#[derive(Clone, Copy)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

async fn say_bytes(
    channel: Channel,
    messages: Vec<Vec<u8>>,
) -> Result<(mpsc::Sender<Vec<u8>>, Streaming<Vec<u8>>), Status> {
    let (outbox, from_here) = mpsc::channel(8);
    for message in messages {
        outbox.send(message).await.unwrap();
    }
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/fleet.v1.Agent/Session");
    let request = Request::new(ReceiverStream::new(from_here));
    let answer = client.streaming(request, path, Bytes).await?;
    Ok((outbox, answer.into_inner()))
}

#[tokio::test]
async fn bytes_that_are_no_message_end_the_stream() {
    let log = Log::begin();
    let coordinator = Coordinator::start().await;
    let token = coordinator.token(1, "1h").await;
    let credentials = coordinator.enrol(&token.token, "n1").await.unwrap();
    let greeting = hello_of(1, 0).encode_to_vec();
    let torn = greeting[..greeting.len() - 1].to_vec();
    let endless = [&[0x0a][..], &[0xff; 9], &[0x01]].concat();
    let nested = [0x0b].repeat(10_000);
    let huge = vec![0; wire::MESSAGE_BYTES_MAX + 1];
    for (case, bytes, expected) in [
        ("torn", torn, "decode Protobuf"),
        ("a length without end", endless, "decode Protobuf"),
        ("groups in groups", nested, "decode Protobuf"),
        ("another type", vec![0x08, 0x01], "decode Protobuf"),
        ("not a field", vec![0x00], "decode Protobuf"),
        ("more than a message may weigh", huge, "too large"),
    ] {
        // As a first word it is no greeting; later it ends what has begun.
        let refused = say_bytes(coordinator.member(&credentials), vec![bytes.clone()]).await;
        assert!(refused.is_err(), "{case}");
        until_logged(&log, &["refused a greeting", "node=n1"]).await;
        let messages = vec![greeting.clone(), bytes];
        let (_outbox, mut inbox) = say_bytes(coordinator.member(&credentials), messages)
            .await
            .unwrap();
        let over = async { while let Ok(Some(_)) = inbox.message().await {} };
        tokio::time::timeout(PATIENCE, over).await.unwrap();
        until_logged(&log, &["disconnected", "node=n1", expected]).await;
        coordinator.until_connection_is("n1", "Silent").await;
    }
    let mut client = AgentClient::new(coordinator.member(&credentials));
    Session::welcomed(&mut client).await;
}
