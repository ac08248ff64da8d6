//! What it costs: each figure beside a floor or a peer of the same run, as a JSON line.
//!
//!     make bench
//!     make bench MEASURES=restart         only this
#![expect(clippy::print_stdout, reason = "its output is the figures")]

mod crowd;
mod listeners;
mod restart;
mod scrape;
mod views;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use fleet_coordinator::driver::{Charge, Driver};
use fleet_coordinator::journal::Journal;
use fleet_coordinator::rollout::event::{CatchUp, Event, NewToken, PushRelease, Stamped, Tenure};
use fleet_coordinator::rollout::input::{Author, Input, Intent, Request, Settings};
use fleet_coordinator::rollout::plan::plan;
use fleet_coordinator::rollout::state::State;
use fleet_coordinator::rollout::turn::turn;
use fleet_proto::digest::Digest;
use fleet_proto::ids::{AppName, NodeId, OperatorName};
use fleet_proto::labels::Labels;
use fleet_proto::quantity::Bytes;
use fleet_proto::release::{HealthRules, Platform, ReleaseRef, Strategy};
use fleet_proto::session::{AppStatus, Facts, Health};
use fleet_proto::time::Timestamp;
use fleet_proto::view::EventView;
use fleet_tests::fleet::{Fleet, PATIENCE};
use fleet_tests::process::program;
use fleet_tests::sample::Behaviour;
use fleet_tests::wait::wait_for;
use serde_json::{Value, json};

type Measure = fn() -> anyhow::Result<()>;

const ALL: [(&str, Measure); 10] = [
    ("plan", || SIZES.into_iter().try_for_each(measure_plan)),
    ("turn", || SIZES.into_iter().try_for_each(measure_turn)),
    ("driver", measure_driver),
    ("scrape", || scrape::measure(10_000)),
    ("views", || views::measure(10_000, 100)),
    ("listeners", || listeners::measure(10_000)),
    ("binary", measure_binaries),
    ("memory-at-rest", measure_memory_at_rest),
    ("takeover", measure_takeover),
    ("restart", restart::measure),
];

/// Nodes.
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

fn main() -> anyhow::Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    for name in &asked {
        let known: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        anyhow::ensure!(
            known.contains(&name.as_str()),
            "`{name}` is none of {}",
            known.join(", ")
        );
    }
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    let mut measures = ALL.into_iter().filter(|(name, _)| is_asked(name));
    measures.try_for_each(|(_, measure)| measure())
}

fn measure_binaries() -> anyhow::Result<()> {
    for name in ["fleet-coordinator", "fleet-agent", "fleetctl"] {
        let bytes = std::fs::metadata(program(name)?)?.len();
        say("binary", &json!({ "program": name, "bytes": bytes }));
    }
    Ok(())
}

fn say(what: &str, figures: &Value) {
    println!("{}", json!({ "bench": what, "figures": figures }));
}

fn ms(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

/// The best of some runs: what the machine can do when it is not busy with others.
fn best<T>(runs: usize, mut run: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<f64> {
    let mut best = f64::MAX;
    for _ in 0..runs {
        let begun = Instant::now();
        run()?;
        best = best.min(ms(begun));
    }
    Ok(best)
}

fn app() -> anyhow::Result<AppName> {
    Ok("shop".parse()?)
}

fn release(version: &str) -> anyhow::Result<ReleaseRef> {
    Ok(ReleaseRef {
        version: version.parse()?,
        digest: Digest::of(version.as_bytes()),
    })
}

fn status(health: Health) -> anyhow::Result<AppStatus> {
    Ok(AppStatus {
        app: app()?,
        fence_seen: fleet_proto::fence::Fence::ZERO,
        current: Some(release("v1")?),
        last_good: Some(release("v1")?),
        health,
        step: None,
    })
}

/// A fleet of so many nodes with labels and zones, all connected and serving v1.
fn state_of(nodes: usize) -> anyhow::Result<(State, Vec<Stamped>)> {
    let mut state = State::default();
    let mut all = Vec::new();
    let mut events = vec![
        Event::TookCharge { term: 1 },
        Event::AdminsDefined {
            admins: ["bench".parse()?].into(),
        },
        Event::EnvironmentDefined {
            environment: "production".parse()?,
            select: "environment=production".parse()?,
            catch_up: CatchUp::Auto,
        },
        Event::TokenCreated {
            token: NewToken {
                id: "t".parse()?,
                secret_hash: Digest::of(b"t"),
                node: None,
                labels: Labels::new(),
                uses: u32::MAX,
                tenure: Tenure::default(),
            },
            expires_at: Timestamp(u64::MAX),
            by: "bench".into(),
        },
    ];
    for version in ["v1", "v2"] {
        events.push(Event::ReleasePushed {
            push: Box::new(PushRelease {
                app: app()?,
                release: release(version)?,
                counter: 1,
                components: vec!["web".parse()?],
                platforms: vec![Platform::any()],
                strategy: Strategy::default(),
                healthy_deadline: HealthRules::default().healthy_deadline,
                migration: None,
                signed_by: vec![],
            }),
            by: "bench".into(),
        });
    }
    let platform: Platform = "linux/amd64".parse()?;
    for i in 0..nodes {
        let node: NodeId = format!("node-{i:06}").parse()?;
        let labels: Labels = [
            ("environment", "production".to_owned()),
            ("zone", format!("zone-{}", i % 7)),
            ("role", ["api", "worker", "web"][i % 3].to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        events.push(Event::NodeEnrolled {
            node: node.clone(),
            token: "t".parse()?,
            key: Digest::of(&[]),
            certificates_from: Timestamp(0),
            labels,
            platform: platform.clone(),
            tenure: Tenure::default(),
        });
        events.push(Event::NodeConnected {
            node: node.clone(),
            agent_version: "0.1.0".into(),
            facts: Facts {
                platform: platform.clone(),
                hostname: node.to_string(),
                kernel: "6.1".into(),
                cpus: 4,
                memory: Bytes(8 << 30),
                disk: Bytes(1 << 30),
                disk_free: Bytes(1 << 30),
                booted_at: Timestamp(0),
            },
            can_be_drained: true,
        });
        let status = status(Health::Healthy)?;
        events.push(Event::NodeReported {
            node,
            app: status.app,
            current: status.current,
            last_good: status.last_good,
            health: status.health,
            busy: false,
            left: None,
        });
    }
    for event in events {
        let stamped = Stamped {
            position: state.position + 1,
            at: Timestamp(1_000),
            event,
        };
        state.apply(&stamped)?;
        all.push(stamped);
    }
    Ok((state, all))
}

fn intent() -> anyhow::Result<Intent> {
    Ok(Intent {
        version: Some("v2".parse()?),
        waves: Some("10,50,100".parse()?),
        ..Intent::default()
    })
}

fn measure_plan(nodes: usize) -> anyhow::Result<()> {
    let (state, _) = state_of(nodes)?;
    let intent = intent()?;
    let planned = best(5, || Ok(plan(&state, &intent)?))?;
    say("plan", &json!({ "nodes": nodes, "ms": planned }));
    Ok(())
}

/// A turn with 1,000 reports while a rollout runs.
fn measure_turn(nodes: usize) -> anyhow::Result<()> {
    let (mut state, _) = state_of(nodes)?;
    let settings = Settings::default();
    let start = Input::Request {
        by: Author::Operator("bench".parse()?),
        request: Request::StartRollout(intent()?),
    };
    turn(&mut state, &[start], &settings, Timestamp(2_000))?;
    let mut ill = false;
    let reported = best(5, || {
        ill = !ill;
        let inputs = (0..1_000.min(nodes))
            .map(|i| {
                let health = if ill {
                    Health::Unhealthy { why: "503".into() }
                } else {
                    Health::Healthy
                };
                // From the far end: nodes that have not been told to move.
                let node = format!("node-{:06}", nodes - 1 - i).parse()?;
                Ok(Input::NodeStatus {
                    node,
                    status: status(health)?,
                })
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(turn(&mut state, &inputs, &settings, Timestamp(3_000))?)
    })?;
    say(
        "turn",
        &json!({ "nodes": nodes, "reports": 1_000, "ms": reported }),
    );
    Ok(())
}

/// Events through the whole loop onto the disk, beside a bare append and fsync.
fn measure_driver() -> anyhow::Result<()> {
    const CLIENTS: usize = 64;
    const EACH: usize = 200;
    let directory = tempfile::tempdir()?;
    let floor_ms = fsync_floor(directory.path())?;
    let (journal, recovered) = Journal::open(&directory.path().join("journal"))?;
    let bench: OperatorName = "bench".parse()?;
    let charge = Charge {
        admins: [bench.clone()].into(),
        ..Charge::default()
    };
    let (driver, handle) = Driver::open(journal, recovered, Settings::default(), charge)?;
    let ended = driver.spawn()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let begun = Instant::now();
    runtime.block_on(async {
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let (handle, by) = (handle.clone(), Author::Operator(bench.clone()));
            clients.spawn(async move {
                for i in 0..EACH {
                    let push = PushRelease {
                        app: app()?,
                        release: release(&format!("v{client}.{i}"))?,
                        counter: 1,
                        components: vec!["web".parse()?],
                        platforms: vec![Platform::any()],
                        strategy: Strategy::default(),
                        healthy_deadline: HealthRules::default().healthy_deadline,
                        migration: None,
                        signed_by: vec![],
                    };
                    handle.submit(by.clone(), Request::PushRelease(push)).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let figures = handle.figures();
    runtime.block_on(handle.stop());
    runtime.block_on(ended)??;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (events, appends) = (figures.events as f64, figures.appends.count() as f64);
    let append_ms = figures.appends.sum() * 1e3 / appends;
    say(
        "driver",
        &json!({
            "events": figures.events, "appends": figures.appends.count(),
            "events_per_second": (events / seconds).round(),
            "append_ms": append_ms, "fsync_floor_ms": floor_ms, "ratio": append_ms / floor_ms,
        }),
    );
    Ok(())
}

fn fsync_floor(directory: &Path) -> anyhow::Result<f64> {
    const WRITES: u32 = 200;
    let mut file = std::fs::File::create(directory.join("floor"))?;
    let begun = Instant::now();
    for _ in 0..WRITES {
        file.write_all(&[7; 512])?;
        file.sync_data()?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e3 / f64::from(WRITES))
}

/// Resident kilobytes of a process.
fn resident_kb(id: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

fn measure_memory_at_rest() -> anyhow::Result<()> {
    let mut fleet = Fleet::start(3)?;
    fleet.push("v1.0.0", Behaviour::Good)?;
    let out = fleet.ctl(&["rollout", "v1.0.0"])?;
    anyhow::ensure!(out.code == 0, "{}", out.stderr);
    let agent = fleet.agent_process("n01").context("no agent")?.id();
    let coordinator = fleet.coordinator().context("no coordinator")?.id();
    say(
        "memory-at-rest",
        &json!({ "coordinator_kb": resident_kb(coordinator)?, "agent_kb": resident_kb(agent)? }),
    );
    Ok(())
}

/// From kill -9 of a coordinator with a long journal to its next command.
fn measure_takeover() -> anyhow::Result<()> {
    const EVENTS: usize = 100_000;
    let mut fleet = Fleet::start(4)?;
    for version in ["v1.0.0", "v1.1.0"] {
        fleet.push(version, Behaviour::Good)?;
    }
    let out = fleet.ctl(&["rollout", "v1.0.0"])?;
    anyhow::ensure!(out.code == 0, "{}", out.stderr);
    fleet.kill_coordinator()?;
    lengthen(&fleet, EVENTS)?;
    fleet.start_coordinator()?;
    fleet.wait_until_connected()?;
    let started = fleet.ctl(&["rollout", "v1.1.0", "--waves", "25,50,75,100", "--detach"])?;
    anyhow::ensure!(started.code == 0, "{}", started.stderr);
    let killed_at = Timestamp::now();
    fleet.kill_coordinator()?;
    let restarted = Instant::now();
    fleet.start_coordinator()?;
    let listening_ms = ms(restarted);
    let next = wait_for("the next command", PATIENCE + Duration::from_secs(60), || {
        let printed = fleet
            .ctl(&["events", "--rollout", "2", "--output", "json"])
            .ok()?;
        printed
            .stdout
            .lines()
            .filter_map(|line| serde_json::from_str::<EventView>(line).ok())
            .find(|event| event.kind == "command-issued" && event.at > killed_at)
    })?;
    say(
        "takeover",
        &json!({
            "events": EVENTS, "ms_to_next_command": next.at.since(killed_at).as_millis(),
            "ms_to_listening": listening_ms,
        }),
    );
    Ok(())
}

/// Events of a node whose health comes and goes, through a driver like any other.
fn lengthen(fleet: &Fleet, events: usize) -> anyhow::Result<()> {
    let directory = fleet.coordinator_directory().join("state/journal");
    let (journal, recovered) = Journal::open(&directory)?;
    let (driver, handle) = Driver::open(journal, recovered, Settings::default(), Charge::default())?;
    let ended = driver.spawn()?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        for i in 0..events {
            let why = format!("503, for the {i}th time");
            let status = status(Health::Unhealthy { why })?;
            handle
                .report(Input::NodeStatus {
                    node: "n01".parse()?,
                    status,
                })
                .await;
        }
        handle.stop().await;
        ended.await??;
        Ok(())
    })
}
