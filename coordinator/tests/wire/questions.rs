//! Questions to nodes and their answers: for whoever asked, from whoever was asked, and never
//! more of them than are taken.

use std::time::Duration;

use fleet_proto::session::question::{LINE_BYTES_MAX, PIECES_AHEAD, QUESTIONS_PER_NODE};
use fleet_proto::wire;
use fleet_proto::wire::agent_client::AgentClient;
use fleet_proto::wire::answer_piece::What;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::coordinator::{Coordinator, Session};
use crate::log::Log;

const PATIENCE: Duration = Duration::from_secs(20);

fn logs_of(node: &str) -> wire::LogsQuery {
    wire::LogsQuery {
        node: node.into(),
        wanted: Some(wire::LogsWanted {
            app: "shop".into(),
            lines: 10,
            follow: true,
            ..wire::LogsWanted::default()
        }),
    }
}

fn piece(what: What) -> wire::AnswerPiece {
    wire::AnswerPiece { what: Some(what) }
}

fn lines(count: usize, text: &str) -> wire::AnswerPiece {
    let line = wire::LogLine {
        component: "web".into(),
        text: text.into(),
        ..wire::LogLine::default()
    };
    piece(What::Lines(wire::LogLines {
        lines: vec![line; count],
    }))
}

fn ends() -> wire::AnswerPiece {
    piece(What::Ends(wire::Nothing {}))
}

/// A node's side of an answer.
struct Answering {
    outbox: mpsc::Sender<wire::AnswerPiece>,
    taken: Streaming<wire::AnswerTaken>,
}

impl Answering {
    async fn begin(client: &mut AgentClient<Channel>, question: &str) -> Result<Self, Status> {
        let (outbox, pieces) = mpsc::channel(1);
        let begins = piece(What::Begins(question.to_owned()));
        outbox.send(begins).await.unwrap();
        let taken = client.answer(ReceiverStream::new(pieces)).await?.into_inner();
        Ok(Self { outbox, taken })
    }

    /// How the coordinator ends it.
    async fn end(&mut self) -> Result<(), Status> {
        let ending = async {
            while self.taken.message().await?.is_some() {}
            Ok(())
        };
        tokio::time::timeout(PATIENCE, ending).await.unwrap()
    }
}

async fn question(session: &mut Session) -> wire::Question {
    let message = tokio::time::timeout(PATIENCE, session.inbox.message());
    match message.await.unwrap().unwrap().unwrap().message {
        Some(wire::to_agent::Message::Question(question)) => question,
        other => unreachable!("{other:?}"),
    }
}

async fn read_logs(coordinator: &Coordinator) -> Streaming<wire::LogLines> {
    let asked = coordinator.operator().logs(logs_of("n1")).await;
    asked.unwrap().into_inner()
}

async fn next(logs: &mut Streaming<wire::LogLines>) -> Result<Option<wire::LogLines>, Status> {
    tokio::time::timeout(PATIENCE, logs.message()).await.unwrap()
}

#[tokio::test]
async fn what_a_node_answers_goes_to_whoever_asked() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let mut session = Session::welcomed(&mut client).await;
    let mut logs = read_logs(&coordinator).await;
    let asked = question(&mut session).await;
    let Some(wire::question::What::Logs(wanted)) = asked.what else {
        unreachable!("{asked:?}")
    };
    assert_eq!(
        (wanted.app.as_str(), wanted.lines, wanted.follow),
        ("shop", 10, true)
    );
    let mut answering = Answering::begin(&mut client, &asked.id).await.unwrap();
    answering.outbox.send(lines(2, "one")).await.unwrap();
    assert_eq!(next(&mut logs).await.unwrap().unwrap().lines.len(), 2);
    answering.outbox.send(ends()).await.unwrap();
    assert_eq!(next(&mut logs).await.unwrap(), None);
    assert!(answering.end().await.is_ok());
    assert!(coordinator.running.questions().is_empty());

    let mut logs = read_logs(&coordinator).await;
    let asked = question(&mut session).await;
    let answering = Answering::begin(&mut client, &asked.id).await.unwrap();
    let refused = wire::AnswerRefused {
        why: "there is no web here".into(),
        hint: "it has: api".into(),
        is_absent: true,
    };
    answering
        .outbox
        .send(piece(What::Refused(refused)))
        .await
        .unwrap();
    let status = next(&mut logs).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.message(), "there is no web here\nhint: it has: api");
}

#[tokio::test]
async fn only_the_node_that_was_asked_may_answer_and_only_once() {
    let log = Log::begin();
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let mut another = coordinator.node("n2").await;
    let mut session = Session::welcomed(&mut client).await;
    let unknown = "0".repeat(32);
    for (id, code) in [
        (unknown.as_str(), Code::Cancelled),
        ("../x", Code::InvalidArgument),
    ] {
        let refused = Answering::begin(&mut client, id).await.err().unwrap();
        assert_eq!(refused.code(), code, "{refused}");
    }
    let mut logs = read_logs(&coordinator).await;
    let asked = question(&mut session).await;
    let refused = Answering::begin(&mut another, &asked.id).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    // That it was tried changes nothing for the one that was asked.
    let answering = Answering::begin(&mut client, &asked.id).await.unwrap();
    let refused = Answering::begin(&mut client, &asked.id).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    answering.outbox.send(lines(1, "true")).await.unwrap();
    answering.outbox.send(ends()).await.unwrap();
    let told = next(&mut logs).await.unwrap().unwrap();
    assert_eq!(told.lines[0].text, "true");
    assert_eq!(next(&mut logs).await.unwrap(), None);
    let refused = Answering::begin(&mut client, &asked.id).await.err().unwrap();
    assert_eq!(refused.code(), Code::Cancelled, "{refused}");
    let said = log.take();
    for why in ["put to another node", "answered already", "no such question"] {
        assert!(said.contains(why), "{why}: {said}");
    }
    assert!(!said.contains(&asked.id), "{said}");
}

#[tokio::test]
async fn what_is_no_answer_is_cut_and_the_asker_is_told() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let mut session = Session::welcomed(&mut client).await;
    for (what, bad) in [
        (
            "a line that is too long",
            vec![lines(1, &"x".repeat(2 * LINE_BYTES_MAX))],
        ),
        (
            "a piece that is too large",
            vec![lines(12, &"x".repeat(LINE_BYTES_MAX))],
        ),
        ("too many lines", vec![lines(5000, "")]),
        (
            "more than a message may be",
            vec![lines(300, &"x".repeat(LINE_BYTES_MAX))],
        ),
        ("a second beginning", vec![piece(What::Begins("0".repeat(32)))]),
        ("nothing at all", vec![wire::AnswerPiece { what: None }]),
        (
            "no component",
            vec![piece(What::Lines(wire::LogLines {
                lines: vec![wire::LogLine::default()],
            }))],
        ),
    ] {
        let mut logs = read_logs(&coordinator).await;
        let asked = question(&mut session).await;
        let mut answering = Answering::begin(&mut client, &asked.id).await.unwrap();
        for piece in bad {
            let _cut_already = answering.outbox.send(piece).await;
        }
        let status = next(&mut logs)
            .await
            .err()
            .unwrap_or_else(|| unreachable!("{what}"));
        assert_eq!(status.code(), Code::Aborted, "{what}: {status}");
        assert!(
            status.message().contains("n1 went away before"),
            "{what}: {status}"
        );
        drop(logs);
        let _either_way = answering.end().await;
    }
    assert_eq!(coordinator.running.handle().sessions().len(), 1);
}

/// The stream of one who reads nothing holds up that one's node, and nobody else.
#[tokio::test]
async fn an_operator_who_reads_nothing_costs_a_few_pieces() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let mut session = Session::welcomed(&mut client).await;
    let logs = read_logs(&coordinator).await;
    let asked = question(&mut session).await;
    let mut answering = Answering::begin(&mut client, &asked.id).await.unwrap();
    let mut may_send = PIECES_AHEAD;
    let mut sent = 0;
    let endless = async {
        loop {
            while may_send > 0 {
                answering
                    .outbox
                    .send(lines(8, &"x".repeat(LINE_BYTES_MAX - 64)))
                    .await
                    .unwrap();
                (sent, may_send) = (sent + 1, may_send - 1);
            }
            may_send += answering.taken.message().await.unwrap().unwrap().pieces as usize;
        }
    };
    let never: Result<(), _> = tokio::time::timeout(Duration::from_secs(2), endless).await;
    assert!(never.is_err());
    // Those under way, and what the operator's own connection takes without being read.
    assert!((PIECES_AHEAD..128).contains(&sent), "{sent} pieces");

    // Beside it, in the same connection, everything goes on.
    let mut others = read_logs(&coordinator).await;
    let asked = question(&mut session).await;
    let beside = Answering::begin(&mut client, &asked.id).await.unwrap();
    beside.outbox.send(lines(1, "here")).await.unwrap();
    beside.outbox.send(ends()).await.unwrap();
    assert_eq!(next(&mut others).await.unwrap().unwrap().lines[0].text, "here");
    assert_eq!(coordinator.connection_of("n1"), "Connected");

    // Whoever sends more than was taken is cut off.
    loop {
        if answering.outbox.send(lines(1, "more")).await.is_err() {
            break;
        }
    }
    let status = answering.end().await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    drop(logs);
}

#[tokio::test]
async fn a_node_is_told_that_nobody_reads_any_more() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let mut session = Session::welcomed(&mut client).await;
    let logs = read_logs(&coordinator).await;
    let asked = question(&mut session).await;
    let mut answering = Answering::begin(&mut client, &asked.id).await.unwrap();
    drop(logs);
    let status = answering.end().await.unwrap_err();
    assert_eq!(status.code(), Code::Cancelled);
    assert_eq!(status.message(), "nobody reads the answer any more");
    assert!(coordinator.running.questions().is_empty());
}

#[tokio::test]
async fn a_node_that_goes_away_or_is_not_there_is_named() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let mut session = Session::welcomed(&mut client).await;
    let mut operator = coordinator.operator();
    let mut logs = read_logs(&coordinator).await;
    let asked = question(&mut session).await;
    let answering = Answering::begin(&mut client, &asked.id).await.unwrap();
    answering.outbox.send(lines(1, "last")).await.unwrap();
    assert_eq!(next(&mut logs).await.unwrap().unwrap().lines[0].text, "last");
    drop((answering, session, client));
    let status = next(&mut logs).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert!(
        status
            .message()
            .starts_with("n1 went away before its answer was complete\nhint: ")
    );

    coordinator.until_connection_is("n1", "Silent").await;
    let status = operator.logs(logs_of("n1")).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert!(
        status
            .message()
            .starts_with("n1 is not connected; it was last seen at 2"),
        "{status}"
    );
    let status = operator.logs(logs_of("n9")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.message(), "there is no node n9\nhint: fleetctl nodes");
}

#[tokio::test]
async fn no_more_is_asked_of_a_node_than_it_answers() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let _session = Session::welcomed(&mut client).await;
    let mut operator = coordinator.operator();
    let mut open = Vec::new();
    for _ in 0..QUESTIONS_PER_NODE {
        open.push(operator.logs(logs_of("n1")).await.unwrap());
    }
    let status = operator.logs(logs_of("n1")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        status.message(),
        "n1 is asked 4 things already, which is the limit\n\
         hint: end another `fleetctl logs`, or try again when it is over"
    );
    let mut too_many = logs_of("n1");
    too_many.wanted.as_mut().unwrap().lines = 10_001;
    let status = operator.logs(too_many).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    // A node cannot ask: its certificate is no operator's.
    let asking = wire::operator_client::OperatorClient::new(
        coordinator.member(
            &coordinator
                .enrol(&coordinator.token(1, "1h").await.token, "n2")
                .await
                .unwrap(),
        ),
    );
    let status = { asking }.logs(logs_of("n1")).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn drift_is_told_node_by_node_and_what_is_not_known_is_said() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let _never_connected = coordinator.node("n2").await;
    let mut session = Session::welcomed(&mut client).await;
    let mut operator = coordinator.operator();
    let finding = wire::DriftFinding {
        app: "shop".into(),
        component: "web".into(),
        what: "file-changed".into(),
        subject: "\u{1b}run".into(),
        ..wire::DriftFinding::default()
    };
    for (findings, known) in [(1, true), (101, false)] {
        let query = wire::DriftQuery::default();
        let mut told = operator.drift(query).await.unwrap().into_inner();
        let asked = question(&mut session).await;
        let answering = Answering::begin(&mut client, &asked.id).await.unwrap();
        let drift = wire::Drift {
            findings: vec![finding.clone(); findings],
            more: 7,
            unknown: vec![],
        };
        for part in [piece(What::Drift(drift)), ends()] {
            let _cut_already = answering.outbox.send(part).await;
        }
        let mut nodes = std::collections::BTreeMap::new();
        while let Some(document) = told.message().await.unwrap() {
            let view: serde_json::Value = serde_json::from_str(&document.json).unwrap();
            nodes.insert(view["node"].as_str().unwrap().to_owned(), view);
        }
        let away = nodes["n2"]["unknown"][0].as_str().unwrap();
        assert!(away.starts_with("n2 is not connected"), "{away}");
        let n1 = &nodes["n1"];
        assert_eq!(n1["unknown"].as_array().unwrap().is_empty(), known, "{n1}");
        if known {
            assert_eq!(
                (&n1["more"], &n1["findings"][0]["subject"]),
                (&7.into(), &" run".into())
            );
        }
    }
    for (nodes, environment, says) in [
        (vec!["n9".to_owned()], "", "there is no node n9"),
        (vec![], "nowhere", "nowhere"),
        (vec!["../x".to_owned()], "", "../x"),
    ] {
        let environment = environment.to_owned();
        let query = wire::DriftQuery {
            nodes,
            environment,
            ..wire::DriftQuery::default()
        };
        let status = operator.drift(query).await.unwrap_err();
        assert!(status.message().contains(says), "{status}");
    }
}
