//! Who may look and who may not, and what a browser is told of it.

use std::sync::Arc;

use fleet_proto::authority::Authority;
use fleet_proto::identity::Who;
use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use fleet_proto::wire;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ask::{Answer, Ask, get};
use crate::coordinator::{Coordinator, TRUST_DOMAIN};

/// A token of somebody with that role.
pub async fn token(coordinator: &Coordinator, operator: &str, role: &str, environment: &str) -> String {
    let request = wire::AddOperatorRequest {
        operator: operator.to_owned(),
        grants: vec![wire::Grant {
            role: role.to_owned(),
            environment: environment.to_owned(),
        }],
        certificate_request: vec![],
    };
    coordinator.operator().add_operator(request).await.unwrap();
    let request = wire::AccessTokenRequest {
        operator: operator.to_owned(),
        valid_for: "1h".to_owned(),
    };
    let made = coordinator.operator().create_access_token(request).await;
    made.unwrap().into_inner().token
}

#[tokio::test]
async fn a_token_is_traded_for_a_cookie() {
    let coordinator = Coordinator::start().await;
    let token = token(&coordinator, "wall", "viewer", "").await;
    let nobody = get(&coordinator, "/api/v1/session").await.json();
    assert_eq!(
        (&nobody["operator"], &nobody["via"]),
        (&json!(null), &json!("loopback"))
    );
    assert_eq!(nobody["may_read"], true);

    let login = Ask::of("POST", "/api/v1/session").json(&json!({ "token": token }));
    let answer = login.send(&coordinator).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["operator"], "wall");
    assert_eq!(
        answer.json()["roles"],
        json!([{ "environment": null, "role": "viewer" }])
    );
    let cookie = answer.header("set-cookie").unwrap();
    for word in ["HttpOnly", "SameSite=Strict", "Max-Age="] {
        assert!(cookie.contains(word), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let as_wall = |path: &str| Ask::of("GET", path).with("cookie", &cookie);
    let session = as_wall("/api/v1/session").send(&coordinator).await.json();
    assert_eq!(
        (&session["operator"], &session["via"]),
        (&json!("wall"), &json!("session"))
    );
    let bearer = Ask::of("GET", "/api/v1/session").with("authorization", &format!("Bearer {token}"));
    assert_eq!(bearer.send(&coordinator).await.json()["via"], "token");

    // It outlives a restart, and not its operator.
    let coordinator = coordinator.restart().await;
    let session = as_wall("/api/v1/session").send(&coordinator).await.json();
    assert_eq!(session["operator"], "wall");
    let remove = wire::RemoveOperatorRequest {
        operator: "wall".to_owned(),
        environment: String::new(),
    };
    coordinator.operator().remove_operator(remove).await.unwrap();
    let session = as_wall("/api/v1/session").send(&coordinator).await.json();
    assert_eq!(session["operator"], json!(null));
}

#[tokio::test]
async fn a_revoked_token_ends_its_sessions() {
    let coordinator = Coordinator::start().await;
    let token = token(&coordinator, "wall", "viewer", "").await;
    let login = Ask::of("POST", "/api/v1/session").json(&json!({ "token": token }));
    let answer = login.send(&coordinator).await;
    let cookie = answer
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let id = token.split('.').nth(1).unwrap().to_owned();
    let revoke = wire::TokenQuery { id };
    coordinator.operator().revoke_access_token(revoke).await.unwrap();
    let session = Ask::of("GET", "/api/v1/session").with("cookie", &cookie);
    assert_eq!(session.send(&coordinator).await.json()["operator"], json!(null));
    let bearer = Ask::of("GET", "/api/v1/status").with("authorization", &format!("Bearer {token}"));
    let refused = bearer.send(&coordinator).await;
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (401, Some("Bearer"))
    );
}

#[tokio::test]
async fn a_code_opens_the_dashboard_once() {
    let coordinator = Coordinator::start().await;
    let opened = coordinator.operator().open_dashboard(wire::Nothing {}).await;
    let code = opened.unwrap().into_inner().code;
    let login = || Ask::of("POST", "/api/v1/session").json(&json!({ "token": code }));
    let first = login().send(&coordinator).await;
    assert_eq!(first.json()["operator"], "admin");
    assert_eq!(login().send(&coordinator).await.status, 401);
}

#[tokio::test]
async fn a_name_that_somebody_made_lead_here_shows_nothing() {
    let coordinator = Coordinator::start_with("[web]\nhosts = [\"fleet.example.com\"]\n").await;
    for (host, status) in [
        ("127.0.0.1:7480", 200),
        ("localhost", 200),
        ("[::1]:7480", 200),
        ("fleet.example.com", 200),
        ("evil.example.com", 421),
        ("127.0.0.1.evil.example.com", 421),
    ] {
        let ask = Ask::of("GET", "/api/v1/status").with("host", host);
        assert_eq!(ask.send(&coordinator).await.status, status, "{host}");
    }
}

#[tokio::test]
async fn pages_come_with_a_policy() {
    let coordinator = Coordinator::start().await;
    for path in ["/", "/api/v1/status", "/nowhere"] {
        let answer = get(&coordinator, path).await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

/// Over TLS, with or without a certificate.
async fn over_tls(coordinator: &Coordinator, who: Option<Who>, ask: Ask) -> Answer {
    let mut roots = rustls::RootCertStore::empty();
    let authority = coordinator.read("authority/ca.pem");
    roots
        .add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match who {
        None => builder.with_no_client_auth(),
        Some(who) => {
            let (chain, key) = coordinator.issue_pem(TRUST_DOMAIN, &who, Timestamp::now());
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            let chain = chain.collect::<Result<_, _>>().unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let stream = TcpStream::connect(coordinator.running.https.unwrap())
        .await
        .unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream.write_all(ask.text().as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server that closes without saying so has said all the same.
    let _ = stream.read_to_end(&mut answer).await;
    Answer::read(&answer)
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_shown() {
    let coordinator = Coordinator::start().await;
    let read = |name: &str| coordinator.read(&format!("authority/{name}"));
    let authority = Authority::load(TRUST_DOMAIN, &read("ca.pem"), &read("ca-key.pem")).unwrap();
    let names = ["localhost".to_owned()];
    let (chain, key) = authority
        .issue_site(&names, Span::from_secs(3600), Timestamp::now())
        .unwrap();
    let directory = coordinator.directory.path();
    std::fs::write(directory.join("web.pem"), chain).unwrap();
    std::fs::write(directory.join("web-key.pem"), key).unwrap();
    let more = "[web]\nlisten = \"127.0.0.1:0\"\ncertificate = \"web.pem\"\nkey = \"web-key.pem\"\n";
    let coordinator = coordinator.restart_with(more).await;
    let answer = over_tls(&coordinator, None, Ask::of("GET", "/health/live")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn whoever_comes_over_tls_shows_who_they_are() {
    let coordinator =
        Coordinator::start_with("[web]\nlisten = \"127.0.0.1:0\"\nnames = [\"localhost\"]\n").await;
    let ask = |path| Ask::of("GET", path);
    // The way in and the health are for everybody, and say nothing of the fleet.
    for (path, status) in [
        ("/api/v1/status", 401),
        ("/api/v1/stream", 401),
        ("/metrics", 401),
        ("/api/v1/session", 200),
        ("/health/live", 200),
    ] {
        let answer = over_tls(&coordinator, None, ask(path)).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    let admin = Who::Operator("admin".parse().unwrap());
    let seen = over_tls(&coordinator, Some(admin), ask("/api/v1/session"))
        .await
        .json();
    assert_eq!(
        (&seen["operator"], &seen["via"]),
        (&json!("admin"), &json!("certificate"))
    );
    let stranger = Who::Operator("stranger".parse().unwrap());
    let refused = over_tls(&coordinator, Some(stranger), ask("/api/v1/status")).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let node = Who::Node("n1".parse().unwrap());
    let refused = over_tls(&coordinator, Some(node), ask("/api/v1/status")).await;
    assert_eq!(refused.status, 403, "{}", refused.text());

    let token = token(&coordinator, "wall", "viewer", "").await;
    let login = || Ask::of("POST", "/api/v1/session").json(&json!({ "token": token }));
    // A browser sends the certificate that it has; who is no operator any more may log in.
    let stranger = Who::Operator("stranger".parse().unwrap());
    assert_eq!(over_tls(&coordinator, Some(stranger), login()).await.status, 200);
    let node = Who::Node("n1".parse().unwrap());
    assert_eq!(over_tls(&coordinator, Some(node), login()).await.status, 200);
    let answer = over_tls(&coordinator, None, login()).await;
    let cookie = answer.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("__Host-fleet=") && cookie.contains("Secure"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let seen = over_tls(&coordinator, None, ask("/api/v1/status").with("cookie", &cookie)).await;
    assert_eq!(seen.status, 200);
}
