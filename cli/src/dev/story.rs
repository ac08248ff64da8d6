//! The whole tale: a release goes out, a better one follows in waves, a bad one is
//! stopped in its first wave and put back.

use std::time::{Duration, Instant};

use fleet_proto::ids::NodeId;
use fleet_proto::quantity::Span;
use fleet_proto::session::Phase;
use fleet_proto::view::{RolloutStateView, RolloutView};
use serde::Serialize;

use super::ask;
use super::fleet::{ENVIRONMENT, Fleet};
use super::sample::APP;
use crate::commands::rollout;
use crate::error::Error;
use crate::follow::{self, Followed};
use crate::intent::IntentArgs;
use crate::operator::Operator;
use crate::render;
use crate::render::screen::Screen;
use crate::scope::Scope;

/// An app that was just put back may need a moment to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// One rollout of the tale.
#[derive(Debug, Clone, Serialize)]
pub struct Chapter {
    pub rollout: u64,
    pub release: String,
    pub waves: String,
    pub outcome: String,
    pub seconds: f64,
    /// How many nodes it moved.
    pub nodes: usize,
    pub as_it_should: bool,
}

/// What a node's app answered at the end.
#[derive(Debug, Clone, Serialize)]
pub struct Answered {
    pub node: String,
    pub version: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Tale {
    pub chapters: Vec<Chapter>,
    pub answers: Vec<Answered>,
    pub seconds: f64,
    pub as_it_should: bool,
}

enum Expected {
    Everywhere,
    StoppedInTheFirstWave,
}

const TALE: [(&str, &str, Expected); 3] = [
    ("v1.0.0", "100", Expected::Everywhere),
    ("v1.1.0", "10,50,100", Expected::Everywhere),
    ("v1.2.0", "10,50,100", Expected::StoppedInTheFirstWave),
];
const SERVED_AT_THE_END: &str = "v1.1.0";

pub async fn tell(fleet: &Fleet, operator: &mut Operator, screen: &Screen) -> Result<Tale, Error> {
    let begun = Instant::now();
    let mut chapters = Vec::new();
    for (version, waves, expected) in &TALE {
        let chapter = chapter(operator, screen, version, waves, expected).await?;
        let goes_on = chapter.as_it_should;
        chapters.push(chapter);
        if !goes_on {
            break;
        }
    }
    let answers = ask_all(fleet).await;
    let as_it_should = chapters.len() == TALE.len()
        && chapters.iter().all(|chapter| chapter.as_it_should)
        && answers.iter().all(serves_the_good_one);
    Ok(Tale {
        chapters,
        answers,
        seconds: begun.elapsed().as_secs_f64(),
        as_it_should,
    })
}

async fn chapter(
    operator: &mut Operator,
    screen: &Screen,
    version: &str,
    waves: &str,
    expected: &Expected,
) -> Result<Chapter, Error> {
    let begun = Instant::now();
    screen.say(&format!("\n$ fleetctl rollout {version} --waves {waves}"));
    let mut args = IntentArgs::plain(version.parse()?);
    args.waves = waves.parse().ok();
    let intent = args.intent(Scope {
        app: APP.to_owned(),
        environment: ENVIRONMENT.to_owned(),
    });
    let plan = operator.plan(intent.clone()).await?.view;
    screen.say(&render::plan::brief(&plan));
    let started = rollout::start(operator, &plan, intent).await?;
    let followed = follow::follow(operator, screen, started).await?;
    let view = &followed.rollout.view;
    let rollback = followed.rollback.as_ref().map(|answer| &answer.view);
    // Whoever interrupts the story knows how it ended.
    if !followed.interrupted {
        screen.say(&match view.state {
            RolloutStateView::Succeeded => render::outcome::success(view),
            _ => render::outcome::failure(view, rollback),
        });
    }
    Ok(Chapter {
        rollout: view.number.0,
        release: version.to_owned(),
        waves: waves.to_owned(),
        outcome: outcome(&followed),
        seconds: begun.elapsed().as_secs_f64(),
        nodes: moved(view).len(),
        as_it_should: is_as_expected(&followed, expected),
    })
}

fn moved(view: &RolloutView) -> Vec<&NodeId> {
    let moved = view.steps.iter().filter(|step| step.phase != Phase::Pending);
    moved.map(|step| &step.node).collect()
}

fn outcome(followed: &Followed) -> String {
    let view = &followed.rollout.view;
    let failed = view.steps.iter().find(|step| step.failure.is_some());
    match (view.state, failed) {
        (RolloutStateView::Succeeded, _) => "succeeded".to_owned(),
        (state, Some(step)) => format!("{} in wave {}, put back", state.word(), step.wave),
        (state, None) => state.word().to_owned(),
    }
}

fn is_as_expected(followed: &Followed, expected: &Expected) -> bool {
    let view = &followed.rollout.view;
    match expected {
        Expected::Everywhere => view.state == RolloutStateView::Succeeded,
        Expected::StoppedInTheFirstWave => {
            let only_first = view
                .steps
                .iter()
                .all(|step| step.wave == 1 || step.phase == Phase::Pending);
            let put_back = followed
                .rollback
                .as_ref()
                .is_none_or(|answer| answer.view.state == RolloutStateView::Succeeded);
            view.state == RolloutStateView::Failed && only_first && put_back
        }
    }
}

/// The proof is what a user sees: every node's app says which version it is.
async fn ask_all(fleet: &Fleet) -> Vec<Answered> {
    let begun = Instant::now();
    loop {
        let mut answers = Vec::new();
        for node in &fleet.nodes {
            answers.push(Answered {
                node: node.name.clone(),
                version: ask::version(node.port).await,
            });
        }
        if answers.iter().all(serves_the_good_one) || begun.elapsed() > ANSWER_DEADLINE {
            return answers;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn serves_the_good_one(answer: &Answered) -> bool {
    answer.version.as_deref() == Some(SERVED_AT_THE_END)
}

impl Tale {
    pub fn took(&self) -> Span {
        Span::from_millis(
            Duration::from_secs_f64(self.seconds)
                .as_millis()
                .try_into()
                .unwrap_or(u64::MAX),
        )
    }
}
