//! There and back.

use super::*;
use crate::migration::{MigrationAct, MigrationStand};
use crate::quantity::Bytes;
use crate::session::{
    AppStatus, Command, Facts, Failure, FailureClass, FromAgent, Health, Hello, HistoryCause, HistoryEntry,
    Order, Phase, Refusal, Service, ServiceStatus, StepStatus, ToAgent,
};
use crate::time::Timestamp;

fn release() -> ReleaseRef {
    ReleaseRef {
        version: "v1.0.0".parse().unwrap(),
        digest: Digest::of(b"m"),
    }
}

fn fence() -> Fence {
    Fence {
        term: 3,
        rollout: RolloutNumber(42),
        generation: 2,
    }
}

fn status() -> AppStatus {
    AppStatus {
        app: "shop".parse().unwrap(),
        fence_seen: fence(),
        current: Some(release()),
        last_good: None,
        health: Health::Unhealthy { why: "503".into() },
        step: Some(StepStatus {
            rollout: RolloutNumber(42),
            generation: 2,
            release: Some(release()),
            phase: Phase::RollingBack,
            failure: Some(Failure {
                class: FailureClass::Release,
                check: Some("web/health".into()),
                message: "it answered 503".into(),
                figure: Some("503".into()),
                limit: None,
                log_tail: vec!["bye".into()],
            }),
            failed: Some(release()),
            migration: Some(MigrationStand::Unknown),
        }),
    }
}

fn drained() -> ServiceStatus {
    ServiceStatus {
        sequence: 4,
        drained: true,
    }
}

#[test]
fn what_an_agent_says_survives_the_wire() {
    let hello = Hello {
        protocol: crate::PROTOCOL,
        agent_version: "0.1.0".into(),
        facts: Facts {
            platform: "linux/amd64".parse().unwrap(),
            hostname: "h".into(),
            kernel: "6".into(),
            cpus: 2,
            memory: Bytes(1),
            disk: Bytes(10 << 30),
            disk_free: Bytes(2),
            booted_at: Timestamp(3),
        },
        apps: vec![status()],
        service: Some(drained()),
    };
    let entry = HistoryEntry {
        sequence: 9,
        at: Timestamp(1),
        app: "shop".parse().unwrap(),
        from: Some(release()),
        to: None,
        cause: HistoryCause::ByHand,
        message: "put back by root".into(),
    };
    let refusal = Refusal {
        app: "shop".parse().unwrap(),
        refused: fence(),
        seen: fence(),
        why: "stale".into(),
    };
    for message in [
        FromAgent::Hello(hello),
        FromAgent::Status(Box::new(status())),
        FromAgent::History(entry),
        FromAgent::Refusal(refusal),
        FromAgent::Service(drained()),
    ] {
        let back = FromAgent::try_from(wire::FromAgent::from(message.clone())).unwrap();
        assert_eq!(back, message);
    }
}

#[test]
fn what_a_coordinator_says_survives_the_wire() {
    let orders = [
        Order::Deploy { release: release() },
        Order::Migrate {
            release: release(),
            act: MigrationAct::Status,
        },
        Order::Commit,
        Order::Revert {
            leave: Some(release()),
            to: None,
            why: "wave 1 failed".into(),
        },
    ];
    let service = ToAgent::Service(Service {
        term: 3,
        sequence: 4,
        drained: true,
    });
    let back = ToAgent::try_from(wire::ToAgent::from(service.clone())).unwrap();
    assert_eq!(back, service);
    for order in orders {
        let message = ToAgent::Command(Command {
            fence: fence(),
            app: "shop".parse().unwrap(),
            environment: Some("staging".parse().unwrap()),
            order,
        });
        let back = ToAgent::try_from(wire::ToAgent::from(message.clone())).unwrap();
        assert_eq!(back, message);
    }
}

#[test]
fn half_a_message_is_refused() {
    assert!(FromAgent::try_from(wire::FromAgent { message: None }).is_err());
    let mut command = wire::Command::from(Command {
        fence: fence(),
        app: "shop".parse().unwrap(),
        environment: None,
        order: Order::Commit,
    });
    assert_eq!(Command::try_from(command.clone()).unwrap().environment, None);
    command.fence = None;
    assert!(Command::try_from(command).is_err());
}

#[test]
fn what_a_node_says_cannot_move_a_terminal() {
    assert_eq!(cut("a\u{1b}[2Jb\nc".into()), "a [2Jb c");
}

#[test]
fn long_text_is_cut_at_a_letter() {
    let cut = cut("ä".repeat(TEXT_BYTES_MAX));
    assert!(cut.len() <= TEXT_BYTES_MAX && cut.chars().all(|c| c == 'ä'));
}
