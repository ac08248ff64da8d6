//! The checks of a release that runs, and the judge whom they report to.

use std::time::{Duration, Instant};

use fleet_proto::release::{Check, Probe};
use fleet_proto::session::{Failure, FailureClass, Health};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::effects::converge::{Part, Started};
use crate::figures::AppFigures;
use crate::probe::judge::{Finding, Judge, Verdict};
use crate::probe::resources::{Meter, Share};
use crate::probe::window::Baseline;
use crate::probe::{Reading, look};
use crate::process::managers::log_tail;
use crate::process::standing::{Standing, glance, is_in_hand};

/// Until a check passes for the first time it is looked at this often, so that a node
/// is found healthy soon after it is.
const IMPATIENT: Duration = Duration::from_millis(250);
/// How often processes are looked at, which costs one small file.
const PROCESS_EVERY: Duration = Duration::from_secs(1);
const RESOURCES_EVERY: Duration = Duration::from_secs(5);
/// Readings wait for the judge; checks wait with them past this.
const READINGS_MAX: usize = 64;
pub const LOG_LINES: usize = 20;

/// What the checks send.
#[derive(Debug)]
pub enum Sight {
    Reading(Reading),
    Restarts {
        component: String,
        restarts: u64,
        last_exit: Option<String>,
        is_given_up: bool,
    },
    Share {
        component: String,
        share: Share,
    },
}

/// Ends its checks when dropped.
pub struct Crew {
    pub started: Started,
    pub judge: Judge,
    figures: AppFigures,
    began: Instant,
    sights: mpsc::Receiver<Sight>,
    checks: JoinSet<()>,
}

impl Crew {
    pub fn begin(started: Started, baseline: Option<Baseline>, figures: AppFigures) -> Self {
        let (sender, sights) = mpsc::channel(READINGS_MAX);
        let began = Instant::now();
        let mut checks = JoinSet::new();
        let mut names = Vec::new();
        for part in &started.parts {
            for check in checks_of(part) {
                let name = format!("{}/{}", part.component.name, check.name);
                names.push(name.clone());
                checks.spawn(keep_looking(part.clone(), check, name, began, sender.clone()));
            }
            checks.spawn(keep_counting(part.clone(), sender.clone()));
            checks.spawn(keep_measuring(part.clone(), sender.clone()));
        }
        let components = started.parts.iter().map(|part| part.component.name.to_string());
        figures.begin(&names, &components.collect());
        let rules = started.slot.manifest.health.clone();
        Self {
            judge: Judge::new(rules, names, baseline),
            figures,
            started,
            began,
            sights,
            checks,
        }
    }

    /// The next sight, told to the judge. A check that broke down would never be heard
    /// of again, so its panic goes on in whoever watches.
    pub async fn watch(&mut self) {
        let sight = tokio::select! {
            sight = self.sights.recv() => sight,
            Some(Err(broken)) = self.checks.join_next() => match broken.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_cancelled) => return,
            },
        };
        match sight {
            Some(Sight::Reading(reading)) => {
                self.figures.note_check(&reading.check, reading.result.is_ok());
                self.judge.take(&reading);
            }
            Some(Sight::Restarts {
                component,
                restarts,
                last_exit,
                is_given_up,
            }) => {
                self.figures.note_restarts(&component, restarts);
                self.judge.take_restarts(&component, restarts, last_exit);
                self.judge.take_given_up(&component, is_given_up);
            }
            Some(Sight::Share { component, share }) => self.judge.take_share(&component, share),
            // No check is left to say anything; the caller's own clock goes on.
            None => std::future::pending().await,
        }
    }

    pub fn since_began(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn health(&self) -> Health {
        self.judge.health(self.since_began())
    }

    pub fn verify(&self) -> Verdict {
        self.judge.verify(self.since_began())
    }

    pub fn bake(&self) -> Verdict {
        self.judge.bake(self.since_began())
    }

    /// Somebody has killed a keeper: its process has to be taken in hand again.
    pub fn has_lost_a_keeper(&self) -> bool {
        self.started.parts.iter().any(|part| !is_in_hand(&part.run))
    }

    /// The deadlines of a verification count from here. What has been at rest until now is its
    /// own measure.
    pub fn begin_again(self, measures: bool) -> Self {
        let Self {
            started,
            judge,
            figures,
            ..
        } = self;
        let measured = judge.baseline().filter(|_| measures);
        Self::begin(started, measured.or(judge.held_against()), figures)
    }

    pub fn failure(&self, finding: Finding) -> Failure {
        Failure {
            class: FailureClass::Release,
            // Its manager may keep one waiting.
            log_tail: tokio::task::block_in_place(|| self.log_tail(&finding.check)),
            check: Some(finding.check),
            message: finding.message,
            figure: finding.figure,
            limit: finding.limit,
        }
    }

    /// Of the component that the check belongs to, else of the first that said anything.
    fn log_tail(&self, check: &str) -> Vec<String> {
        let name = check.split('/').next().unwrap_or_default();
        let tail = |part: &Part| Some(log_tail(&part.run, LOG_LINES)).filter(|lines| !lines.is_empty());
        let parts = &self.started.parts;
        parts
            .iter()
            .filter(|part| part.component.name.as_str() == name)
            .chain(parts)
            .find_map(tail)
            .unwrap_or_default()
    }
}

/// A component without a check of its process gets one: a health check may be answered
/// by something else that listens there.
fn checks_of(part: &Part) -> Vec<Check> {
    let mut checks = part.component.checks.clone();
    let has_own = checks.iter().any(|check| matches!(check.probe, Probe::Process));
    if let (false, Ok(name)) = (has_own, "process".parse()) {
        checks.push(Check {
            name,
            interval: fleet_proto::quantity::Span::from_secs(1),
            timeout: fleet_proto::quantity::Span::from_secs(2),
            probe: Probe::Process,
        });
    }
    checks
}

async fn keep_looking(part: Part, check: Check, name: String, began: Instant, to: mpsc::Sender<Sight>) {
    let interval = check.interval.as_duration();
    let mut has_passed = false;
    loop {
        let result = look(&part, &check).await;
        has_passed |= result.is_ok();
        let pause = if has_passed {
            interval
        } else {
            interval.min(IMPATIENT)
        };
        let reading = Reading {
            check: name.clone(),
            at: began.elapsed(),
            result,
        };
        if to.send(Sight::Reading(reading)).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Restarts are counted from when the checks began: an agent that takes over a process
/// has not seen it fail.
async fn keep_counting(part: Part, to: mpsc::Sender<Sight>) {
    let mut before = None;
    loop {
        if let Some(state) = look_at(&part).await {
            let before = *before.get_or_insert(state.restarts);
            let sight = Sight::Restarts {
                component: part.component.name.to_string(),
                restarts: state.restarts.saturating_sub(before),
                last_exit: state.last_exit,
                is_given_up: state.is_given_up,
            };
            if to.send(sight).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(PROCESS_EVERY).await;
    }
}

/// Where systemd has to be asked it may keep one waiting.
pub async fn look_at(part: &Part) -> Option<Standing> {
    let run = part.run.clone();
    tokio::task::spawn_blocking(move || glance(&run)).await.ok()?
}

async fn keep_measuring(part: Part, to: mpsc::Sender<Sight>) {
    let mut meter = Meter::new(part.run.clone());
    loop {
        // All processes of the node are looked at, and there may be thousands.
        let looked = tokio::task::spawn_blocking(move || {
            let share = meter.look();
            (meter, share)
        });
        let Ok((back, share)) = looked.await else {
            return;
        };
        meter = back;
        if let Some(share) = share {
            let component = part.component.name.to_string();
            if to.send(Sight::Share { component, share }).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(RESOURCES_EVERY).await;
    }
}
