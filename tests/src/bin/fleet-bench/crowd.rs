//! A running coordinator with so many nodes on streams, a rollout under way, and a past.

use anyhow::Context;
use fleet_coordinator::config::Config;
use fleet_coordinator::driver::{Ending, Handle};
use fleet_coordinator::init::{Options, init};
use fleet_coordinator::journal::Journal;
use fleet_coordinator::rollout::event::Outcome;
use fleet_coordinator::rollout::input::{Author, Input, Request, Settings};
use fleet_coordinator::rollout::state::{Course, State, WaveProgress};
use fleet_coordinator::rollout::turn::turn;
use fleet_coordinator::serve::{Running, start};
use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::quantity::Bytes;
use fleet_proto::session::{Heartbeat, Phase, ToAgent};
use fleet_proto::time::Timestamp;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::{app, intent, state_of};

pub(crate) struct Crowd {
    pub runtime: Runtime,
    pub running: Running,
    _streams: Vec<mpsc::Receiver<ToAgent>>,
    _directory: tempfile::TempDir,
}

impl Crowd {
    pub fn gather(nodes: usize, past: u64) -> anyhow::Result<Self> {
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
        let (mut state, _) = state_of(nodes)?;
        remember(&mut state, past)?;
        {
            let (mut journal, _) = Journal::open(&config.journal_directory())?;
            journal.append(1, 0, &vec![b"{}".to_vec(); usize::try_from(state.position)?])?;
            journal.save_snapshot(state.position, &serde_json::to_vec(&state)?)?;
        }
        drop(state);
        let runtime = Runtime::new()?;
        let running = runtime.block_on(start(&config))?;
        let heartbeat = Heartbeat {
            cpu_percent: 95.0,
            memory_percent: 95.0,
            disk_free: Bytes(1),
            releases: vec![],
            restarting: [app()?].into(),
        };
        let names: Vec<NodeId> = running
            .handle()
            .read(|state| state.nodes.keys().cloned().collect());
        let streams = attach_all(running.handle(), names.iter(), &heartbeat);
        let started = running.handle().submit(
            Author::Operator("admin".parse()?),
            Request::StartRollout(intent()?),
        );
        runtime
            .block_on(started)
            .map_err(|refusal| anyhow::anyhow!(refusal.message))?;
        Ok(Self {
            runtime,
            running,
            _streams: streams,
            _directory: directory,
        })
    }

    pub fn disperse(self) -> anyhow::Result<()> {
        Ok(self.runtime.block_on(self.running.stop())?)
    }
}

/// Rollouts to everybody, all of them over: what an environment of that size has behind it.
fn remember(state: &mut State, past: u64) -> anyhow::Result<()> {
    if past == 0 {
        return Ok(());
    }
    let mut scratch = state.clone();
    let start = Input::Request {
        by: Author::Operator("bench".parse()?),
        request: Request::StartRollout(intent()?),
    };
    turn(&mut scratch, &[start], &Settings::default(), Timestamp(2_000))?;
    let (_, mut rollout) = scratch.rollouts.pop_first().context("it did not start")?;
    for step in rollout.steps.values_mut() {
        step.phase = Phase::Done;
    }
    rollout.open.clear();
    rollout.course = Course::Ended {
        outcome: Outcome::Succeeded,
        why: None,
        at: Timestamp(3_000),
    };
    for wave in &mut rollout.waves {
        *wave = WaveProgress {
            started_at: Some(Timestamp(2_000)),
            bake_until: Some(Timestamp(2_500)),
            passed_at: Some(Timestamp(3_000)),
        };
    }
    rollout.wave = rollout.waves.len();
    for number in 1..=past {
        rollout.number = RolloutNumber(number);
        state.rollouts.insert(rollout.number, rollout.clone());
    }
    Ok(())
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
