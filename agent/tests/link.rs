//! From one coordinator to the next and back, over mutual TLS.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test says where"
)]

mod bench;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use fleet_agent::figures::Figures;
use fleet_agent::ledger::APPS_MAX;
use fleet_agent::link::{Link, LinkEvent, Reach, Report, Said};
use fleet_proto::fence::Fence;
use fleet_proto::ids::RolloutNumber;
use fleet_proto::quantity::Span;
use fleet_proto::session::{
    AppStatus, Failure, FailureClass, FromAgent, Health, Phase, ServiceStatus, StepStatus, ToAgent,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use bench::Bench;
use bench::shelf::Shelf;
use bench::store::{Serving, Store};
use bench::visit::Visit;

const PATIENCE: Duration = Duration::from_secs(30);

/// One of two coordinators, which may be there or not.
struct Coordinator {
    store: Store,
    visitors: mpsc::Receiver<Visit>,
    address: SocketAddr,
    serving: Option<Serving>,
}

impl Coordinator {
    async fn new(bench: &Bench) -> Self {
        let (store, visitors) = bench.store.twin();
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let serving = Serving::begin(store.clone(), &bench.coordinator, anywhere).await;
        Self {
            store,
            visitors,
            address: serving.address,
            serving: Some(serving),
        }
    }

    async fn rise(&mut self, bench: &Bench) {
        let serving = Serving::begin(self.store.clone(), &bench.coordinator, self.address).await;
        self.serving = Some(serving);
    }

    fn die(&mut self) {
        self.serving = None;
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    async fn visitor(&mut self) -> Visit {
        let visit = tokio::time::timeout(PATIENCE, self.visitors.recv()).await;
        visit.expect("the agent did not come").unwrap()
    }
}

/// The agent's end, with what it tells the daemon.
struct Agent {
    events: mpsc::Receiver<LinkEvent>,
    _report: watch::Sender<Report>,
    _link: JoinSet<()>,
}

impl Agent {
    fn start(bench: &Bench, coordinators: &[&Coordinator]) -> Self {
        Self::start_with(bench, coordinators, Report::default())
    }

    fn start_with(bench: &Bench, coordinators: &[&Coordinator], report: Report) -> Self {
        let addresses: Vec<String> = coordinators.iter().map(|c| c.url()).collect();
        let (report, reported) = watch::channel(report);
        let (_no_refusals, refusals) = mpsc::channel(1);
        let (told, events) = mpsc::channel(64);
        let link = Link {
            reach: Reach::new(&addresses, &bench.client).unwrap(),
            report: reported,
            refusals,
            events: told,
            shut_out: watch::channel(()).0,
            state: "/".into(),
            figures: Figures::default(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(link.run());
        Self {
            events,
            _report: report,
            _link: tasks,
        }
    }

    /// Until a session is open: with whom.
    async fn up(&mut self) -> String {
        loop {
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
            if let LinkEvent::Up { address } = event.expect("no session opens").unwrap() {
                return address;
            }
        }
    }

    async fn down(&mut self) -> String {
        loop {
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
            if let LinkEvent::Down { why } = event.expect("the session goes on").unwrap() {
                return why;
            }
        }
    }
}

#[tokio::test]
async fn the_next_coordinator_is_tried_and_the_first_again() {
    let bench = Shelf::new().bench("").await;
    let mut first = Coordinator::new(&bench).await;
    let mut second = Coordinator::new(&bench).await;
    first.die();
    let mut agent = Agent::start(&bench, &[&first, &second]);
    let visit = second.visitor().await;
    visit.welcome().await;
    assert_eq!(agent.up().await, second.url());

    first.rise(&bench).await;
    second.die();
    agent.down().await;
    let visit = first.visitor().await;
    visit.welcome().await;
    assert_eq!(agent.up().await, first.url());
    // And on: neither of them is given up for good.
    second.rise(&bench).await;
    first.die();
    let visit = second.visitor().await;
    visit.welcome().await;
    assert_eq!(agent.up().await, second.url());
}

#[tokio::test]
async fn who_is_sent_away_waits_and_goes_to_the_next() {
    let bench = Shelf::new().bench("").await;
    let mut first = Coordinator::new(&bench).await;
    let mut second = Coordinator::new(&bench).await;
    let mut agent = Agent::start(&bench, &[&first, &second]);
    let mut visit = first.visitor().await;
    visit.welcome().await;
    assert_eq!(agent.up().await, first.url());
    let away = |millis: u64| ToAgent::GoAway {
        retry_after: Span::from_millis(millis),
        why: "it is being updated".to_owned(),
    };
    let began = Instant::now();
    visit.say(away(500)).await;
    assert_eq!(agent.down().await, "it is being updated");
    // Its end of the session closes, too: a coordinator that stops waits for that.
    while visit.hear().await.is_some() {}
    let visit = second.visitor().await;
    assert!(
        began.elapsed() >= Duration::from_millis(400),
        "{:?}",
        began.elapsed()
    );
    // Instead of a welcome.
    visit.say(away(10)).await;
    let visit = first.visitor().await;
    visit.welcome().await;
    assert_eq!(agent.up().await, first.url());
}

/// Many apps that have failed, with logs full of letters that take three bytes.
fn much_to_say() -> Report {
    let status = |number: usize| AppStatus {
        app: format!("app{number}").parse().unwrap(),
        fence_seen: Fence::ZERO,
        current: None,
        last_good: None,
        health: Health::Empty,
        step: Some(StepStatus {
            rollout: RolloutNumber(1),
            generation: 1,
            release: None,
            phase: Phase::Failed,
            failure: Some(Failure {
                class: FailureClass::Release,
                check: None,
                message: "failed".to_owned(),
                figure: None,
                limit: None,
                log_tail: vec!["\u{2588}".repeat(400); 20],
            }),
            failed: None,
            migration: None,
        }),
    };
    let apps = (0..APPS_MAX).map(status).map(|status| {
        let said = Said { status, again: 0 };
        (said.status.app.clone(), said)
    });
    Report {
        apps: apps.collect(),
        history: vec![],
        service: ServiceStatus::default(),
    }
}

#[tokio::test]
async fn a_node_with_much_to_say_is_not_too_much_to_be_heard() {
    let bench = Shelf::new().bench("").await;
    let mut coordinator = Coordinator::new(&bench).await;
    let report = much_to_say();
    let _agent = Agent::start_with(&bench, &[&coordinator], report.clone());
    let mut visit = coordinator.visitor().await;
    assert_eq!(visit.hello.apps.len(), APPS_MAX);
    visit.welcome().await;
    let mut heard: BTreeMap<_, _> = visit
        .hello
        .apps
        .drain(..)
        .map(|status| (status.app.clone(), status))
        .collect();
    let wanted: BTreeMap<_, _> = report
        .apps
        .into_iter()
        .map(|(app, said)| (app, said.status))
        .collect();
    while heard != wanted {
        if let FromAgent::Status(status) = visit.hear().await.unwrap() {
            heard.insert(status.app.clone(), *status);
        }
    }
}
