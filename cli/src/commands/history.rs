use fleet_proto::view::RolloutView;

use crate::error::Error;
use crate::exit::Exit;
use crate::operator::Operator;
use crate::render;
use crate::scope::{Scope, ScopeArgs};
use crate::session::Session;

/// One call each: a fleet with many apps must not be asked for all of its past because
/// one of them has little.
const LOOKED_AT_MAX: u64 = 1000;

/// List rollouts, the newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl history
  fleetctl history --app shop --newest 100 --output json")]
pub struct Args {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Only so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    newest: u16,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let scope = session.scope(&args.scope)?;
    let mut operator = session.operator().await?;
    let status = operator.status(&scope.app, &scope.environment).await?.view;
    let mut rollouts = status.rollouts;
    rollouts.sort_by_key(|rollout| std::cmp::Reverse(rollout.number));
    if !rollouts.is_empty() {
        let wanted = usize::from(args.newest);
        let left_off = older(&mut operator, &scope, &mut rollouts, wanted).await?;
        if let Some(number) = left_off {
            session.screen.say(&format!(
                "older than #{number} was not looked at; `fleetctl status {number}` shows one rollout"
            ));
        }
        rollouts.truncate(wanted);
    }
    session.screen.value(&rollouts, |paint| {
        let shown: Vec<&RolloutView> = rollouts.iter().collect();
        render::rollouts::table(&shown, status.coordinator.now, paint)
    })?;
    Ok(Exit::Done)
}

/// The status has the newest few; the others by their numbers, until there are as many
/// as wanted. The answer is where it gave up, if it did.
async fn older(
    operator: &mut Operator,
    scope: &Scope,
    rollouts: &mut Vec<RolloutView>,
    wanted: usize,
) -> Result<Option<u64>, Error> {
    let Some(newest) = rollouts.first().map(|rollout| rollout.number.0) else {
        return Ok(None);
    };
    let mut known: Vec<RolloutView> = std::mem::take(rollouts);
    let floor = newest.saturating_sub(LOOKED_AT_MAX);
    for number in (1..=newest).rev() {
        if rollouts.len() >= wanted {
            return Ok(None);
        }
        if number <= floor {
            return Ok(Some(number + 1));
        }
        if let Some(at) = known.iter().position(|rollout| rollout.number.0 == number) {
            rollouts.push(known.swap_remove(at));
            continue;
        }
        match operator.rollout(number).await {
            Ok(answer) if fits(&answer.view, scope) => rollouts.push(answer.view),
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn fits(view: &RolloutView, scope: &Scope) -> bool {
    let is = |wanted: &str, name: &str| wanted.is_empty() || wanted == name;
    is(&scope.app, view.app.as_str()) && is(&scope.environment, view.environment.as_str())
}
