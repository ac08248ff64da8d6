//! Who is refused at the door, and with which words.

use std::time::{Duration, Instant};

use fleet_proto::authority::{Authority, KeyAndRequest, fingerprint};
use fleet_proto::identity::Who;
use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::{Credentials, enrolment_client_config};
use fleet_proto::wire;
use fleet_proto::wire::agent_client::AgentClient;
use fleet_proto::wire::operator_client::OperatorClient;
use rustls::ClientConfig;
use tonic::{Code, Status};

use crate::coordinator::{Coordinator, Session, TRUST_DOMAIN, hello, said};

async fn refused(coordinator: &Coordinator, config: ClientConfig) -> Status {
    let mut client = OperatorClient::new(coordinator.channel(config));
    client.status(wire::StatusQuery::default()).await.unwrap_err()
}

fn admin() -> Who {
    Who::Operator("admin".parse().unwrap())
}

#[tokio::test]
async fn without_a_certificate() {
    let coordinator = Coordinator::start().await;
    let authority = fingerprint(&coordinator.read("authority/ca.pem")).unwrap();
    let mut config = enrolment_client_config(authority).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let message = said(&refused(&coordinator, config).await);
    assert!(
        message.contains("received fatal alert: CertificateRequired"),
        "{message}"
    );
}

#[tokio::test]
async fn the_enrolment_door_leads_to_enrolment_only() {
    let coordinator = Coordinator::start().await;
    let authority = fingerprint(&coordinator.read("authority/ca.pem")).unwrap();
    let config = enrolment_client_config(authority).unwrap();
    assert_eq!(refused(&coordinator, config).await.code(), Code::Unimplemented);
}

#[tokio::test]
async fn with_an_expired_certificate() {
    let coordinator = Coordinator::start().await;
    let two_days_ago = Timestamp(Timestamp::now().0 - 2 * 86_400_000);
    let expired = coordinator.issue(TRUST_DOMAIN, &admin(), two_days_ago);
    let message = said(&refused(&coordinator, expired.client_config().unwrap()).await);
    assert!(
        message.contains("received fatal alert: CertificateExpired"),
        "{message}"
    );
}

#[tokio::test]
async fn with_a_certificate_of_a_foreign_authority() {
    let coordinator = Coordinator::start().await;
    let now = Timestamp::now();
    let (certificate, key) = Authority::create(TRUST_DOMAIN, now).unwrap();
    let foreign = Authority::load(TRUST_DOMAIN, &certificate, &key).unwrap();
    let made = KeyAndRequest::generate().unwrap();
    let issued = foreign
        .issue(&made.request_der, &admin(), Span::from_secs(3600), now)
        .unwrap();
    let ours = coordinator.read("authority/ca.pem");
    let forged = Credentials::from_pem(&issued.chain_pem, &made.key_pem, &ours).unwrap();
    let message = said(&refused(&coordinator, forged.client_config().unwrap()).await);
    assert!(message.contains("received fatal alert: "), "{message}");
}

#[tokio::test]
async fn with_a_certificate_of_another_trust_domain() {
    let coordinator = Coordinator::start().await;
    let other = coordinator.issue("other.test", &admin(), Timestamp::now());
    let message = said(&refused(&coordinator, other.client_config().unwrap()).await);
    assert!(
        message.contains("expected a coordinator of other.test, found one of fleet.test"),
        "{message}"
    );
    // One that does not mind whose coordinator it is.
    let authority = fingerprint(&coordinator.read("authority/ca.pem")).unwrap();
    let mut careless = enrolment_client_config(authority).unwrap();
    careless.alpn_protocols = vec![b"h2".to_vec()];
    careless.client_auth_cert_resolver = other.client_config().unwrap().client_auth_cert_resolver;
    let status = refused(&coordinator, careless).await;
    assert_ne!(status.code(), Code::Ok, "{status}");
}

#[tokio::test]
async fn with_the_wrong_role() {
    let coordinator = Coordinator::start().await;
    let node = coordinator.issue(TRUST_DOMAIN, &Who::Node("n1".parse().unwrap()), Timestamp::now());
    let status = refused(&coordinator, node.client_config().unwrap()).await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(
        status
            .message()
            .starts_with("this is for operators, and the certificate is of node/n1\nhint: "),
        "{status}"
    );

    let operator = coordinator.issue(TRUST_DOMAIN, &admin(), Timestamp::now());
    let mut client = AgentClient::new(coordinator.member(&operator));
    let status = Session::open(&mut client, hello()).await.err().unwrap();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(
        status
            .message()
            .starts_with("this is for nodes, and the certificate is of operator/admin\nhint: "),
        "{status}"
    );
}

#[tokio::test]
async fn as_a_node_that_nobody_enrolled() {
    let coordinator = Coordinator::start().await;
    let node = coordinator.issue(TRUST_DOMAIN, &Who::Node("n9".parse().unwrap()), Timestamp::now());
    let mut client = AgentClient::new(coordinator.member(&node));
    let status = Session::open(&mut client, hello()).await.err().unwrap();
    assert!(
        status.message().starts_with("node n9 is not known here"),
        "{status}"
    );
}

/// Those who say nothing hold a place for ten seconds; nobody waits that long for them.
#[tokio::test]
async fn silent_callers_keep_nobody_out() {
    let coordinator = Coordinator::start().await;
    let mut silent = Vec::new();
    for _ in 0..700 {
        silent.push(
            tokio::net::TcpStream::connect(coordinator.running.grpc)
                .await
                .unwrap(),
        );
    }
    let begun = Instant::now();
    let mut client = coordinator.node("n1").await;
    Session::welcomed(&mut client).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
