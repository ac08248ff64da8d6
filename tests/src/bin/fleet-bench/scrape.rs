//! What it takes to show figures, with a rollout under way and every node on a stream.

use std::time::Instant;

use anyhow::Context;
use fleet_coordinator::config::Config;
use fleet_coordinator::driver::{Ending, Handle};
use fleet_coordinator::init::{Options, init};
use fleet_coordinator::journal::Journal;
use fleet_coordinator::rollout::input::{Author, Request};
use fleet_coordinator::serve::start;
use fleet_proto::ids::NodeId;
use fleet_proto::quantity::Bytes;
use fleet_proto::session::{Heartbeat, ToAgent};
use fleet_proto::time::Timestamp;
use fleet_tests::monitoring::get;
use serde_json::json;
use tokio::sync::mpsc;

use crate::{app, best, intent, ms, say, state_of};

pub(crate) fn measure(nodes: usize) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let options = Options {
        directory: directory.path().to_owned(),
        trust_domain: "fleet.bench".into(),
        listen: "127.0.0.1:0".parse()?,
        http: "127.0.0.1:0".parse()?,
        operator: "admin".parse()?,
        environment: "production".parse()?,
        select: "environment=production".parse()?,
    };
    init(&options, Timestamp::now())?;
    let config = Config::read(&directory.path().join("coordinator.toml"))?;
    let (state, _) = state_of(nodes)?;
    {
        let (mut journal, _) = Journal::open(&config.journal_directory())?;
        journal.append(1, 0, &vec![b"{}".to_vec(); usize::try_from(state.position)?])?;
        journal.save_snapshot(state.position, &serde_json::to_vec(&state)?)?;
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let running = runtime.block_on(start(&config))?;
    let handle = running.handle();
    let heartbeat = Heartbeat {
        cpu_percent: 95.0,
        memory_percent: 95.0,
        disk_free: Bytes(1),
        releases: vec![],
        restarting: [app()?].into(),
    };
    let streams = attach_all(handle, state.nodes.keys(), &heartbeat);
    let begun = handle.submit(
        Author::Operator("admin".parse()?),
        Request::StartRollout(intent()?),
    );
    runtime
        .block_on(begun)
        .map_err(|refusal| anyhow::anyhow!(refusal.message))?;

    let port = running.http.port();
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
    drop(streams);
    Ok(runtime.block_on(running.stop())?)
}

/// A node that is told something does not answer here, and is not asked to.
fn attach_all<'a>(
    handle: &Handle,
    nodes: impl Iterator<Item = &'a NodeId>,
    heartbeat: &Heartbeat,
) -> Vec<mpsc::Receiver<ToAgent>> {
    nodes
        .map(|node| {
            let (queue, stream) = mpsc::channel(8);
            handle.sessions().attach(node.clone(), queue, Ending::default());
            handle.sessions().note(node, heartbeat.clone());
            stream
        })
        .collect()
}
