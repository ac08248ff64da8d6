//! Pods that come with the word of their cluster.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleet_coordinator::rollout::event::Tenure;
use fleet_proto::authority::KeyAndRequest;
use fleet_proto::ids::NodeId;
use fleet_proto::service_account::Claims;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::{Credentials, enrolment_client_config};
use fleet_proto::wire;
use fleet_proto::wire::agent_client::AgentClient;
use fleet_proto::wire::enrolment_client::EnrolmentClient;
use serde_json::json;
use tonic::Status;

use crate::coordinator::{Coordinator, Session};

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

struct Cluster(EcdsaKeyPair);

impl Cluster {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn keys(&self) -> String {
        let point = self.0.public_key().as_ref();
        json!({"keys": [{"kty": "EC", "kid": "k", "use": "sig", "alg": "ES256", "crv": "P-256",
            "x": text(&point[1..33]), "y": text(&point[33..])}]})
        .to_string()
    }

    fn token(&self, account: &str, pod: &str) -> String {
        let claims = json!({
            "iss": "https://cluster.example", "aud": ["fleet"], "exp": Timestamp::now().0 / 1000 + 600,
            "sub": format!("system:serviceaccount:shop:{account}"),
            "kubernetes.io": {
                "namespace": "shop",
                "serviceaccount": {"name": account, "uid": "5d1e"},
                "pod": {"name": pod, "uid": "8c0e6c1e"},
            },
        });
        let head = json!({"alg": "ES256", "kid": "k"});
        let signed = format!("{}.{}", text(head.to_string()), text(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", text(signature))
    }
}

/// With the file that the cluster's keys are in.
async fn start(cluster: &Cluster) -> (Coordinator, tempfile::NamedTempFile) {
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), cluster.keys()).unwrap();
    let more = format!(
        "[[cluster]]\nname = \"prod\"\nissuer = \"https://cluster.example\"\nkeys = \"{}\"\n\
         labels = {{ zone = \"b\" }}\nservice_accounts = [\"shop/web\"]\n",
        keys.path().display()
    );
    (Coordinator::start_with(&more).await, keys)
}

async fn enrol(coordinator: &Coordinator, token: &str, node: &str) -> Result<Credentials, Status> {
    let authority = coordinator.read("authority/ca.pem");
    let pinned = fleet_proto::authority::fingerprint(&authority).unwrap();
    let made = KeyAndRequest::generate().unwrap();
    let request = wire::EnrolRequest {
        service_account_token: token.to_owned(),
        node: node.to_owned(),
        certificate_request: made.request_der,
        platform: "linux/amd64".into(),
        token: String::new(),
    };
    let channel = coordinator.channel(enrolment_client_config(pinned).unwrap());
    let granted = EnrolmentClient::new(channel).enrol(request).await?.into_inner();
    Ok(Credentials::from_pem(&granted.certificate_chain, &made.key_pem, &granted.authority).unwrap())
}

fn named(token: &str) -> NodeId {
    Claims::of_own(token).unwrap().node().unwrap()
}

#[tokio::test]
async fn a_pod_gets_in_under_its_own_name_with_the_labels_of_its_cluster() {
    let cluster = Cluster::new();
    let (coordinator, _keys) = start(&cluster).await;
    let token = cluster.token("web", "web-0");
    let node = named(&token);
    enrol(&coordinator, &token, node.as_str()).await.unwrap();
    let labels = coordinator.running.handle().read(|state| {
        let known = state.nodes.get(&node).unwrap();
        assert_eq!(known.tenure, Tenure::Ephemeral);
        known.labels.clone()
    });
    assert_eq!(labels, [("zone".to_owned(), "b".to_owned())].into());

    // It has lost its identity, and is still that pod.
    let again = enrol(&coordinator, &token, node.as_str()).await.unwrap();
    let _session = Session::welcomed(&mut AgentClient::new(coordinator.member(&again))).await;
}

#[tokio::test]
async fn nobody_gets_in_by_the_word_of_another() {
    let (cluster, other) = (Cluster::new(), Cluster::new());
    let (coordinator, _keys) = start(&cluster).await;
    let web = cluster.token("web", "web-0");
    let node = named(&web);
    for (token, asked, expected) in [
        (web.clone(), "n1".to_owned(), "and not n1"),
        (
            cluster.token("web", "web-1"),
            node.to_string(),
            "its pod is node web-1-",
        ),
        (
            cluster.token("db", "db-0"),
            "db-0".to_owned(),
            "shop/db is not among",
        ),
        (
            other.token("web", "web-0"),
            node.to_string(),
            "not of the cluster's key",
        ),
        ("fleet-join.x".to_owned(), node.to_string(), "it is no token"),
    ] {
        let refused = enrol(&coordinator, &token, &asked).await.err().unwrap();
        assert!(refused.message().contains(expected), "{refused}");
    }
    let nobody = coordinator.running.handle().read(|state| state.nodes.is_empty());
    assert!(nobody);

    // Who was revoked by hand stays out, whatever the cluster says.
    enrol(&coordinator, &web, node.as_str()).await.unwrap();
    let query = wire::NodeQuery {
        node: node.to_string(),
        reason: "stolen".into(),
    };
    coordinator.operator().revoke_node(query).await.unwrap();
    let refused = enrol(&coordinator, &web, node.as_str()).await.err().unwrap();
    assert!(
        refused.message().contains("a revocation is for good"),
        "{refused}"
    );
}

/// A thief has the token of a pod that is well.
#[tokio::test]
async fn the_place_of_a_pod_that_is_there_is_not_taken() {
    let cluster = Cluster::new();
    let (coordinator, _keys) = start(&cluster).await;
    let token = cluster.token("web", "web-0");
    let node = named(&token);
    let credentials = enrol(&coordinator, &token, node.as_str()).await.unwrap();
    let mut client = AgentClient::new(coordinator.member(&credentials));
    let _session = Session::welcomed(&mut client).await;
    coordinator.until_connection_is(node.as_str(), "Connected").await;
    let refused = enrol(&coordinator, &token, node.as_str()).await.err().unwrap();
    assert!(refused.message().contains("and connected"), "{refused}");
}

#[tokio::test]
async fn keys_that_change_are_read_again_and_broken_ones_are_not_taken() {
    let (old, new) = (Cluster::new(), Cluster::new());
    let (coordinator, keys) = start(&old).await;
    let is_let_in = async |cluster: &Cluster, pod: &str| {
        let token = cluster.token("web", pod);
        enrol(&coordinator, &token, named(&token).as_str()).await.is_ok()
    };
    let replace = |text: String| {
        let beside = keys.path().with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, keys.path()).unwrap();
    };
    assert!(is_let_in(&old, "a").await && !is_let_in(&new, "b").await);
    replace(new.keys());
    assert!(is_let_in(&new, "c").await && !is_let_in(&old, "d").await);
    replace("{".to_owned());
    assert!(is_let_in(&new, "e").await && !is_let_in(&old, "f").await);
}
