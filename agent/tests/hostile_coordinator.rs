//! Coordinators that must not be trusted, and what they can do to a node: nothing but waste
//! its time. Each refusal is in the agent's log, the app runs on, and the agent answers.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test says where"
)]

mod bench;

#[path = "../../tests/support/log.rs"]
mod log;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fleet_agent::figures::Figures;
use fleet_agent::ledger::APPS_MAX;
use fleet_agent::link::{Link, LinkEvent, Reach, Report};
use fleet_agent::process::proc::ProcessId;
use fleet_proto::fence::Fence;
use fleet_proto::identity::Who;
use fleet_proto::quantity::Span;
use fleet_proto::session::{FromAgent, Order, Phase, Service, ToAgent, Welcome};
use fleet_proto::tls::Credentials;
use fleet_proto::wire;
use fleet_proto::wire::to_agent::Message;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use bench::shelf::{Shelf, runs};
use bench::store::Serving;
use bench::visit::{Visit, command, fence};
use bench::{Bench, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// A node on which v1 is done, in term 3 and rollout 5.
async fn running(extra: &str) -> (Bench, Visit) {
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", b"one")], runs(50));
    shelf.put("v2", 2, &[("a", b"two")], runs(50));
    let mut bench = shelf.bench(extra).await;
    bench.run_agent_and_keep_its_log();
    let mut visit = bench.visit().await;
    visit.welcome().await;
    let release = bench.release("v1");
    visit
        .order_fenced(fence(3, 5, 1), Order::Deploy { release })
        .await;
    visit.until_phase(Phase::Baking).await;
    visit.order_fenced(fence(3, 5, 2), Order::Commit).await;
    visit.until_phase(Phase::Done).await;
    (bench, visit)
}

/// The agent answers at its socket: of which process is the app, and how many apps.
fn app_process(bench: &Bench) -> ProcessId {
    let status = bench.status();
    let shop = status
        .apps
        .iter()
        .find(|app| app.status.app.as_str() == "shop")
        .unwrap();
    ProcessId::of(shop.components[0].pid.unwrap()).unwrap()
}

fn raw(message: Message) -> wire::ToAgent {
    wire::ToAgent {
        message: Some(message),
    }
}

fn wire_command(change: impl Fn(&mut wire::Command)) -> wire::ToAgent {
    let sound = command("shop", fence(3, 6, 1), Order::Commit);
    let mut sent: wire::Command = sound.into();
    change(&mut sent);
    raw(Message::Command(sent))
}

fn deploy(version: &str, digest: &str) -> wire::ToAgent {
    let (version, digest) = (version.to_owned(), digest.to_owned());
    let release = wire::ReleaseRef { version, digest };
    wire_command(|command| command.order = Some(wire::command::Order::Deploy(release.clone())))
}

/// What no coordinator would say, and what the log says of it.
fn nonsense() -> Vec<(&'static str, wire::ToAgent, &'static str)> {
    let migrate = wire::Migrate {
        release: None,
        act: "up".to_owned(),
    };
    let away = wire::GoAway {
        retry_after_ms: 0,
        why: "x".repeat(2 << 20),
    };
    let prefetch = |app: &str| wire::Prefetch {
        app: app.to_owned(),
        release: None,
        environment: String::new(),
    };
    vec![
        (
            "nothing at all",
            wire::ToAgent { message: None },
            "the message has no `message`",
        ),
        (
            "no fence",
            wire_command(|command| command.fence = None),
            "the message has no `fence`",
        ),
        (
            "no order",
            wire_command(|command| command.order = None),
            "the message has no `order`",
        ),
        (
            "no app",
            wire_command(|command| command.app = String::new()),
            "cannot be understood",
        ),
        (
            "a path for an app",
            wire_command(|command| command.app = "../../etc".into()),
            "`../../etc`",
        ),
        (
            "an endless app",
            wire_command(|command| command.app = "a".repeat(100_000)),
            "the limit is 63",
        ),
        (
            "a path for a digest",
            deploy("v2", "../../../etc/passwd"),
            "is not a digest",
        ),
        ("no version", deploy("", &"0".repeat(64)), "cannot be understood"),
        (
            "a path for a version",
            deploy("../v2", &"0".repeat(64)),
            "cannot be understood",
        ),
        (
            "a migration of nothing",
            wire_command(|command| command.order = Some(wire::command::Order::Migrate(migrate.clone()))),
            "the message has no `release`",
        ),
        (
            "a prefetch of nothing",
            raw(Message::Prefetch(prefetch("shop"))),
            "the message has no `release`",
        ),
        (
            "a prefetch for nobody",
            raw(Message::Prefetch(prefetch("\u{1b}[2J"))),
            "cannot be understood",
        ),
        (
            "more than a message may weigh",
            raw(Message::GoAway(away)),
            "too large",
        ),
    ]
}

/// Sent away, it comes back at once: a session that broke makes it wait longer each time.
async fn come_again(bench: &mut Bench) -> Visit {
    let visit = bench.visit().await;
    let away = ToAgent::GoAway {
        retry_after: Span::from_millis(1),
        why: "for the test".to_owned(),
    };
    visit.say(away).await;
    bench.visit().await
}

#[tokio::test]
async fn what_cannot_be_understood_ends_the_session_and_nothing_else() {
    let (mut bench, first) = running("").await;
    let process = app_process(&bench);
    let mut visit = first;
    for (case, message, expected) in nonsense() {
        let logged_before = bench.log().len();
        visit.say_raw(message).await;
        while visit.hear().await.is_some() {}
        until(case, || {
            let log = bench.log();
            let new = &log[logged_before..];
            new.lines()
                .any(|line| line.contains("no session") && line.contains(expected))
        })
        .await;
        assert!(!bench.log().contains('\u{1b}'), "{case}");
        assert_eq!(app_process(&bench), process, "{case}");
        visit = come_again(&mut bench).await;
        visit.welcome().await;
    }
    // Before any greeting.
    drop(visit);
    let visit = bench.visit().await;
    visit.order_fenced(fence(3, 6, 1), Order::Commit).await;
    until("the missing greeting", || {
        bench.log().contains("the coordinator did not greet")
    })
    .await;
    // And it still takes a proper order.
    let mut visit = come_again(&mut bench).await;
    visit.welcome().await;
    let release = bench.release("v2");
    visit
        .order_fenced(fence(3, 7, 1), Order::Deploy { release })
        .await;
    visit.until_phase(Phase::Baking).await;
}

async fn refusal(visit: &mut Visit) -> (Fence, String) {
    loop {
        if let FromAgent::Refusal(refusal) = visit.hear().await.unwrap() {
            return (refusal.refused, refusal.why);
        }
    }
}

#[tokio::test]
async fn stale_and_impossible_orders_are_refused_and_repeated_ones_do_nothing() {
    let (bench, mut visit) = running("").await;
    let process = app_process(&bench);
    let release = bench.release("v2");
    for (stale, expected) in [
        (
            fence(2, 9, 1),
            "it comes from a coordinator that is no longer in charge",
        ),
        (
            fence(0, 0, 0),
            "it comes from a coordinator that is no longer in charge",
        ),
        (fence(3, 4, 9), "a newer order has been accepted"),
        (fence(3, 5, 1), "a newer order has been accepted"),
        (fence(u64::MAX, 6, 1), "no coordinator has come so far"),
        (fence(3, u64::MAX, 1), "no coordinator has come so far"),
        (
            fence(u64::MAX, u64::MAX, u32::MAX),
            "no coordinator has come so far",
        ),
    ] {
        let release = release.clone();
        visit.order_fenced(stale, Order::Deploy { release }).await;
        let (refused, why) = refusal(&mut visit).await;
        assert_eq!((refused, why.as_str()), (stale, expected));
        let logged = format!("order refused app=shop fence={stale}");
        until("the log", || bench.log().contains(&logged)).await;
    }
    // What was answered once is answered again, whatever it says now.
    for _ in 0..3 {
        let release = release.clone();
        visit
            .order_fenced(fence(3, 5, 2), Order::Deploy { release })
            .await;
        let said = visit.until_phase(Phase::Done).await;
        assert_eq!(said.current, Some(bench.release("v1")));
    }
    // A drain with which no undrain could ever catch up.
    for (term, sequence) in [(u64::MAX, 1), (3, u64::MAX)] {
        let drained = true;
        visit
            .say(ToAgent::Service(Service {
                term,
                sequence,
                drained,
            }))
            .await;
    }
    until("both in the log", || {
        bench.log().matches("whether to serve: refused").count() == 2
    })
    .await;
    // A greeting in the middle, and history that there never was, change nothing.
    let term = 0;
    let heartbeat = Span::from_millis(200);
    visit.say(ToAgent::Welcome(Welcome { term, heartbeat })).await;
    let through_sequence = u64::MAX;
    visit.say(ToAgent::HistoryTaken { through_sequence }).await;
    assert_eq!(app_process(&bench), process);
    visit
        .order_fenced(fence(3, 6, 1), Order::Deploy { release })
        .await;
    visit.until_phase(Phase::Baking).await;
}

#[tokio::test]
async fn an_app_that_the_node_does_not_accept_never_gets_there() {
    let (bench, mut visit) = running("apps = [\"shop\"]").await;
    let process = app_process(&bench);
    let asked = bench.releases_asked();
    let release = bench.release("v2");
    let theirs = command(
        "bank",
        fence(3, 6, 1),
        Order::Deploy {
            release: release.clone(),
        },
    );
    visit.say(ToAgent::Command(theirs)).await;
    let (_, why) = refusal(&mut visit).await;
    assert!(why.starts_with("this node does not accept the app"), "{why}");
    // However many of them it is told of, there is room for its own.
    for number in 0..APPS_MAX {
        let release = release.clone();
        let fence = fence(3, 6, 1);
        let theirs = command(&format!("app{number}"), fence, Order::Deploy { release });
        visit.say(ToAgent::Command(theirs)).await;
    }
    let prefetch = ToAgent::Prefetch {
        app: "bank".parse().unwrap(),
        release,
        environment: None,
    };
    visit.say(prefetch).await;
    until("the log", || {
        bench
            .log()
            .contains("not fetched ahead: this node does not accept the app")
    })
    .await;
    assert_eq!(bench.releases_asked(), asked);
    assert_eq!(bench.log().matches("order refused").count(), APPS_MAX + 1);
    assert_eq!(bench.node.layout.apps_on_disk(), ["shop".parse().unwrap()]);
    let ledger = std::fs::read_to_string(bench.node.layout.ledger()).unwrap();
    assert!(!ledger.contains("bank") && !ledger.contains("app0"), "{ledger}");
    assert!(
        !bench
            .node
            .layout
            .app(&"bank".parse().unwrap())
            .join("slots")
            .exists()
    );
    assert_eq!(app_process(&bench), process);
}

/// Orders as fast as they go: the app that runs is not touched by what is refused, and the
/// agent answers meanwhile.
#[tokio::test]
async fn a_flood_of_orders_does_not_drown_the_agent() {
    let (bench, mut visit) = running("").await;
    let process = app_process(&bench);
    for generation in 0..2000 {
        let stale = command("shop", fence(2, 1, generation), Order::Commit);
        visit.say(ToAgent::Command(stale)).await;
        if generation % 500 == 0 {
            assert_eq!(app_process(&bench), process);
        }
    }
    visit.order_fenced(fence(3, 5, 2), Order::Commit).await;
    visit.until_phase(Phase::Done).await;
    assert_eq!(app_process(&bench), process);
    let log = bench.log();
    assert_eq!(log.matches("order refused").count(), 2000);
}

/// Why no session opens with a coordinator that has these credentials.
async fn why_not(bench: &mut Bench, credentials: &Credentials) -> String {
    let log = log::Log::begin();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (store, mut visitors) = bench.store.twin();
    let serving = Serving::begin(store, credentials, anywhere).await;
    let (_report, reported) = watch::channel(Report::default());
    let (_no_refusals, refusals) = mpsc::channel(1);
    let (told, mut events) = mpsc::channel(64);
    let link = Link {
        reach: Reach::new(&[format!("https://{}", serving.address)], &bench.client).unwrap(),
        report: reported,
        refusals,
        events: told,
        shut_out: watch::channel(()).0,
        state: "/".into(),
        figures: Figures::default(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(link.run());
    let event = tokio::time::timeout(PATIENCE, events.recv()).await;
    let LinkEvent::Down { why } = event.expect("nothing happens").unwrap() else {
        panic!("a session opened");
    };
    // It was not told anything, not even a greeting.
    assert!(visitors.try_recv().is_err());
    assert!(log.take().contains("no session"));
    why
}

#[tokio::test]
async fn only_a_coordinator_of_this_fleet_is_talked_to() {
    let mut bench = Shelf::new().bench("").await;
    let other = Shelf::new().bench("").await;
    let coordinator = || Who::Coordinator("c1".parse().unwrap());
    let node = bench.issue(&Who::Node("n01".parse().unwrap()));
    let operator = bench.issue(&Who::Operator("admin".parse().unwrap()));
    let foreign_domain = bench.issue_in("other.test", &coordinator());
    let foreign_authority = other.issue(&coordinator());
    // Said before anybody asks for a name: theirs are for callers.
    let purpose = "certificate does not allow extended key usage for server authentication";
    for (case, credentials, expected) in [
        ("a node's certificate", node, purpose),
        ("an operator's certificate", operator, purpose),
        (
            "another trust domain",
            foreign_domain,
            "expected a coordinator of fleet.test, found one of other.test",
        ),
        (
            "another authority",
            foreign_authority,
            "invalid peer certificate: BadSignature",
        ),
    ] {
        let why = why_not(&mut bench, &credentials).await;
        assert!(why.contains(expected), "{case}: {why}");
    }
}
