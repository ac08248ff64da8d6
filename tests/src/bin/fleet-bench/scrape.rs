//! What it takes to show figures, with a rollout under way and every node on a stream.

use std::time::Instant;

use anyhow::Context;
use fleet_tests::monitoring::get;
use serde_json::json;

use crate::crowd::Crowd;
use crate::{best, ms, say};

pub(crate) fn measure(nodes: usize) -> anyhow::Result<()> {
    let crowd = Crowd::gather(nodes, 0)?;
    let port = crowd.running.http.port();
    let mut bytes = 0;
    let (mut worst, scrapes) = (0.0_f64, 20);
    let best = best(scrapes, || {
        let begun = Instant::now();
        let (head, text) = get(port, "/metrics", "application/openmetrics-text")?;
        anyhow::ensure!(head.contains("200"), "{head}");
        text.lines()
            .find(|line| line.starts_with("fleet_streams ") && line.ends_with(&format!(" {nodes}")))
            .context("not everybody is there")?;
        (bytes, worst) = (text.len(), worst.max(ms(begun)));
        Ok(())
    })?;
    say(
        "scrape",
        &json!({ "nodes": nodes, "bytes": bytes, "ms": best, "worst_ms": worst }),
    );
    crowd.disperse()
}
