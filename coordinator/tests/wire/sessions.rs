//! What a session lives through, and what ends it.

use std::time::{Duration, Instant};

use fleet_proto::authority::KeyAndRequest;
use fleet_proto::wire;
use tonic::Code;

use crate::coordinator::{Coordinator, Session, hello_of};

#[tokio::test]
async fn a_stream_is_the_nodes_presence() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let session = Session::welcomed(&mut client).await;
    coordinator.until_connection_is("n1", "Connected").await;
    drop(session);
    coordinator.until_connection_is("n1", "Silent").await;
}

#[tokio::test]
async fn a_newer_stream_takes_the_place_of_an_older_which_is_told() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let mut older = Session::welcomed(&mut client).await;
    let _newer = Session::welcomed(&mut client).await;
    let told = older.inbox.message().await.unwrap_err();
    assert_eq!(told.code(), Code::Aborted);
    assert!(told.message().contains("node n1 has connected again"), "{told}");
    assert_eq!(coordinator.running.handle().sessions().len(), 1);
    coordinator.until_connection_is("n1", "Connected").await;
}

#[tokio::test]
async fn another_protocol_is_refused_and_both_versions_are_named() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let status = Session::open(&mut client, hello_of(9, 0)).await.err().unwrap();
    assert_eq!(status.code(), Code::FailedPrecondition);
    for part in [
        "version 0.9.0",
        "protocol 9.0 does not fit protocol 1.0",
        "hint: ",
    ] {
        assert!(status.message().contains(part), "{status}");
    }
    let heartbeat = wire::from_agent::Message::Heartbeat(wire::Heartbeat::default());
    let first = wire::FromAgent {
        message: Some(heartbeat),
    };
    let status = Session::open(&mut client, first).await.err().unwrap();
    assert_eq!(status.message(), "a session begins with a hello");
}

#[tokio::test]
async fn a_revocation_cuts_the_stream_within_a_second_and_for_good() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let mut session = Session::welcomed(&mut client).await;
    let query = wire::NodeQuery {
        node: "n1".into(),
        reason: "stolen".into(),
    };
    let begun = Instant::now();
    coordinator.operator().revoke_node(query).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(1), session.inbox.message());
    let status = ended.await.unwrap().unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("node/n1 was revoked"), "{status}");

    // The connection too is cut, and a new one says the same.
    let again = async {
        loop {
            let status = Session::open(&mut client, hello_of(1, 0)).await.err().unwrap();
            if status.code() == Code::PermissionDenied {
                return status;
            }
        }
    };
    let status = tokio::time::timeout(Duration::from_secs(5), again).await.unwrap();
    assert!(status.message().contains("node/n1 was revoked"), "{status}");
    let status = client.renew(wire::RenewRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_certificate_is_renewed_beside_the_stream() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let mut session = Session::welcomed(&mut client).await;
    let made = KeyAndRequest::generate().unwrap();
    let request = wire::RenewRequest {
        certificate_request: made.request_der,
    };
    let renewed = client.renew(request).await.unwrap().into_inner();
    let renewed = fleet_proto::tls::Credentials::from_pem(
        &renewed.certificate_chain,
        &made.key_pem,
        &renewed.authority,
    )
    .unwrap();
    assert_eq!(
        renewed.peer().unwrap().identity.to_string(),
        "spiffe://fleet.test/node/n1"
    );
    // The stream goes on: it is a later end that ends it.
    let heartbeat = wire::from_agent::Message::Heartbeat(wire::Heartbeat::default());
    session
        .outbox
        .send(wire::FromAgent {
            message: Some(heartbeat),
        })
        .await
        .unwrap();
    assert_eq!(coordinator.running.handle().sessions().len(), 1);
    drop(session.outbox);
    assert!(matches!(session.inbox.message().await, Ok(None)));
}

#[tokio::test]
async fn a_stop_says_goodbye_and_a_restart_knows_everybody() {
    let coordinator = Coordinator::start().await;
    let mut client = coordinator.node("n1").await;
    let mut session = Session::welcomed(&mut client).await;
    let coordinator = coordinator.restart().await;
    let last = session.inbox.message().await.unwrap().unwrap().message;
    assert!(
        matches!(last, Some(wire::to_agent::Message::GoAway(_))),
        "{last:?}"
    );
    let nodes = coordinator
        .running
        .handle()
        .read(|state| (state.nodes.len(), state.term));
    assert_eq!(nodes, (1, 2));
}
