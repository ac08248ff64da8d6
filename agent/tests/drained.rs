//! A node that is drained: nothing runs there, over everything that may happen meanwhile.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test says where"
)]

mod bench;

use fleet_agent::process::proc::ProcessId;
use fleet_proto::session::{AppStatus, FromAgent, Health, Order, Phase, Service, ServiceStatus, ToAgent};
use fleet_proto::view::DrainView;

use bench::Bench;
use bench::shelf::{Shelf, runs};
use bench::visit::Visit;

/// A node on v2 that ran v1 before.
async fn on_v2() -> (Bench, Visit) {
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", b"one")], runs(50));
    shelf.put("v2", 2, &[("a", b"two")], runs(50));
    let mut bench = shelf.bench("").await;
    bench.run_agent();
    let mut visit = bench.visit().await;
    visit.welcome().await;
    visit.bring(bench.release("v1"), 1).await;
    visit.bring(bench.release("v2"), 3).await;
    (bench, visit)
}

async fn tell(visit: &mut Visit, sequence: u64, drained: bool) {
    let service = Service {
        term: 1,
        sequence,
        drained,
    };
    visit.say(ToAgent::Service(service)).await;
    let wanted = ServiceStatus { sequence, drained };
    loop {
        if visit.hear().await.expect("the session is over") == FromAgent::Service(wanted) {
            return;
        }
    }
}

async fn until(visit: &mut Visit, holds: impl Fn(&AppStatus) -> bool) -> AppStatus {
    loop {
        if let FromAgent::Status(status) = visit.hear().await.expect("the session is over")
            && holds(&status)
        {
            return *status;
        }
    }
}

fn pid(bench: &Bench) -> Option<i32> {
    bench.status().apps[0].components[0].pid
}

fn is_stopped(health: &Health) -> bool {
    matches!(health, Health::Unhealthy { why } if why == "stopped: the node is drained")
}

#[tokio::test]
async fn what_was_drained_stays_so_when_the_agent_is_killed() {
    let (mut bench, mut visit) = on_v2().await;
    let process = ProcessId::of(pid(&bench).unwrap()).unwrap();
    tell(&mut visit, 1, true).await;
    assert!(!process.is_alive());
    let now = bench.status();
    assert_eq!(now.drained, Some(DrainView::Drained));
    assert!(is_stopped(&now.apps[0].status.health));
    assert_eq!(now.apps[0].status.current, Some(bench.release("v2")));

    bench.kill_agent();
    assert_eq!(bench.status().drained, Some(DrainView::Drained));
    bench.run_agent();
    let mut visit = bench.visit().await;
    assert_eq!(visit.hello.service.unwrap().sequence, 1);
    visit.welcome().await;
    // An older word does not start anything, and this one is answered when all is stopped.
    let older = Service::default();
    visit.say(ToAgent::Service(older)).await;
    tell(&mut visit, 2, true).await;
    assert_eq!(pid(&bench), None);

    tell(&mut visit, 3, false).await;
    until(&mut visit, |status| status.health == Health::Healthy).await;
    assert_eq!(bench.status().drained, None);
    assert!(pid(&bench).is_some());
    assert_eq!(bench.status().apps[0].status.current, Some(bench.release("v2")));
}

#[tokio::test]
async fn what_is_put_back_meanwhile_runs_when_the_node_serves_again() {
    let (bench, mut visit) = on_v2().await;
    tell(&mut visit, 1, true).await;
    let revert = Order::Revert {
        leave: Some(bench.release("v2")),
        to: None,
        why: "it failed elsewhere".to_owned(),
    };
    visit.order(5, revert).await;
    let back = visit.until_phase(Phase::RolledBack).await;
    assert_eq!(back.current, Some(bench.release("v1")));
    assert!(is_stopped(&back.health));
    assert_eq!(pid(&bench), None);
    tell(&mut visit, 2, false).await;
    let healthy = until(&mut visit, |status| status.health == Health::Healthy).await;
    assert_eq!(healthy.current, Some(bench.release("v1")));
    assert!(pid(&bench).is_some());
}

#[tokio::test]
async fn a_rollback_by_hand_starts_nothing() {
    let (mut bench, mut visit) = on_v2().await;
    tell(&mut visit, 1, true).await;
    let roll_back = |bench: &Bench, to: &str| {
        let mut command = bench.command();
        command.args(["rollback", "--to", to]);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let ended = roll_back(&bench, "v1").await.unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success() && said.contains("the node is drained"),
        "{said}"
    );
    assert_eq!(pid(&bench), None);
    // v2 was left, and comes anew before the agent goes.
    tell(&mut visit, 2, false).await;
    visit.bring(bench.release("v2"), 5).await;
    tell(&mut visit, 3, true).await;
    bench.kill_agent();
    let ended = roll_back(&bench, "v1").await.unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success() && said.contains("the node is drained"),
        "{said}"
    );
    assert_eq!(pid(&bench), None);
    assert_eq!(bench.status().apps[0].status.current, Some(bench.release("v1")));
}

#[tokio::test]
async fn a_word_that_is_taken_back_at_once_leaves_the_node_as_it_was() {
    let (bench, mut visit) = on_v2().await;
    for sequence in 1..=6 {
        let service = Service {
            term: 1,
            sequence,
            drained: sequence % 2 == 1,
        };
        visit.say(ToAgent::Service(service)).await;
    }
    tell(&mut visit, 7, true).await;
    tell(&mut visit, 8, false).await;
    let healthy = until(&mut visit, |status| status.health == Health::Healthy).await;
    assert_eq!(healthy.current, Some(bench.release("v2")));
    assert!(pid(&bench).is_some());
    for sequence in [9, 10] {
        let service = Service {
            term: 1,
            sequence,
            drained: sequence == 9,
        };
        visit.say(ToAgent::Service(service)).await;
    }
    // Whatever was said of it before, it is well in the end.
    bench::until("its health", || {
        bench.status().apps[0].status.health == Health::Healthy
    })
    .await;
}
