//! What dashboards and probes read.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::coordinator::Coordinator;

async fn get(coordinator: &Coordinator, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(coordinator.running.http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn health_has_the_shape_that_probes_expect() {
    let coordinator = Coordinator::start().await;
    for path in ["/health", "/health/live", "/health/ready"] {
        let (head, body) = get(&coordinator, path).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let health: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(health["status"], "healthy");
        assert_eq!(health["services"]["journal"], "connected");
        assert_eq!(health["services"]["artifacts"], "connected");
        assert!(health["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(health["uptime"].is_u64() && health["version"].is_string());
    }
}

#[tokio::test]
async fn views_and_figures_are_served() {
    let coordinator = Coordinator::start().await;
    coordinator.node("n1").await;
    let (_, nodes) = get(&coordinator, "/api/v1/nodes").await;
    let nodes: serde_json::Value = serde_json::from_str(&nodes).unwrap();
    assert_eq!(nodes[0]["node"], "n1");
    let (_, node) = get(&coordinator, "/api/v1/nodes/n1").await;
    let node: serde_json::Value = serde_json::from_str(&node).unwrap();
    assert_eq!(
        (&node["node"], &node["vitals"]),
        (&"n1".into(), &serde_json::Value::Null)
    );
    let (head, _) = get(&coordinator, "/api/v1/nodes/n9").await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
    for path in ["/api/v1/status", "/api/v1/rollouts", "/api/v1/releases"] {
        let (head, body) = get(&coordinator, path).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        serde_json::from_str::<serde_json::Value>(&body).unwrap();
    }
    let (head, metrics) = get(&coordinator, "/metrics").await;
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    for line in [
        "fleet_nodes{environment=\"default\",connection=\"connected\"} 0",
        "fleet_term 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
