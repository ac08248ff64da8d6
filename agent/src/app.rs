//! One app on the node: two lanes that carry out its work, one that fetches and one
//! that runs. Neither decides anything; what came of it goes to the daemon.

mod baseline;
mod confirm;
mod could_not;
mod fetch_lane;
mod hooks;
mod migrating;
mod put_back;
mod smoke;
mod still;
mod tell;

use std::time::Duration;

use fleet_proto::ids::AppName;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::Health;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::crew::Crew;
use crate::effects::admit::History;
use crate::effects::converge::{Ask, Converge, ConvergeError, Look, Started, Target};
use crate::effects::fetch::Node;
use crate::figures::AppFigures;
use crate::install::{Outcome, Purpose, Work};
use crate::link::Reach;
use crate::probe::judge::Verdict;
use crate::secrets::kept::know_all;
use crate::tasks::{Ended, watch};
use confirm::{Confirming, confirmed, contact, put_back_confirmed};
use could_not::Trying;
use fetch_lane::fetch_lane;
use hooks::Undraining;
use migrating::{Migrating, end_of};
use put_back::put_back;
use smoke::Smoking;
use still::Made;

/// While something waits for a verdict, and while nothing does.
const JUDGE_EVERY: Duration = Duration::from_millis(100);
const REST_EVERY: Duration = Duration::from_secs(2);

/// What the daemon wants of an app at the moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Rises with each piece of work; an outcome of an older one is nobody's.
    pub number: u64,
    /// None where nothing was ever ordered: whatever runs is not touched.
    pub work: Option<Work>,
    /// The node is drained: nothing runs, whatever the work says.
    pub drained: bool,
    /// What may be fetched ahead of an order.
    pub prefetch: Option<ReleaseRef>,
    pub history: History,
}

#[derive(Debug)]
pub enum AppEvent {
    Outcome {
        assignment: u64,
        outcome: Outcome,
    },
    Fetched {
        outcome: Outcome,
    },
    Health(Health),
    /// The node is drained, and nothing of the app runs any more.
    Still {
        assignment: u64,
    },
    /// Nothing more would be done for the app.
    LaneEnded(Ended),
}

pub type Events = mpsc::Sender<(AppName, AppEvent)>;

/// Ends its lanes when dropped; processes go on.
pub struct App {
    converge: Converge,
    assignment: watch::Sender<Assignment>,
    _lanes: JoinSet<()>,
}

impl App {
    pub fn begin(
        node: Node,
        converge: Converge,
        figures: AppFigures,
        events: Events,
        first: Assignment,
    ) -> Self {
        let (assignment, receiver) = watch::channel(first);
        let app = &converge.app;
        let reach = node.reach.clone();
        know_all(&converge.layout, app);
        let fetching = fetch_lane(node, app.clone(), receiver.clone(), events.clone());
        let running = RunLane {
            converge: converge.clone(),
            figures,
            events: events.clone(),
            assignment: receiver,
            crew: None,
            converged: None,
            health: None,
            trying: None,
            migrating: None,
            reach,
            confirming: None,
            smoking: None,
            undraining: None,
            has_undrained: false,
        };
        let mut lanes = JoinSet::new();
        lanes.spawn(watch_lane("fetch lane", app.clone(), events.clone(), fetching));
        lanes.spawn(watch_lane("run lane", app.clone(), events, running.run()));
        Self {
            converge,
            assignment,
            _lanes: lanes,
        }
    }

    /// Of the newest assignment.
    pub fn number(&self) -> u64 {
        self.assignment.borrow().number
    }

    /// The one that the lanes use, with its gate.
    pub fn converge(&self) -> Converge {
        self.converge.clone()
    }

    /// The same work goes on under the number that it has, whatever else has changed.
    pub fn assign(&self, next: Assignment) {
        self.assignment.send_modify(|now| {
            let number = if (&now.work, now.drained) == (&next.work, next.drained) {
                now.number
            } else {
                next.number
            };
            *now = Assignment { number, ..next };
        });
    }
}

async fn watch_lane(
    task: &'static str,
    app: AppName,
    events: Events,
    lane: impl Future<Output = ()> + Send + 'static,
) {
    let ended = watch(task, lane).await;
    let _daemon_gone = events.send((app, AppEvent::LaneEnded(ended))).await;
}

struct RunLane {
    converge: Converge,
    figures: AppFigures,
    events: Events,
    assignment: watch::Receiver<Assignment>,
    crew: Option<Crew>,
    /// What has been made to run.
    converged: Option<Made>,
    /// As it was told last.
    health: Option<Health>,
    /// While it cannot be made so.
    trying: Option<Trying>,
    migrating: Option<Migrating>,
    reach: Reach,
    confirming: Option<Confirming>,
    smoking: Option<Smoking>,
    undraining: Option<Undraining>,
    /// All of what runs now, as well as that went.
    has_undrained: bool,
}

/// The daemon is gone.
struct Over;

/// Until there is any. What else has changed, as what to fetch ahead, must not begin a
/// verification anew.
async fn other_work(assignment: &mut watch::Receiver<Assignment>, at: u64) -> Result<(), Over> {
    while assignment.borrow_and_update().number == at {
        assignment.changed().await.map_err(|_| Over)?;
    }
    Ok(())
}

/// What the lane is at.
struct Task {
    number: u64,
    work: Work,
    drained: bool,
}

impl RunLane {
    async fn run(mut self) {
        let mut earlier = None;
        loop {
            let (number, work, drained) = {
                let now = self.assignment.borrow_and_update();
                (now.number, now.work.clone(), now.drained)
            };
            let Some(work) = work else {
                if self.assignment.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let now = Task {
                number,
                work,
                drained,
            };
            // How it is says nothing of how it will be when it runs again.
            if drained && self.crew.is_some() && self.tell_this_health(Health::Unknown).await.is_err() {
                return;
            }
            let made = self.make_so(&now).await;
            if made.is_ok() {
                self.trying = None;
            }
            let ended = match made {
                Ok(()) if drained => self.stand_by(&now).await,
                Ok(()) => self.attend(&now, earlier).await,
                Err(error) => self.could_not(&now, &error).await,
            };
            earlier = Some(now.work.purpose);
            if matches!(ended, Err(Over)) {
                return;
            }
        }
    }

    async fn make_so(&mut self, now: &Task) -> Result<(), ConvergeError> {
        let wanted = Made {
            target: Target::of(&now.work),
            drained: now.drained,
        };
        if self.converged.as_ref() == Some(&wanted) {
            return Ok(());
        }
        let baseline = self.baseline(now);
        self.converged = None;
        self.has_undrained = false;
        if now.drained {
            self.stand_still(now).await?;
            self.converged = Some(wanted);
            return Ok(());
        }
        let (look, ask) = match now.work.purpose {
            Purpose::Activate => (Look::AtNothing, Ask::Providers),
            _ => (Look::AtBytes, Ask::KeptElseProviders),
        };
        let started = self.make_run(now, look, ask).await?;
        self.converged = Some(wanted);
        self.crew = started.map(|started| Crew::begin(started, baseline, self.figures.clone()));
        Ok(())
    }

    async fn make_run(&self, now: &Task, look: Look, ask: Ask) -> Result<Option<Started>, ConvergeError> {
        let converge = self.converge.clone();
        let target = Target::of(&now.work);
        let (assignment, wanted) = (self.assignment.clone(), now.wanted());
        self.blocking(move || {
            // A unit may take minutes to be ready; whoever orders something else does not wait.
            let is_interrupted = || wanted.is_over(&assignment);
            converge.run(target.as_ref(), look, wanted.occasion, ask, &is_interrupted)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ConvergeError> + Send + 'static,
    ) -> Result<T, ConvergeError> {
        let ran = tokio::task::spawn_blocking(work).await;
        ran.unwrap_or_else(|error| {
            let path = self.converge.layout.app(&self.converge.app);
            Err(crate::durable::failed("work in", path)(std::io::Error::other(error)).into())
        })
    }

    /// Looks on until there is other work.
    async fn attend(&mut self, now: &Task, earlier: Option<Purpose>) -> Result<(), Over> {
        let purpose = now.work.purpose;
        if purpose == Purpose::Verify && earlier != Some(Purpose::Activate) {
            // It has run for a while: its time to prove itself begins now.
            let measures = earlier == Some(Purpose::Rest);
            self.crew = self.crew.take().map(|crew| crew.begin_again(measures));
        }
        if let (Purpose::Bake, Some(crew)) = (purpose, &mut self.crew) {
            crew.judge.begin_bake();
        }
        self.begin_migration(now);
        self.confirming = self.confirming(&now.work);
        self.smoking = None;
        self.keep_undraining_for(now);
        let mut judging = purpose != Purpose::Rest;
        loop {
            self.tell_health().await?;
            self.undrain_at_rest(now);
            let outcome = judging.then(|| self.judge(purpose)).flatten();
            let outcome = outcome.and_then(|outcome| self.undrain_first(now, outcome));
            if let Some(outcome) = outcome {
                judging = false;
                self.tell(now, outcome).await?;
            }
            // While it has to prove itself, a keeper that goes is a proof to the contrary.
            let proves_itself = judging && !matches!(purpose, Purpose::Bake | Purpose::Smoke);
            if !proves_itself && self.crew.as_ref().is_some_and(Crew::has_lost_a_keeper) {
                tracing::warn!(app = %self.converge.app, "a keeper is gone; taking its process in hand again");
                self.converged = None;
                return Ok(());
            }
            let pause = if judging { JUDGE_EVERY } else { REST_EVERY };
            let look = tokio::time::sleep(pause);
            tokio::pin!(look);
            loop {
                tokio::select! {
                    other = other_work(&mut self.assignment, now.number) => return other,
                    () = &mut look => break,
                    outcome = end_of(&mut self.migrating) => self.settle_migrating(now, outcome).await?,
                    ended = hooks::end_of(&mut self.undraining) => {
                        if let Some(outcome) = self.settle_undraining(ended).filter(|_| judging) {
                            judging = false;
                            self.tell(now, outcome).await?;
                        }
                    }
                    () = watch_or_wait(&mut self.crew) => self.tell_health().await?,
                }
            }
        }
    }

    fn judge(&mut self, purpose: Purpose) -> Option<Outcome> {
        let contact = contact(&mut self.confirming);
        if self.undraining.is_some() && !matches!(purpose, Purpose::Bake | Purpose::Smoke) {
            return self.judge_meanwhile(purpose);
        }
        let crew = self.crew.as_ref();
        match purpose {
            Purpose::Rest => None,
            Purpose::PutBack => put_back_confirmed(put_back(crew), contact),
            Purpose::Activate => crew.map(|_| Outcome::Activated),
            Purpose::Verify => confirmed(crew.and_then(|crew| outcome(crew, crew.verify())), contact),
            Purpose::Bake => crew.and_then(|crew| outcome(crew, crew.bake())),
            Purpose::Smoke => self.smoked(),
        }
    }
}

fn outcome(crew: &Crew, verdict: Verdict) -> Option<Outcome> {
    match verdict {
        Verdict::Open => None,
        Verdict::Passed => {
            let components = &crew.started.slot.manifest.components;
            let has_smoke = components.iter().any(|component| !component.smoke.is_empty());
            Some(Outcome::Verified { has_smoke })
        }
        Verdict::Failed(finding) => Some(Outcome::Failed(crew.failure(finding))),
    }
}

async fn watch_or_wait(crew: &mut Option<Crew>) {
    match crew {
        Some(crew) => crew.watch().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lane_that_panics_is_told_to_the_daemon() {
        let (events, mut told) = mpsc::channel(1);
        let lane = watch_lane("run lane", "shop".parse().unwrap(), events, async {
            panic!("no more")
        });
        lane.await;
        let (app, event) = told.recv().await.unwrap();
        assert_eq!(app.as_str(), "shop");
        assert!(matches!(event, AppEvent::LaneEnded(ended) if ended.how.contains("no more")));
    }
}
