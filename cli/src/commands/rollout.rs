use std::time::Duration;

use fleet_proto::view::{PlanView, RolloutStateView, RolloutView};
use fleet_proto::wire::RolloutIntent;

use crate::error::Error;
use crate::exit::Exit;
use crate::follow::{self, Followed};
use crate::intent::IntentArgs;
use crate::operator::{Answer, Operator};
use crate::render;
use crate::render::error::Mistake;
use crate::render::screen::Screen;
use crate::session::Session;

/// An order that may or may not have arrived is sent again, with the same number, for
/// as long as a coordinator takes to restart.
const START_TRIES: u32 = 20;
const START_PAUSE: Duration = Duration::from_millis(500);

/// Roll a release out, wave by wave, and follow it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fleetctl rollout v1.0.0 --waves 10,50,100 --bake 5m
  fleetctl rollout v1.0.1 --waves 1n,10,100 --canary zone=a --max-unavailable 2
  fleetctl rollout v1.0.2 --supersede        in place of the one that is under way

Exit code 0 only when the release is where it was asked to be; 1 when the rollout was
refused, failed, was rolled back, or waits for a person.")]
pub struct Args {
    #[command(flatten)]
    intent: IntentArgs,
    /// Start it, do not follow it
    #[arg(long)]
    detach: bool,
}

pub async fn run(args: &Args, session: &Session) -> Result<Exit, Error> {
    let intent = args.intent.intent(session.scope(&args.intent.scope)?);
    let mut operator = session.operator().await?;
    let plan = operator.plan(intent.clone()).await?.view;
    session.screen.say(&render::plan::brief(&plan));
    let started = start(&mut operator, &plan, intent).await?;
    if args.detach {
        detached(&session.screen, &started)?;
        return Ok(Exit::Done);
    }
    let followed = follow::follow(&mut operator, &session.screen, started).await?;
    report(&session.screen, &followed)
}

/// Starts what was planned, under the names that the plan found.
pub async fn start(
    operator: &mut Operator,
    plan: &PlanView,
    intent: RolloutIntent,
) -> Result<Answer<RolloutView>, Error> {
    if !plan.would_start {
        return Err(Error::refused(
            format!("the rollout would not start: {}", render::plan::shut_gates(plan)),
            render::plan::opening_hint(plan),
        ));
    }
    let intent = RolloutIntent {
        app: plan.app.to_string(),
        environment: plan.environment.to_string(),
        ..intent
    };
    for _ in 1..START_TRIES {
        match operator.start(intent.clone()).await {
            Err(Error::Unreachable { .. }) => tokio::time::sleep(START_PAUSE).await,
            answer => return answer,
        }
    }
    operator.start(intent).await
}

pub fn detached(screen: &Screen, started: &Answer<RolloutView>) -> Result<(), Error> {
    let number = started.view.number.0;
    // Where nothing had to move, it is over already.
    if started.view.state == RolloutStateView::Succeeded {
        screen.document(&started.json, |_| render::outcome::success(&started.view))?;
        return Ok(());
    }
    screen.document(&started.json, |_| {
        format!("{} started", render::rollouts::headline(&started.view))
    })?;
    screen.say(&format!("hint: `fleetctl status {number} --watch` follows it"));
    Ok(())
}

/// Says how it ended, and with which exit code.
pub fn report(screen: &Screen, followed: &Followed) -> Result<Exit, Error> {
    let Followed {
        rollout,
        rollback,
        interrupted,
    } = followed;
    let exit = followed.exit();
    if screen.is_json() {
        screen.data(&rollout.json)?;
    }
    let back = rollback.as_ref().map(|answer| &answer.view);
    match (exit, screen.is_json()) {
        _ if *interrupted => interrupt(screen, &rollout.view, exit),
        (Exit::Done, true) => {}
        (Exit::Done, false) => {
            screen.data(&render::outcome::success(&rollout.view))?;
        }
        (_, true) => screen.fail(&render::outcome::mistake(&rollout.view, back)),
        (_, false) => screen.say(&render::outcome::failure(&rollout.view, back)),
    }
    Ok(exit)
}

/// Not an error to people, who pressed Ctrl-C; programs want to know what is so.
fn interrupt(screen: &Screen, view: &RolloutView, exit: Exit) {
    let (what, hint) = render::outcome::interrupted(view);
    if screen.is_json() && exit != Exit::Done {
        return screen.fail(&Mistake::new(what, hint, exit));
    }
    let hint = hint.map_or(String::new(), |hint| format!("\nhint: {hint}"));
    screen.say(&format!("{what}{hint}"));
}
