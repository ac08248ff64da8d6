//! What dashboards, probes and other people's programs get over HTTP.

mod access;
mod acts;
mod ask;
mod stream;

use ask::{Ask, get};
use serde_json::Value;

use crate::coordinator::Coordinator;

#[tokio::test]
async fn health_has_the_shape_that_probes_expect() {
    let coordinator = Coordinator::start().await;
    for path in ["/health", "/health/live", "/health/ready"] {
        let answer = get(&coordinator, path).await;
        assert_eq!(answer.status, 200, "{path}");
        let health = answer.json();
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
    for node in ["n1", "n2", "n3"] {
        coordinator.node(node).await;
    }
    let page = get(&coordinator, "/api/v1/nodes?limit=2").await.json();
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|node| node["node"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        (names(&page), &page["total"]),
        (vec!["n1".into(), "n2".into()], &3.into())
    );
    let next = page["next"].as_str().unwrap();
    let rest = get(&coordinator, &format!("/api/v1/nodes?limit=2&after={next}")).await;
    assert_eq!(
        (names(&rest.json()), &rest.json()["next"]),
        (vec!["n3".into()], &Value::Null)
    );
    let node = get(&coordinator, "/api/v1/nodes/n1").await.json();
    assert_eq!((&node["node"], &node["vitals"]), (&"n1".into(), &Value::Null));
    let status = get(&coordinator, "/api/v1/status").await.json();
    assert_eq!(status["nodes"]["total"], 3);
    let fleet = get(&coordinator, "/api/v1/fleet").await.json();
    assert_eq!(fleet["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(fleet["words"]["zones"], serde_json::json!(["a"]));
    for path in [
        "/api/v1/environments",
        "/api/v1/environments/default",
        "/api/v1/rollouts",
        "/api/v1/releases",
        "/api/v1/events",
        "/api/v1/session",
        "/api/v1/openapi.json",
    ] {
        let answer = get(&coordinator, path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json();
    }
    let metrics = get(&coordinator, "/metrics").await;
    let kind = metrics.header("content-type").unwrap();
    assert!(kind.contains("text/plain; version=0.0.4"), "{kind}");
    let text = metrics.text();
    for line in [
        "fleet_nodes{environment=\"default\",connection=\"connected\"} 0",
        "fleet_term 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_mistake_is_said_as_a_problem() {
    let coordinator = Coordinator::start().await;
    coordinator.node("n1").await;
    for (path, status, expected) in [
        ("/api/v1/nodes/n9", 404, "there is no node n9"),
        ("/api/v1/nodes/N%209", 404, "is not a name"),
        ("/api/v1/rollouts/7", 404, "there is no rollout #7"),
        ("/api/v1/rollouts/x", 404, ""),
        ("/api/v1/environments/prod", 404, "no environment called `prod`"),
        ("/api/v1/nodes?limit=0", 400, "limit is between 1 and 1000, not 0"),
        ("/api/v1/nodes?limit=x", 400, "limit"),
        ("/api/v1/nodes?page=2", 400, "unknown field `page`"),
        ("/api/v1/nodes?select=%3D", 400, ""),
        ("/api/v1/status?x=1", 400, "unknown field `x`"),
        ("/api/v1/fleet?environment=nowhere", 404, "nowhere"),
        ("/api/v2/status", 404, "there is nothing at /api/v2/status"),
    ] {
        let answer = get(&coordinator, path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{path}"
        );
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{path}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{path}: {detail}");
    }
    let wrong = Ask::of("PUT", "/api/v1/status").send(&coordinator).await;
    assert_eq!(wrong.status, 405);
    assert!(wrong.header("allow").unwrap().contains("GET"));
}

#[tokio::test]
async fn whoever_has_a_view_is_not_sent_it_again() {
    let coordinator = Coordinator::start().await;
    for i in 0..20 {
        coordinator.node(&format!("n{i:02}")).await;
    }
    let path = "/api/v1/nodes";
    let first = get(&coordinator, path).await;
    let tag = first.header("etag").unwrap().to_owned();
    let again = Ask::of("GET", path).with("if-none-match", &tag);
    assert_eq!(again.send(&coordinator).await.status, 304);
    let packed = Ask::of("GET", path).with("accept-encoding", "gzip");
    let packed = packed.send(&coordinator).await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() * 4 < first.body.len());
    coordinator.node("another").await;
    let again = Ask::of("GET", path).with("if-none-match", &tag);
    assert_eq!(again.send(&coordinator).await.status, 200);
}

#[tokio::test]
async fn the_journal_is_read_from_either_end() {
    let coordinator = Coordinator::start().await;
    for i in 0..30 {
        coordinator.node(&format!("n{i:02}")).await;
    }
    let positions = |page: &Value| -> Vec<u64> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|event| event["position"].as_u64().unwrap())
            .collect()
    };
    let all = get(&coordinator, "/api/v1/events?order=oldest&limit=1000")
        .await
        .json();
    let all = positions(&all);
    for order in ["oldest", "newest"] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/events?order={order}&limit=7{after}");
            let page = get(&coordinator, &path).await.json();
            seen.extend(positions(&page));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        if order == "newest" {
            seen.reverse();
        }
        assert_eq!(seen, all, "{order}");
    }
    let of_node = get(&coordinator, "/api/v1/events?node=n07").await.json();
    assert_eq!(positions(&of_node).len(), 1);
    let by = get(&coordinator, "/api/v1/events?by=admin&limit=1000")
        .await
        .json();
    assert_eq!(positions(&by).len(), 30);
}
