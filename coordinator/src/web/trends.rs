//! How nodes have been since a rollout reached them, beside how they were before: by their
//! heartbeats, which are in no journal, so that a restart begins anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::session::{Heartbeat, Phase};
use fleet_proto::time::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Web;
use super::answers::Answer;
use super::asked::{Asked, Named};
use super::views::{Answered, Nothing, must_be_there};
use crate::driver::Handle;
use crate::rollout::state::Rollout;

/// As often as nodes say how they are.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// An hour of it.
const POINTS_KEPT: usize = 720;
/// The newest; whoever compares looks at a few.
const ROLLOUTS_KEPT: usize = 64;

#[derive(Debug, Default)]
pub struct Trends {
    of: Mutex<BTreeMap<RolloutNumber, Kept>>,
}

/// Percent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Look {
    cpu: f64,
    memory: f64,
}

impl From<&Heartbeat> for Look {
    fn from(heartbeat: &Heartbeat) -> Self {
        Self {
            cpu: heartbeat.cpu_percent,
            memory: heartbeat.memory_percent,
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    /// Its nodes, when it was first looked at: of most of them it is the time before.
    baseline: Option<Spread>,
    points: VecDeque<(Timestamp, Spread)>,
}

/// The middle and the worst of so many.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    median: Look,
    worst: Look,
    nodes: usize,
}

impl Spread {
    fn of(looks: &[Look]) -> Option<Self> {
        let of = |figure: fn(&Look) -> f64| {
            let mut all: Vec<f64> = looks.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            Some((*all.get(all.len() / 2)?, *all.last()?))
        };
        let (cpu, worst_cpu) = of(|look| look.cpu)?;
        let (memory, worst_memory) = of(|look| look.memory)?;
        Some(Self {
            median: Look { cpu, memory },
            worst: Look {
                cpu: worst_cpu,
                memory: worst_memory,
            },
            nodes: looks.len(),
        })
    }
}

/// Whom a rollout is about, and whom it has reached.
struct Reached {
    number: RolloutNumber,
    all: BTreeSet<NodeId>,
    switched: BTreeSet<NodeId>,
}

fn reached(rollout: &Rollout) -> Reached {
    let has_switched = |phase: Phase| {
        !matches!(
            phase,
            Phase::Pending | Phase::Fetching | Phase::Staged | Phase::Migrating
        )
    };
    let switched = rollout.steps.iter();
    Reached {
        number: rollout.number,
        all: rollout.steps.keys().cloned().collect(),
        switched: switched
            .filter(|(_, step)| has_switched(step.phase))
            .map(|(id, _)| id.clone())
            .collect(),
    }
}

impl Trends {
    pub fn start(handle: Handle, stopping: CancellationToken) -> Arc<Self> {
        let trends = Arc::new(Self::default());
        let looking = trends.clone();
        tokio::spawn(async move {
            let look = async {
                loop {
                    tokio::time::sleep(LOOK_EVERY).await;
                    looking.look(&handle, Timestamp::now());
                }
            };
            stopping.run_until_cancelled(look).await;
        });
        trends
    }

    fn look(&self, handle: &Handle, now: Timestamp) {
        let active: Vec<Reached> = handle.read(|state| {
            let rollouts = state.active.iter();
            let rollouts = rollouts.filter_map(|number| state.rollouts.get(number));
            rollouts.map(reached).collect()
        });
        if active.is_empty() {
            return;
        }
        let mut looks = BTreeMap::new();
        handle.sessions().each_heartbeat(|node, heartbeat| {
            looks.insert(node.clone(), Look::from(heartbeat));
        });
        for rollout in active {
            self.note(&rollout, &looks, now);
        }
    }

    fn note(&self, rollout: &Reached, looks: &BTreeMap<NodeId, Look>, now: Timestamp) {
        let of = |nodes: &BTreeSet<NodeId>| {
            let looks: Vec<Look> = nodes.iter().filter_map(|node| looks.get(node).copied()).collect();
            Spread::of(&looks)
        };
        let mut kept = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.len() >= ROLLOUTS_KEPT && !kept.contains_key(&rollout.number) {
            kept.pop_first();
        }
        let kept = kept.entry(rollout.number).or_default();
        if kept.baseline.is_none() {
            kept.baseline = of(&rollout.all);
        }
        if let Some(spread) = of(&rollout.switched) {
            kept.points.push_back((now, spread));
        }
        if kept.points.len() > POINTS_KEPT {
            kept.points.pop_front();
        }
    }

    fn show(&self, number: RolloutNumber) -> TrendsBoard {
        let kept = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = kept.get(&number) else {
            return TrendsBoard { figures: vec![] };
        };
        let trend = |name, figure: fn(&Look) -> f64| TrendBoard {
            figure: name,
            unit: "percent",
            baseline: kept.baseline.map(|spread| figure(&spread.median)),
            limit: None,
            points: kept
                .points
                .iter()
                .map(|(at, spread)| PointBoard {
                    at: *at,
                    median: figure(&spread.median),
                    worst: figure(&spread.worst),
                    nodes: spread.nodes,
                })
                .collect(),
        };
        TrendsBoard {
            figures: vec![trend("cpu", |look| look.cpu), trend("memory", |look| look.memory)],
        }
    }
}

#[derive(Debug, Serialize)]
struct TrendsBoard {
    figures: Vec<TrendBoard>,
}

#[derive(Debug, Serialize)]
struct TrendBoard {
    figure: &'static str,
    unit: &'static str,
    baseline: Option<f64>,
    limit: Option<f64>,
    points: Vec<PointBoard>,
}

#[derive(Debug, Serialize)]
struct PointBoard {
    at: Timestamp,
    median: f64,
    worst: f64,
    nodes: usize,
}

pub(super) async fn show(
    State(web): State<Web>,
    Named(number): Named<RolloutNumber>,
    _: Asked<Nothing>,
    headers: HeaderMap,
) -> Answered {
    must_be_there(&web, number)?;
    Ok(Answer::of(&web.trends.show(number))?.to(&headers))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> BTreeSet<NodeId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn what_was_before_is_beside_what_is() {
        let trends = Trends::default();
        let look = |cpu: f64| Look { cpu, memory: 50.0 };
        let looks = |figures: [f64; 3]| -> BTreeMap<NodeId, Look> {
            let names = ["a", "b", "c"].map(|name| name.parse().unwrap());
            names.into_iter().zip(figures.map(look)).collect()
        };
        let reached = |switched: &[&str]| Reached {
            number: RolloutNumber(1),
            all: nodes(&["a", "b", "c"]),
            switched: nodes(switched),
        };
        trends.note(&reached(&[]), &looks([10.0, 20.0, 30.0]), Timestamp(1));
        trends.note(&reached(&["a"]), &looks([80.0, 20.0, 30.0]), Timestamp(2));
        trends.note(
            &reached(&["a", "b", "c"]),
            &looks([80.0, 90.0, 30.0]),
            Timestamp(3),
        );
        let shown = trends.show(RolloutNumber(1));
        let cpu = &shown.figures[0];
        assert_eq!((cpu.figure, cpu.baseline), ("cpu", Some(20.0)));
        let points: Vec<(u64, f64, f64, usize)> = cpu
            .points
            .iter()
            .map(|point| (point.at.0, point.median, point.worst, point.nodes))
            .collect();
        assert_eq!(points, [(2, 80.0, 80.0, 1), (3, 80.0, 90.0, 3)]);
        assert!(trends.show(RolloutNumber(2)).figures.is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let trends = Trends::default();
        let looks = BTreeMap::from([("a".parse().unwrap(), Look::default())]);
        for number in 1..=(ROLLOUTS_KEPT as u64 + 3) {
            let reached = Reached {
                number: RolloutNumber(number),
                all: nodes(&["a"]),
                switched: nodes(&["a"]),
            };
            for at in 0..3 {
                trends.note(&reached, &looks, Timestamp(at));
            }
        }
        let kept = trends.of.lock().unwrap();
        assert_eq!(
            (kept.len(), kept.first_key_value().unwrap().0.0),
            (ROLLOUTS_KEPT, 4)
        );
    }
}
