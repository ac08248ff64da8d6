use fleet_proto::ids::RolloutNumber;
use fleet_proto::version::Version;
use fleet_proto::view::{RolloutKindView, RolloutStateView, RolloutView};
use fleet_proto::wire::RollBack;
use fleet_proto::wire::act_request::Act;

use super::rollout;
use crate::error::Error;
use crate::exit::Exit;
use crate::follow;
use crate::render;
use crate::scope::{Scope, ScopeArgs};
use crate::session::Session;

/// Take the newest release off the nodes that run it, each back to its own last good one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl rollback                      what runs now, back to what ran well before
  fleetctl rollback 42                   what rollout 42 did
  fleetctl rollback --to v0.9.9          to a release by name
  fleetctl rollback --emergency --reason OUTAGE   everybody at once; all else is halted")]
pub struct Args {
    /// The rollout to undo; by default that of the newest release in service
    #[arg(value_name = "N")]
    number: Option<RolloutNumber>,
    #[command(flatten)]
    scope: ScopeArgs,
    /// A release by name, in place of each node's own last good one
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
    /// Why; kept with the rollback
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Everybody at once, and halt everything else; needs --reason
    #[arg(long)]
    emergency: bool,
    /// Also to a release that failed in this environment before
    #[arg(long)]
    again: bool,
    /// Start it, do not follow it
    #[arg(long)]
    detach: bool,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let wanted = session.scope(&args.scope)?;
    let mut operator = session.operator().await?;
    let scope = match args.number {
        None => wanted.among(&operator.status("", "").await?.view)?,
        Some(number) => {
            let view = operator.rollout(number.0).await?.view;
            Scope {
                app: view.app.to_string(),
                environment: view.environment.to_string(),
            }
        }
    };
    let target = args
        .to
        .as_ref()
        .map_or_else(|| "each node's last good release".to_owned(), ToString::to_string);
    session.screen.say(&format!(
        "app {}, environment {}, back to {target}",
        scope.app, scope.environment
    ));
    let act = Act::RollBack(RollBack {
        app: scope.app,
        environment: scope.environment,
        to_version: args.to.as_ref().map_or_else(String::new, ToString::to_string),
        emergency: args.emergency,
        again: args.again,
    });
    let number = args.number.map_or(0, |number| number.0);
    let started = operator.act(number, &args.reason, act).await?;
    if nothing_had_moved(&started.view) {
        let headline = render::rollouts::headline(&started.view);
        session.screen.document(&started.json, |_| {
            format!("{headline} is ended; no node had to go back")
        })?;
        return Ok(Exit::Done);
    }
    if args.detach {
        rollout::detached(&session.screen, &started)?;
        return Ok(Exit::Done);
    }
    let followed = follow::follow(&mut operator, &session.screen, started).await?;
    rollout::report(&session.screen, &followed)
}

/// Asked to undo a rollout that had touched nobody yet, the coordinator just ends it.
fn nothing_had_moved(view: &RolloutView) -> bool {
    !matches!(view.kind, RolloutKindView::Rollback { .. })
        && view.state == RolloutStateView::Aborted
        && view.rollback.is_none()
}
