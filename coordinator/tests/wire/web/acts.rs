//! Acting over HTTP: the same roles and the same record as over gRPC.

use serde_json::json;

use super::access::token;
use super::ask::Ask;
use crate::coordinator::Coordinator;

fn act(path: &str, token: &str, body: &serde_json::Value) -> Ask {
    let ask = Ask::of("POST", path).json(body);
    match token {
        "" => ask,
        token => ask.with("authorization", &format!("Bearer {token}")),
    }
}

#[tokio::test]
async fn who_acts_has_a_name_and_a_role() {
    let coordinator = Coordinator::start().await;
    let viewer = token(&coordinator, "vera", "viewer", "").await;
    let deployer = token(&coordinator, "dora", "deployer", "").await;
    let _session = coordinator.rollout().await;
    let path = "/api/v1/rollouts/1/pause";
    let anonymous = act(path, "", &json!({})).send(&coordinator).await;
    assert_eq!(anonymous.status, 401, "{}", anonymous.text());
    let refused = act(path, &viewer, &json!({})).send(&coordinator).await;
    assert_eq!(refused.status, 403);
    let problem = refused.json();
    assert_eq!(
        problem["detail"],
        "to pause a rollout takes the role deployer in default; vera is viewer"
    );
    assert!(
        problem["hint"]
            .as_str()
            .unwrap()
            .contains("fleetctl operator add vera")
    );

    let offered = |token: &str| {
        let ask = Ask::of("GET", "/api/v1/rollouts/1/acts");
        ask.with("authorization", &format!("Bearer {token}"))
    };
    let acts = offered(&deployer).send(&coordinator).await.json();
    let pause = &acts["acts"][0];
    assert_eq!(
        (&pause["act"], &pause["allowed"]),
        (&json!("pause"), &json!(true)),
        "{acts}"
    );
    assert_eq!(acts["acts"][1]["allowed"], false, "{acts}");
    let acts = offered(&viewer).send(&coordinator).await.json();
    assert!(
        acts["acts"]
            .as_array()
            .unwrap()
            .iter()
            .all(|act| act["allowed"] == false)
    );

    let done = act(path, &deployer, &json!({ "reason": "lunch" }))
        .send(&coordinator)
        .await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(done.json()["why"], "paused by dora: lunch");
    let again = act(path, &deployer, &json!({})).send(&coordinator).await;
    assert_eq!(again.status, 409, "{}", again.text());
    let events = Ask::of("GET", "/api/v1/events?by=dora")
        .send(&coordinator)
        .await
        .json();
    assert_eq!(events["items"][0]["kind"], "rollout-paused");
}

#[tokio::test]
async fn what_another_site_sends_is_refused() {
    let coordinator = Coordinator::start().await;
    let token = token(&coordinator, "dora", "deployer", "").await;
    let _session = coordinator.rollout().await;
    let login = Ask::of("POST", "/api/v1/session").json(&json!({ "token": token }));
    let answer = login.send(&coordinator).await;
    let cookie = answer
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let pause = || act("/api/v1/rollouts/1/pause", "", &json!({})).with("cookie", &cookie);
    for (name, value) in [
        ("origin", "https://evil.example.com"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
    ] {
        let refused = pause().with(name, value).send(&coordinator).await;
        assert_eq!(refused.status, 403, "{name}: {value}");
    }
    // As a form of another site would send it.
    let form = Ask::of("POST", "/api/v1/rollouts/1/pause").with("content-type", "text/plain");
    let refused = form.with("cookie", &cookie).send(&coordinator).await;
    assert_eq!(refused.status, 415);
    let ours = pause().with("origin", "http://localhost");
    assert_eq!(ours.send(&coordinator).await.status, 200);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let coordinator = Coordinator::start().await;
    let token = token(&coordinator, "dora", "deployer", "").await;
    let _session = coordinator.rollout().await;
    for (path, body, status) in [
        ("/api/v1/rollouts/9/pause", json!({}), 404),
        ("/api/v1/rollouts/1/explode", json!({}), 404),
        ("/api/v1/rollouts/1/pause", json!({ "waves": "50,100" }), 422),
        ("/api/v1/rollouts/1/pause", json!({ "force": true }), 422),
        (
            "/api/v1/rollouts/1/pause",
            json!({ "reason": "x".repeat(2000) }),
            422,
        ),
        (
            "/api/v1/rollouts/1/pause",
            json!({ "reason": "x".repeat(40_000) }),
            413,
        ),
        ("/api/v1/rollouts/1/resume", json!({}), 409),
        ("/api/v1/rollouts/1/pause", json!([]), 422),
    ] {
        let answer = act(path, &token, &body).send(&coordinator).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{path}"
        );
    }
}
