//! What is said of a release and of a rollout, after its verb.

use fleet_coordinator::rollout::event::Urgency;
use fleet_coordinator::rollout::gate::{WithActive, WithKnownBad};
use fleet_coordinator::rollout::input::Intent;
use fleet_proto::migration::{MigrationPlan, Undo};
use fleet_proto::quantity::Span;
use fleet_proto::release::{OnFailure, Strategy};

use super::words::Words;
use crate::sim::world::{ENVIRONMENT, app};

/// What a release says of itself, as far as scripts vary it.
pub(super) fn strategy(words: &mut Words) -> anyhow::Result<(Strategy, Option<MigrationPlan>)> {
    let mut strategy = Strategy::default();
    let mut migration: Option<MigrationPlan> = None;
    while !words.is_at_end() {
        match words.next("an option")?.as_str() {
            "retries" => strategy.retries = words.parse("a number")?,
            "progress_deadline" => strategy.progress_deadline = words.parse("a duration")?,
            "fetch_deadline" => strategy.fetch_deadline = words.parse("a duration")?,
            "activate_deadline" => strategy.activate_deadline = words.parse("a duration")?,
            "put_back_deadline" => strategy.put_back_deadline = words.parse("a duration")?,
            "migration" => migration.get_or_insert_default().undo = undo(words)?,
            "status" => migration.get_or_insert_default().has_status = true,
            "contract" => migration.get_or_insert_default().has_contract = true,
            other => anyhow::bail!("a release has no `{other}`"),
        }
    }
    Ok((strategy, migration))
}

fn undo(words: &mut Words) -> anyhow::Result<Undo> {
    Ok(match words.next("keep, down or never")?.as_str() {
        "keep" => Undo::Keep,
        "down" => Undo::Down,
        "never" => Undo::Never,
        other => anyhow::bail!("a migration is undone by keep, down or never, and not by `{other}`"),
    })
}

pub(super) fn known_bad(words: &mut Words) -> WithKnownBad {
    if words.takes("again") {
        WithKnownBad::TryAgain
    } else {
        WithKnownBad::Refuse
    }
}

pub(super) fn intent(words: &mut Words) -> anyhow::Result<Intent> {
    let mut intent = Intent {
        app: Some(app()?),
        version: Some(words.parse("a version")?),
        ..Intent::default()
    };
    while !words.is_at_end() {
        match words.next("an option")?.as_str() {
            "waves" => intent.waves = Some(words.parse("waves")?),
            "bake" => {
                let bakes = words.next("durations")?;
                intent.bake = bakes
                    .split(',')
                    .map(str::parse)
                    .collect::<Result<Vec<Span>, _>>()?;
            }
            "max_in_flight" => intent.max_in_flight = Some(words.parse("an amount")?),
            "max_unavailable" => intent.max_unavailable = Some(words.parse("an amount")?),
            "min_available" => intent.min_available = Some(words.parse("an amount")?),
            "max_failures" => intent.max_failures = Some(words.parse("an amount")?),
            "max_unreachable" => intent.max_unreachable = Some(words.parse("an amount")?),
            "canary" => intent.canary = Some(words.parse("a selector")?),
            "select" => intent.select = words.parse("a selector")?,
            "environment" => intent.environment = Some(words.parse("a name")?),
            "supersede" => intent.insistence.active = WithActive::Supersede,
            "again" => intent.insistence.known_bad = WithKnownBad::TryAgain,
            "emergency" => {
                intent.insistence.urgency = Urgency::Emergency;
                intent.reason = Some(words.next("why")?);
            }
            "on_failure" => {
                intent.on_failure = Some(match words.next("pause or rollback")?.as_str() {
                    "pause" => OnFailure::Pause,
                    "rollback" => OnFailure::Rollback,
                    other => anyhow::bail!("on_failure is pause or rollback, and not `{other}`"),
                });
            }
            other => anyhow::bail!("a rollout has no `{other}`"),
        }
    }
    // Where there are several, a script says which, or means the first one.
    intent.environment.get_or_insert(ENVIRONMENT.parse()?);
    Ok(intent)
}
