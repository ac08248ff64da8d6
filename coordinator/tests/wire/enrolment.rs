//! Join tokens: what they are good for, and when they are not.

use fleet_proto::tls::Credentials;
use fleet_proto::wire;
use tonic::Code;

use crate::coordinator::Coordinator;

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
    refused(&coordinator, &token.token, "n1", "node n1 is enrolled already").await;
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
