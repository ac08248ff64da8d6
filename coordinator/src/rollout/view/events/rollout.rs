//! What is said of the events of a rollout.

use fleet_proto::ids::RolloutNumber;
use fleet_proto::session::Order;

use super::{Told, count, of_fleet, of_rollout, of_step};
use crate::rollout::event::{Event, Outcome, RolloutKind, RolloutStart, Urgency};

pub(super) fn tell_of_rollout(event: &Event) -> Told {
    match event {
        Event::RolloutStarted { number, rollout } => {
            of_rollout("rollout-started", *number, started(*number, rollout))
        }
        Event::RolloutPaused { number, why, .. } => of_rollout(
            "rollout-paused",
            *number,
            match why.starts_with("paused by ") {
                true => format!("rollout {number} was {why}"),
                false => format!("rollout {number} paused: {why}"),
            },
        ),
        Event::RolloutResumed { number, by, .. } => of_rollout(
            "rollout-resumed",
            *number,
            format!("{by} resumed rollout {number}"),
        ),
        Event::RolloutRetried { number, by, nodes } => of_rollout(
            "rollout-retried",
            *number,
            format!(
                "{by} had rollout {number} try {} again",
                count(nodes.len(), "node")
            ),
        ),
        Event::RolloutWidened {
            number, by, waves, ..
        } => {
            let nodes: usize = waves.iter().map(|wave| wave.nodes.len()).sum();
            of_rollout(
                "rollout-widened",
                *number,
                format!("{by} widened rollout {number} by {}", count(nodes, "node")),
            )
        }
        Event::RolloutHeld { number } => of_rollout(
            "rollout-held",
            *number,
            format!("rollout {number} reached the end of its waves and is held"),
        ),
        Event::RolloutEnded {
            number, outcome, why, ..
        } => {
            let word = match outcome {
                Outcome::Succeeded => "succeeded",
                Outcome::Failed => "failed",
                Outcome::Aborted => "was aborted",
            };
            let told = match why {
                // It says that much itself.
                Some(why) if why.starts_with("aborted by ") => format!("was {why}"),
                Some(why) => format!("{word}: {why}"),
                None => word.to_owned(),
            };
            of_rollout("rollout-ended", *number, format!("rollout {number} {told}"))
        }
        Event::WaveStarted { number, wave } => of_rollout(
            "wave-started",
            *number,
            format!("wave {} of {number} started", wave + 1),
        ),
        Event::WaveBaking { number, wave, until } => of_rollout(
            "wave-baking",
            *number,
            format!(
                "wave {} of {number} was verified and bakes until {until}",
                wave + 1
            ),
        ),
        Event::WavePassed {
            number,
            wave,
            skipped,
        } => of_rollout("wave-passed", *number, {
            let without = match skipped.len() {
                0 => String::new(),
                nodes => format!(" without {}", count(nodes, "node")),
            };
            format!("wave {} of {number} passed{without}", wave + 1)
        }),
        Event::CommandIssued {
            number, node, order, ..
        } => {
            let order = match order {
                Order::Deploy { release } => format!("deploy {release}"),
                Order::Migrate { release, act } => format!("do the migration of {release} ({act})"),
                Order::Commit => "keep the release".to_owned(),
                Order::Revert { to: Some(to), .. } => format!("go back to {to}"),
                Order::Revert { to: None, .. } => "go back to its last good release".to_owned(),
            };
            of_step(
                "command-issued",
                *number,
                node,
                format!("{node} was told to {order}"),
            )
        }
        Event::CommandRefused {
            number,
            node,
            refusal,
        } => of_step(
            "command-refused",
            *number,
            node,
            format!("{node} refused an order: {}", refusal.why),
        ),
        Event::MigrationMoved {
            number,
            act,
            stand,
            by,
            why,
            log_tail: _,
        } => {
            let why = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            of_rollout(
                "migration-moved",
                *number,
                format!("{by} said of the migration ({act}) in {number} that it is {stand}{why}"),
            )
        }
        Event::StepRetried { number, node } => of_step(
            "step-retried",
            *number,
            node,
            format!("{node} is to be told again"),
        ),
        Event::StepOverdue {
            number,
            node,
            failure,
        } => of_step(
            "step-overdue",
            *number,
            node,
            format!("{node} was given up: {}", failure.message),
        ),
        Event::StepMoved {
            number,
            node,
            phase,
            failure,
        } => {
            let why = failure
                .as_ref()
                .map(|failure| format!(": {}", failure.message))
                .unwrap_or_default();
            of_step("step-moved", *number, node, format!("{node} is {phase}{why}"))
        }
        // Told of above; named here so that a new event is told of somewhere.
        other => of_fleet("event", format!("{other:?}")),
    }
}

fn started(number: RolloutNumber, start: &RolloutStart) -> String {
    let plan = &start.plan;
    let nodes: usize = plan.waves.iter().map(|wave| wave.nodes.len()).sum();
    let scale = format!(
        "{} of {} in {}",
        count(nodes, "node"),
        plan.environment,
        count(plan.waves.len(), "wave")
    );
    // A migration is done or undone all the same.
    let scale = match nodes {
        0 => format!("no node of {}", plan.environment),
        _ => scale,
    };
    let by = &start.by;
    let emergency = match start.urgency {
        Urgency::Emergency => "emergency ",
        Urgency::Ordinary => "",
    };
    match &start.kind {
        RolloutKind::Forward { release } => {
            format!(
                "{by} started {emergency}rollout {number} of {} {release} to {scale}",
                plan.app
            )
        }
        RolloutKind::CatchUp { release } => {
            format!("catch-up {number} of {} to {release} started, {scale}", plan.app)
        }
        RolloutKind::Rollback { parent, .. } => {
            let parent = parent.map(|parent| format!(" of {parent}")).unwrap_or_default();
            let scale = match nodes {
                0 => format!("for which {scale} moves"),
                _ => scale,
            };
            format!("{by} started {emergency}rollback {number}{parent}, {scale}")
        }
    }
}
