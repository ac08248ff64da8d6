//! The agent itself, as a process, and a coordinator that says what the test wants.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test says where"
)]

mod bench;

use std::time::Duration;

use fleet_agent::process::proc::ProcessId;
use fleet_agent::status::ComponentView;
use fleet_proto::quantity::Span;
use fleet_proto::release::{Manifest, Run};
use fleet_proto::session::{FromAgent, Order, Phase, ToAgent};

use bench::shelf::{Shelf, runs};
use bench::visit::{command, fence};
use bench::{Bench, until};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};

fn prefetch(bench: &Bench, app: &str, version: &str) -> ToAgent {
    ToAgent::Prefetch {
        app: app.parse().unwrap(),
        release: bench.release(version),
        environment: None,
    }
}

#[tokio::test]
async fn a_prefetch_does_not_begin_a_verification_anew() {
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", b"one")], runs(1000));
    shelf.put("v2", 2, &[("a", b"two")], runs(1000));
    shelf.put("v3", 3, &[("a", b"three")], runs(1000));
    let mut bench = shelf.bench("").await;
    bench.run_agent();
    let mut visit = bench.visit().await;
    visit.welcome().await;
    let release = bench.release("v1");
    visit.order(1, Order::Deploy { release }).await;
    visit.until_phase(Phase::Verifying).await;
    let mut ahead = ["v2", "v3"].into_iter().cycle();
    let began = std::time::Instant::now();
    loop {
        visit.say(prefetch(&bench, "shop", ahead.next().unwrap())).await;
        let verified = visit.until_phase(Phase::Baking);
        if tokio::time::timeout(Duration::from_millis(300), verified)
            .await
            .is_ok()
        {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "it is never verified while something is fetched ahead"
        );
    }
    assert!(began.elapsed() >= Duration::from_millis(900));
}

#[tokio::test]
async fn what_was_fetched_ahead_for_an_app_that_is_new_here_is_not_fetched_again() {
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", b"one")], runs(100));
    let mut bench = shelf.bench("").await;
    bench.run_agent();
    let mut visit = bench.visit().await;
    visit.welcome().await;
    visit.say(prefetch(&bench, "shop", "v1")).await;
    until("the release", || bench.is_whole("v1")).await;
    assert!(!bench.asked().is_empty());
    let release = bench.release("v1");
    visit.order(1, Order::Deploy { release }).await;
    visit.until_phase(Phase::Baking).await;
    assert!(bench.asked().is_empty());
}

#[tokio::test]
async fn no_more_is_fetched_ahead_than_a_node_may_have() {
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", b"one")], runs(100));
    let mut bench = shelf.bench("").await;
    bench.run_agent();
    let mut visit = bench.visit().await;
    visit.welcome().await;
    for number in 0..fleet_agent::ledger::APPS_MAX + 10 {
        visit.say(prefetch(&bench, &format!("app{number}"), "v1")).await;
    }
    // Behind all of them: the agent has taken note of each when it answers this.
    visit.order(1, Order::Commit).await;
    visit.until_phase(Phase::Failed).await;
    until("the last of them", || {
        bench.releases_asked() >= fleet_agent::ledger::APPS_MAX
    })
    .await;
    assert_eq!(bench.releases_asked(), fleet_agent::ledger::APPS_MAX);
}

/// Deploys the release and says that its bake is over.
#[tokio::test]
async fn who_rolls_back_by_hand_is_known_by_the_kernels_word() {
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", b"one")], runs(50));
    shelf.put("v2", 2, &[("a", b"two")], runs(50));
    let mut bench = shelf.bench("").await;
    bench.run_agent();
    let mut visit = bench.visit().await;
    visit.welcome().await;
    visit.bring(bench.release("v1"), 1).await;
    visit.bring(bench.release("v2"), 3).await;
    let mut command = bench.command();
    command.arg("rollback").env("USER", "mallory");
    let ended = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap();
    assert!(ended.unwrap().status.success());
    let said = loop {
        if let FromAgent::History(entry) = visit.hear().await.unwrap() {
            break entry.message;
        }
    };
    let me = User::from_uid(Uid::current()).unwrap().unwrap().name;
    let expected = format!("put back by hand on the node, by {me}");
    assert!(said.starts_with(&expected) && !said.contains("mallory"), "{said}");
}

/// What `fleet-agent status` says of the only component.
fn component(bench: &Bench) -> ComponentView {
    let status = bench.status();
    status.apps[0].components[0].clone()
}

#[tokio::test]
async fn an_app_whose_keeper_is_killed_is_taken_in_hand_again() {
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", b"one")], runs(50));
    let mut bench = shelf.bench("").await;
    bench.run_agent();
    let mut visit = bench.visit().await;
    visit.welcome().await;
    visit.bring(bench.release("v1"), 1).await;
    let before = component(&bench);
    let process = |pid: Option<i32>| ProcessId::of(pid.unwrap()).unwrap();
    let (app, keeper) = (process(before.pid), process(before.keeper_pid));
    keeper.signal(Signal::SIGKILL);
    until("another keeper", || {
        let now = component(&bench);
        now.pid.is_some() && now.keeper_pid != before.keeper_pid
    })
    .await;
    assert!(!app.is_alive(), "the app runs twice");
}

#[tokio::test]
async fn apps_that_do_not_want_to_stop_are_stopped_at_once_and_not_one_by_one() {
    const GRACE: Duration = Duration::from_secs(3);
    let mut shelf = Shelf::new();
    let stubborn = |app: &'static str| {
        move |manifest: &mut Manifest| {
            runs(50)(manifest);
            manifest.app = app.parse().unwrap();
            let Run::Supervise(run) = &mut manifest.components[0].run else {
                unreachable!()
            };
            run.command[2] = "trap '' TERM; while :; do sleep 0.1; done".to_owned();
            run.grace = Span::from_millis(u64::try_from(GRACE.as_millis()).unwrap());
        }
    };
    shelf.put("v1", 1, &[("a", b"one")], stubborn("shop"));
    shelf.put("v2", 1, &[("a", b"one")], stubborn("bank"));
    shelf.put("v3", 1, &[("a", b"one")], stubborn("post"));
    let mut bench = shelf.bench("").await;
    bench.run_agent();
    let mut visit = bench.visit().await;
    visit.welcome().await;
    for (app, version) in [("shop", "v1"), ("bank", "v2"), ("post", "v3")] {
        let release = bench.release(version);
        let deploy = command(app, fence(1, 1, 1), Order::Deploy { release });
        visit.say(ToAgent::Command(deploy)).await;
        visit.until_phase(Phase::Baking).await;
    }
    let began = std::time::Instant::now();
    let mut command = bench.command();
    let stopped = tokio::task::spawn_blocking(move || command.arg("stop").output()).await;
    assert!(stopped.unwrap().unwrap().status.success());
    assert!(began.elapsed() >= GRACE);
    assert!(began.elapsed() < GRACE * 2, "{:?}", began.elapsed());
}
