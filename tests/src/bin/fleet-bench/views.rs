//! What each view takes, to whoever asks for it first: nothing of it was made before.

use std::time::Instant;

use fleet_tests::monitoring::get;
use serde_json::json;

use crate::crowd::Crowd;
use crate::{ms, say};

const VIEWS: [&str; 14] = [
    "/",
    "/api/v1/status",
    "/api/v1/environments",
    "/api/v1/fleet",
    "/api/v1/nodes",
    "/api/v1/nodes?limit=1000",
    "/api/v1/nodes/node-000777",
    "/api/v1/rollouts",
    "/api/v1/rollouts/ACTIVE",
    "/api/v1/rollouts/ACTIVE/steps",
    "/api/v1/rollouts/ACTIVE/acts",
    "/api/v1/rollouts/ACTIVE/health",
    "/api/v1/releases",
    "/api/v1/events",
];
const TIMES: u32 = 12;

pub(crate) fn measure(nodes: usize, past: u64) -> anyhow::Result<()> {
    let crowd = Crowd::gather(nodes, past)?;
    let port = crowd.running.http.port();
    for view in VIEWS {
        let path = view.replace("ACTIVE", &(past + 1).to_string());
        let (mut bytes, mut all) = (0, Vec::new());
        for time in 0..TIMES {
            // Each in a second of its own, so that none is answered with what was made before.
            let into_second = fleet_proto::time::Timestamp::now().0 % 1000;
            std::thread::sleep(std::time::Duration::from_millis(1020 - into_second.min(1000)));
            let begun = Instant::now();
            let (head, text) = get(port, &path, "application/json")?;
            anyhow::ensure!(head.contains("200"), "{path}: {head}");
            // The first one fills what memory holds for the others too.
            if time > 0 {
                all.push(ms(begun));
            }
            bytes = text.len();
        }
        all.sort_by(f64::total_cmp);
        say(
            "view",
            &json!({
                "view": view, "nodes": nodes, "past_rollouts": past, "bytes": bytes,
                "median_ms": all[all.len() / 2], "worst_ms": all[all.len() - 1],
            }),
        );
    }
    crowd.disperse()
}
