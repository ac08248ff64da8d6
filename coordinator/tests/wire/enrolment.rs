//! Join tokens: what they are good for, and when they are not.

use fleet_proto::authority::KeyAndRequest;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::Credentials;
use fleet_proto::wire;
use fleet_proto::wire::agent_client::AgentClient;
use tonic::Code;

use crate::coordinator::{Coordinator, Session, hello_of};

async fn refused(coordinator: &Coordinator, token: &str, node: &str, expected: &str) {
    let status = coordinator.enrol(token, node).await.err().unwrap();
    assert!(status.message().contains(expected), "{status}");
}

#[tokio::test]
async fn a_token_lets_in_as_many_as_it_says() {
    let coordinator = Coordinator::start().await;
    let token = coordinator.token(2, "1h").await;
    let first: Credentials = coordinator.enrol(&token.token, "n1").await.unwrap();
    assert_eq!(
        first.peer().unwrap().identity.to_string(),
        "spiffe://fleet.test/node/n1"
    );
    let other = coordinator.token(1, "1h").await;
    refused(&coordinator, &other.token, "n1", "node n1 is enrolled already").await;
    coordinator.enrol(&token.token, "n2").await.unwrap();
    refused(&coordinator, &token.token, "n3", "is used up").await;
    // The labels come with the token.
    let node = wire::NodesQuery {
        select: "zone=a".into(),
    };
    let nodes = coordinator.operator().nodes(node).await.unwrap().into_inner();
    let nodes: Vec<serde_json::Value> = serde_json::from_str(&nodes.json).unwrap();
    assert_eq!(nodes.len(), 2);
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said() {
    let coordinator = Coordinator::start().await;
    let expired = coordinator.token(1, "1ms").await;
    while fleet_proto::time::Timestamp::now().0 <= expired.expires_at_ms {
        tokio::task::yield_now().await;
    }
    refused(&coordinator, &expired.token, "n1", "expired at 20").await;

    let revoked = coordinator.token(1, "1h").await;
    let query = wire::TokenQuery {
        id: revoked.id.clone(),
    };
    coordinator.operator().revoke_token(query).await.unwrap();
    refused(&coordinator, &revoked.token, "n1", "was revoked").await;

    // The right id and a wrong secret: another token's secret in this one's place.
    let real = coordinator.token(1, "1h").await;
    let parts: Vec<&str> = real.token.split('.').collect();
    let other: Vec<&str> = revoked.token.split('.').collect();
    let forged = [parts[0], parts[1], other[2], parts[3]].join(".");
    refused(&coordinator, &forged, "n1", "is not known here").await;
    coordinator.enrol(&real.token, "n1").await.unwrap();
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again_to_the_same_key_alone() {
    let coordinator = Coordinator::start().await;
    let token = coordinator.token(1, "1h").await;
    let key = KeyAndRequest::generate().unwrap();
    let again = KeyAndRequest::again(&key.key_pem).unwrap();
    let third = KeyAndRequest::again(&key.key_pem).unwrap();
    coordinator.enrol_key(&token.token, "n1", key).await.unwrap();
    // Another machine that has the name and the token.
    refused(&coordinator, &token.token, "n1", "is used up").await;
    let credentials = coordinator.enrol_key(&token.token, "n1", again).await.unwrap();
    let mut client = AgentClient::new(coordinator.member(&credentials));
    Session::welcomed(&mut client).await;
    coordinator.until_connection_is("n1", "Silent").await;
    // Once it was heard of, nothing was lost.
    let status = coordinator
        .enrol_key(&token.token, "n1", third)
        .await
        .err()
        .unwrap();
    assert!(status.message().contains("is used up"), "{status}");
}

#[tokio::test]
async fn a_node_that_lost_its_identity_comes_back_under_its_name() {
    let coordinator = Coordinator::start().await;
    let mut lost = coordinator.node("n1").await;
    let mut session = Session::welcomed(&mut lost).await;
    let stranger = coordinator.token(1, "1h").await;
    let status = coordinator.enrol(&stranger.token, "n1").await.err().unwrap();
    assert!(
        status.message().contains("fleetctl token create --node n1"),
        "{status}"
    );
    let token = coordinator.token_for("n1").await;
    refused(&coordinator, &token.token, "n2", "is for n1 alone").await;
    // Certificates count in whole seconds.
    let now = || Timestamp::now().0 / 1000;
    let begun = now();
    while now() == begun {
        tokio::task::yield_now().await;
    }
    let credentials = coordinator.enrol(&token.token, "n1").await.unwrap();
    // The machine that had the name before is cut off, and has it no more.
    let ended = session.inbox.message().await;
    assert!(ended.is_err(), "{ended:?}");
    let status = Session::open(&mut lost, hello_of(1, 0)).await.err().unwrap();
    assert!(status.message().contains("has enrolled anew since"), "{status}");
    let mut client = AgentClient::new(coordinator.member(&credentials));
    let _session = Session::welcomed(&mut client).await;
    coordinator.until_connection_is("n1", "Connected").await;
    // Its labels are those that it had.
    let query = wire::NodesQuery {
        select: "zone=a".into(),
    };
    let nodes = coordinator.operator().nodes(query).await.unwrap().into_inner();
    assert!(nodes.json.contains("\"n1\""), "{}", nodes.json);
}

#[tokio::test]
async fn nobody_comes_back_from_a_revocation() {
    let coordinator = Coordinator::start().await;
    coordinator.node("n1").await;
    let token = coordinator.token_for("n1").await;
    let query = wire::NodeQuery {
        node: "n1".into(),
        reason: "stolen".into(),
    };
    coordinator.operator().revoke_node(query).await.unwrap();
    refused(&coordinator, &token.token, "n1", "a revocation is for good").await;
    let request = wire::CreateTokenRequest {
        node: "n1".into(),
        ..wire::CreateTokenRequest::default()
    };
    let status = coordinator.operator().create_token(request).await.unwrap_err();
    assert!(status.message().contains("a revocation is for good"), "{status}");
}

#[tokio::test]
async fn a_token_that_is_valid_for_ever_is_not_made() {
    let coordinator = Coordinator::start().await;
    let request = wire::CreateTokenRequest {
        valid_for: "365d".into(),
        ..wire::CreateTokenRequest::default()
    };
    let status = coordinator.operator().create_token(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("at most 30d"), "{status}");
}
