//! What operators do: one table.

use fleet_coordinator::rollout::event::Urgency;
use fleet_coordinator::rollout::gate::{Insistence, WithActive, WithKnownBad};
use fleet_coordinator::rollout::input::{Author, Input, Intent, Request, Retry, RollBack};
use fleet_coordinator::rollout::requests::drain::Limit;
use fleet_coordinator::rollout::state::{Course, State};
use fleet_proto::ids::{AppName, EnvironmentName, NodeId, RolloutNumber};
use fleet_proto::quantity::{Amount, Span};
use fleet_proto::release::OnFailure;

use super::Storm;
use super::agenda::Thing;
use super::dice::Dice;
use super::releases::Releases;

/// What an operator sees when deciding what to do.
pub struct Desk<'a> {
    pub state: &'a State,
    pub dice: &'a mut Dice,
    pub releases: &'a mut Releases,
    pub apps: &'a [AppName],
    pub environments: Vec<EnvironmentName>,
    pub nodes: Vec<NodeId>,
    /// Rises: nothing asks for two different things under one id.
    pub asked: u64,
}

pub struct Act {
    pub name: &'static str,
    pub weight: u64,
    /// None where it makes no sense to anybody at this moment.
    pub wish: fn(&mut Desk<'_>) -> anyhow::Result<Option<Request>>,
}

/// To add an act: one row here, one function below.
pub const ACTS: &[Act] = &[
    Act {
        name: "push",
        weight: 4,
        wish: push,
    },
    Act {
        name: "roll out",
        weight: 14,
        wish: roll_out,
    },
    Act {
        name: "pause",
        weight: 3,
        wish: pause,
    },
    Act {
        name: "resume",
        weight: 8,
        wish: resume,
    },
    Act {
        name: "abort",
        weight: 3,
        wish: abort,
    },
    Act {
        name: "roll back",
        weight: 3,
        wish: roll_back,
    },
    Act {
        name: "retry",
        weight: 3,
        wish: retry,
    },
    Act {
        name: "halt",
        weight: 1,
        wish: halt,
    },
    Act {
        name: "unhalt",
        weight: 4,
        wish: unhalt,
    },
    Act {
        name: "cordon",
        weight: 2,
        wish: cordon,
    },
    Act {
        name: "uncordon",
        weight: 3,
        wish: uncordon,
    },
    Act {
        name: "drain",
        weight: 2,
        wish: drain,
    },
    Act {
        name: "undrain",
        weight: 3,
        wish: undrain,
    },
    Act {
        name: "relabel",
        weight: 1,
        wish: relabel,
    },
    Act {
        name: "revoke",
        weight: 1,
        wish: revoke,
    },
];

fn push(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    let Some(app) = desk.dice.pick(desk.apps).cloned() else {
        return Ok(None);
    };
    let nature = Releases::any_nature(desk.dice);
    let migration = Releases::any_migration(desk.dice);
    Ok(Some(Request::PushRelease(
        desk.releases.make(&app, nature, migration)?,
    )))
}

fn roll_out(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    let Some(app) = desk.dice.pick(desk.apps).cloned() else {
        return Ok(None);
    };
    let Some(known) = desk.state.releases.get(&app) else {
        return Ok(None);
    };
    let mut known: Vec<_> = known.values().collect();
    known.sort_by_key(|release| release.counter);
    let newest = known.last().copied();
    let chosen = if desk.dice.percent(70) {
        newest
    } else {
        desk.dice.pick(&known).copied()
    };
    let Some(version) = chosen.map(|release| release.release.version.clone()) else {
        return Ok(None);
    };
    desk.asked += 1;
    let dice = &mut *desk.dice;
    let waves = dice.pick(&[
        "100",
        "10,50,100",
        "1n,25,100",
        "50",
        "10,50",
        "1n,100",
        "20,40,60,80,100",
    ]);
    let waves = waves.map(|waves| waves.parse()).transpose()?;
    let bake = dice.pick(&[0, 5, 30]).copied().unwrap_or(0);
    let canary = dice.percent(15).then(|| "zone=z1".parse()).transpose()?;
    let select = dice.percent(10).then(|| "zone=z0".parse()).transpose()?;
    Ok(Some(Request::StartRollout(Intent {
        app: Some(app),
        environment: dice.pick(&desk.environments).cloned(),
        version: Some(version),
        waves: waves.filter(|_| dice.percent(80)),
        bake: vec![Span::from_secs(bake)],
        max_in_flight: amount(dice, 10),
        max_unavailable: amount(dice, 10),
        min_available: amount(dice, 0).filter(|_| dice.percent(25)),
        max_failures: amount(dice, 0),
        max_unreachable: amount(dice, 0),
        on_failure: dice.percent(40).then_some(OnFailure::Pause),
        canary,
        request_id: Some(format!("asked-{}", desk.asked)),
        reason: Some("it is time".to_owned()),
        select: select.unwrap_or_default(),
        insistence: insistence(dice),
    })))
}

fn urgency(dice: &mut Dice) -> Urgency {
    if dice.percent(10) {
        Urgency::Emergency
    } else {
        Urgency::Ordinary
    }
}

fn known_bad(dice: &mut Dice) -> WithKnownBad {
    if dice.percent(40) {
        WithKnownBad::TryAgain
    } else {
        WithKnownBad::Refuse
    }
}

fn insistence(dice: &mut Dice) -> Insistence {
    Insistence {
        urgency: urgency(dice),
        active: if dice.percent(25) {
            WithActive::Supersede
        } else {
            WithActive::Refuse
        },
        known_bad: known_bad(dice),
    }
}

/// None: as the release says.
fn amount(dice: &mut Dice, percent_min: u64) -> Option<Amount> {
    match dice.between(0, 4) {
        0 => None,
        1 => Some(Amount::Count(u32::try_from(dice.between(0, 4)).unwrap_or(0))),
        _ => Some(Amount::Percent(
            u8::try_from(dice.between(percent_min, 101)).unwrap_or(0),
        )),
    }
}

/// Mostly what is active, at times something that is long over.
fn some_rollout(desk: &mut Desk<'_>) -> Option<RolloutNumber> {
    let active: Vec<RolloutNumber> = desk.state.active.iter().copied().collect();
    if !active.is_empty() && desk.dice.percent(90) {
        return desk.dice.pick(&active).copied();
    }
    let newest = desk.state.rollouts.keys().next_back()?.0;
    Some(RolloutNumber(desk.dice.between(1, newest + 2)))
}

fn reason(desk: &mut Desk<'_>) -> Option<String> {
    desk.dice.percent(50).then(|| "it looks odd".to_owned())
}

fn pause(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    let reason = reason(desk);
    Ok(some_rollout(desk).map(|number| Request::Pause { number, reason }))
}

fn resume(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    let Some(number) = some_rollout(desk) else {
        return Ok(None);
    };
    let held = desk
        .state
        .rollouts
        .get(&number)
        .is_some_and(|rollout| matches!(rollout.course, Course::Held { .. }));
    let widens = if held {
        desk.dice.percent(90)
    } else {
        desk.dice.percent(5)
    };
    let waves = desk.dice.pick(&["100", "75,100", "60"]).filter(|_| widens);
    let waves = waves.map(|waves| waves.parse()).transpose()?;
    Ok(Some(Request::Resume { number, waves }))
}

fn abort(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    let reason = reason(desk);
    Ok(some_rollout(desk).map(|number| Request::Abort { number, reason }))
}

fn roll_back(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    let number = some_rollout(desk).filter(|_| desk.dice.percent(60));
    let app = desk.dice.pick(desk.apps).cloned();
    let versions = app.as_ref().and_then(|app| desk.state.releases.get(app));
    let versions: Vec<_> = versions.into_iter().flat_map(|known| known.keys()).collect();
    let to = desk.dice.pick(&versions).copied().cloned();
    Ok(Some(Request::RollBack(RollBack {
        number,
        app,
        environment: desk.dice.pick(&desk.environments).cloned(),
        to: to.filter(|_| desk.dice.percent(30)),
        reason: Some("it looks bad".to_owned()),
        urgency: urgency(desk.dice),
        known_bad: known_bad(desk.dice),
    })))
}

fn retry(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    let known_bad = known_bad(desk.dice);
    let reason = reason(desk);
    Ok(some_rollout(desk).map(|number| {
        Request::Retry(Retry {
            number,
            known_bad,
            reason,
        })
    }))
}

fn some_environment(desk: &mut Desk<'_>) -> Option<EnvironmentName> {
    let one = desk.dice.percent(50);
    desk.dice.pick(&desk.environments).filter(|_| one).cloned()
}

fn halt(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    let (environment, reason) = (some_environment(desk), reason(desk));
    Ok(Some(Request::Halt { environment, reason }))
}

/// Whatever is halted, that is what people lift.
fn unhalt(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    if desk.state.halt.is_some() {
        return Ok(Some(Request::Unhalt { environment: None }));
    }
    let mut all = desk.state.environments.iter();
    let halted = all.find(|(_, within)| within.halt.is_some());
    let environment = halted.map(|(name, _)| Some(name.clone()));
    Ok(environment.map(|environment| Request::Unhalt { environment }))
}

fn cordon(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    let reason = reason(desk);
    let node = desk.dice.pick(&desk.nodes).cloned();
    Ok(node.map(|node| Request::CordonNode { node, reason }))
}

fn uncordon(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    let all = desk.state.nodes.iter();
    let cordoned: Vec<&NodeId> = all
        .filter(|(_, node)| node.cordon.is_some())
        .map(|(id, _)| id)
        .collect();
    let node = desk.dice.pick(&cordoned).copied().cloned();
    Ok(node.map(|node| Request::UncordonNode { node }))
}

fn drain(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    let reason = reason(desk);
    let limit = if desk.dice.percent(20) {
        Limit::Override
    } else {
        Limit::Keep
    };
    let node = desk.dice.pick(&desk.nodes).cloned();
    Ok(node.map(|node| Request::DrainNode { node, reason, limit }))
}

/// Also what is drained by the word of nobody here.
fn undrain(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    let all = desk.state.nodes.iter();
    let drained: Vec<&NodeId> = all
        .filter(|(_, node)| node.service.drained)
        .map(|(id, _)| id)
        .collect();
    let node = desk.dice.pick(&drained).copied().cloned();
    Ok(node.map(|node| Request::UndrainNode { node }))
}

/// Also to another environment, in the middle of whatever goes on there.
fn relabel(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    let Some(node) = desk.dice.pick(&desk.nodes).cloned() else {
        return Ok(None);
    };
    let environment = desk.dice.pick(&desk.environments).map(ToString::to_string);
    let set = environment
        .map(|environment| ("environment".to_owned(), environment))
        .into_iter()
        .collect();
    let remove = if desk.dice.percent(20) {
        vec!["zone".to_owned()]
    } else {
        vec![]
    };
    Ok(Some(Request::LabelNode { node, set, remove }))
}

/// Rarely, for the fleet gets smaller.
fn revoke(desk: &mut Desk<'_>) -> anyhow::Result<Option<Request>> {
    let revokes = desk.dice.percent(15);
    let node = desk.dice.pick(&desk.nodes).filter(|_| revokes).cloned();
    Ok(node.map(|node| Request::RevokeNode {
        node,
        reason: "its disk was stolen".to_owned(),
    }))
}

impl Storm {
    pub(super) fn operator_acts(&mut self) -> anyhow::Result<()> {
        // Two of them at once, at times.
        let pause = if self.dice.percent(20) {
            self.dice.delay(100)
        } else {
            self.dice.between(1_000, self.faults.operator_every_ms * 2)
        };
        let at = self.now + pause;
        self.agenda.add(at, Thing::Operator);
        if !self.coordinator.is_up() {
            return Ok(());
        }
        let Some(act) = self.dice.weighted(ACTS, |act| act.weight) else {
            return Ok(());
        };
        let mut desk = Desk {
            state: &self.coordinator.acknowledged,
            dice: &mut self.dice,
            releases: &mut self.releases,
            apps: &self.apps,
            environments: self.coordinator.environments.keys().cloned().collect(),
            nodes: self.machines.iter().map(|machine| machine.id.clone()).collect(),
            asked: self.asked,
        };
        let wish = (act.wish)(&mut desk)?;
        self.asked = desk.asked;
        let Some(request) = wish else { return Ok(()) };
        // Whoever lost the answer asks again.
        let times = if self.dice.percent(10) { 2 } else { 1 };
        self.tell(|_| format!("an operator asks to {}, {times} times: {request:?}", act.name));
        for _ in 0..times {
            self.ask(request.clone());
        }
        Ok(())
    }

    pub(super) fn ask(&mut self, request: Request) {
        let by = Author::Operator(self.operator.clone());
        self.submit(Input::Request { by, request });
    }
}
