//! Events as they happen, and what a listener that was away is told.

use std::time::Duration;

use fleet_coordinator::rollout::input::{Author, Request};
use fleet_proto::ids::OperatorName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ask::Ask;
use crate::coordinator::Coordinator;

struct Listener {
    stream: TcpStream,
    heard: String,
}

impl Listener {
    async fn begin(coordinator: &Coordinator, query: &str, last: Option<u64>) -> Self {
        let mut stream = TcpStream::connect(coordinator.running.http).await.unwrap();
        let mut ask = Ask::of("GET", &format!("/api/v1/stream{query}"));
        if let Some(last) = last {
            ask = ask.with("last-event-id", &last.to_string());
        }
        stream.write_all(ask.text().as_bytes()).await.unwrap();
        Self {
            stream,
            heard: String::new(),
        }
    }

    async fn hears(&mut self, what: &str) {
        let listening = async {
            let mut buffer = [0; 65536];
            while !self.heard.contains(what) {
                let read = self.stream.read(&mut buffer).await.unwrap();
                assert_ne!(read, 0, "it ended: {}", self.heard);
                self.heard.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
        };
        let heard = tokio::time::timeout(Duration::from_secs(30), listening).await;
        assert!(heard.is_ok(), "never heard {what}");
    }

    fn positions(&self) -> Vec<u64> {
        let lines = self.heard.lines();
        lines
            .filter_map(|line| line.strip_prefix("id: "))
            .filter_map(|id| id.parse().ok())
            .collect()
    }
}

/// Somebody makes a token: one event.
async fn happen(coordinator: &Coordinator, times: usize) {
    for _ in 0..times {
        coordinator.token(1, "1h").await;
    }
}

fn end(coordinator: &Coordinator) -> u64 {
    *coordinator.running.handle().changes().borrow()
}

#[tokio::test]
async fn whoever_listens_hears_each_event_once_and_in_order() {
    let coordinator = Coordinator::start().await;
    let begin = end(&coordinator);
    let mut one = Listener::begin(&coordinator, "", None).await;
    let mut of_nobody = Listener::begin(&coordinator, "?node=n9", None).await;
    one.hears("retry: ").await;
    of_nobody.hears("retry: ").await;
    happen(&coordinator, 20).await;
    let last = end(&coordinator);
    one.hears(&format!("id: {last}\n")).await;
    assert_eq!(one.positions(), ((begin + 1)..=last).collect::<Vec<_>>());
    assert!(of_nobody.positions().is_empty());
}

#[tokio::test]
async fn whoever_was_away_hears_what_was_missed() {
    let coordinator = Coordinator::start().await;
    let begin = end(&coordinator);
    happen(&coordinator, 30).await;
    let mut back = Listener::begin(&coordinator, "", Some(begin + 10)).await;
    let last = end(&coordinator);
    back.hears(&format!("id: {last}\n")).await;
    assert_eq!(back.positions(), ((begin + 11)..=last).collect::<Vec<_>>());
    happen(&coordinator, 3).await;
    let later = end(&coordinator);
    back.hears(&format!("id: {later}\n")).await;
    assert_eq!(back.positions(), ((begin + 11)..=later).collect::<Vec<_>>());
}

#[tokio::test]
async fn whoever_missed_too_much_is_told_so() {
    let coordinator = Coordinator::start().await;
    let begin = end(&coordinator);
    let admin: OperatorName = "admin".parse().unwrap();
    let handle = coordinator.running.handle();
    let mut asking = tokio::task::JoinSet::new();
    for i in 0..10_050 {
        let (handle, by) = (handle.clone(), Author::Operator(admin.clone()));
        let request = Request::Halt {
            environment: None,
            reason: Some(format!("{i}")),
        };
        let unhalt = Request::Unhalt { environment: None };
        let request = if i % 2 == 0 { request } else { unhalt };
        asking.spawn(async move { handle.submit(by, request).await });
    }
    while let Some(asked) = asking.join_next().await {
        // In whichever order they come, some say what was so already.
        let _ = asked.unwrap();
    }
    while end(&coordinator) < begin + 10_050 {
        let request = |halts: bool| match halts {
            true => Request::Halt {
                environment: None,
                reason: None,
            },
            false => Request::Unhalt { environment: None },
        };
        for halts in [true, false] {
            let _ = handle
                .submit(Author::Operator(admin.clone()), request(halts))
                .await;
        }
    }
    let mut back = Listener::begin(&coordinator, "", Some(begin)).await;
    back.hears("event: missed").await;
    let last = end(&coordinator);
    back.hears(&format!("\"to\":{last}}}")).await;
}

#[tokio::test]
async fn a_place_that_is_none_is_refused() {
    let coordinator = Coordinator::start().await;
    let ask = Ask::of("GET", "/api/v1/stream").with("last-event-id", "soon");
    assert_eq!(ask.send(&coordinator).await.status, 400);
}
