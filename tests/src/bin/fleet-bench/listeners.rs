//! What listeners cost the driver: its turns with nobody listening, beside its turns with
//! two thousand readers of the stream and one that has stopped reading.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use fleet_coordinator::rollout::input::Input;
use fleet_proto::session::Health;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;

use crate::crowd::Crowd;
use crate::{say, status};

const LISTENERS: usize = 2_000;
const REPORTS_PER_SECOND: u32 = 500;
const SECONDS: u32 = 8;
const ASK: &str = "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n";

pub(crate) fn measure(nodes: usize) -> anyhow::Result<()> {
    let crowd = Crowd::gather(nodes, 0)?;
    let port = crowd.running.http.port();
    let alone = [report(&crowd)?, report(&crowd)?];
    let heard = Arc::new(AtomicU64::new(0));
    let (readers, stop) = listen(port, heard.clone())?;
    // Its window is full within a moment, and it stays so.
    let mut stalled = TcpStream::connect(("127.0.0.1", port))?;
    stalled.write_all(ASK.as_bytes())?;
    let beside = [report(&crowd)?, report(&crowd)?];
    stop.store(true, Ordering::Relaxed);
    drop(readers);
    let _ = stalled.read(&mut [0; 16]);
    let least = |turns: [f64; 2]| turns[0].min(turns[1]);
    let (alone, beside) = (least(alone), least(beside));
    say(
        "listeners",
        &json!({
            "nodes": nodes, "listeners": LISTENERS, "stalled": 1, "events_per_second": REPORTS_PER_SECOND,
            "turn_ms_alone": alone, "turn_ms_beside": beside, "ratio": beside / alone,
            "events_heard": heard.load(Ordering::Relaxed),
        }),
    );
    crowd.disperse()
}

/// Milliseconds of a turn, on average, while so many nodes a second say something new.
fn report(crowd: &Crowd) -> anyhow::Result<f64> {
    let handle = crowd.running.handle().clone();
    let before = handle.figures();
    crowd.runtime.block_on(async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let each = REPORTS_PER_SECOND / 50;
        let mut ill = false;
        for tick in 0..SECONDS * 50 {
            ticks.tick().await;
            if tick % 50 == 0 {
                ill = !ill;
            }
            for i in 0..each {
                let health = if ill {
                    Health::Unhealthy { why: "503".into() }
                } else {
                    Health::Healthy
                };
                let node = format!("node-{:06}", 9_000 + (tick % 50) * each + i).parse()?;
                let status = status(health)?;
                handle.report(Input::NodeStatus { node, status }).await;
            }
        }
        anyhow::Ok(())
    })?;
    let after = handle.figures();
    let turns = after.turns.count() - before.turns.count();
    anyhow::ensure!(turns > 0, "there was no turn");
    Ok((after.turns.sum() - before.turns.sum()) * 1e3 / turns as f64)
}

type Readers = (std::thread::JoinHandle<()>, Arc<AtomicBool>);

/// In a runtime of their own: what they take is not the coordinator's.
fn listen(port: u16, heard: Arc<AtomicU64>) -> anyhow::Result<Readers> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let (ready, all_there) = std::sync::mpsc::channel();
    let readers = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async move {
            for _ in 0..LISTENERS {
                let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else {
                    return;
                };
                if stream.write_all(ASK.as_bytes()).await.is_err() {
                    return;
                }
                let heard = heard.clone();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 64 << 10];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        let events = buffer[..read].windows(4).filter(|four| four == b"id: ").count();
                        heard.fetch_add(events as u64, Ordering::Relaxed);
                    }
                });
            }
            let _ = ready.send(());
            while !stopped.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    });
    let begun = Instant::now();
    all_there
        .recv_timeout(Duration::from_secs(60))
        .with_context(|| format!("not all listen after {:?}", begun.elapsed()))?;
    Ok((readers, stop))
}
