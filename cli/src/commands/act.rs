//! What `pause`, `resume` and `abort` have in common: one order to one rollout.

use fleet_proto::ids::RolloutNumber;
use fleet_proto::view::RolloutView;
use fleet_proto::wire::act_request::Act;

use crate::error::Error;
use crate::exit::Exit;
use crate::operator::Operator;
use crate::render;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub struct ActArgs {
    /// The rollout's number; may be left away while only one is under way
    #[arg(value_name = "N")]
    number: Option<RolloutNumber>,
    /// Why; kept with the rollout
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

pub async fn act(args: &ActArgs, act: Act, session: &Session) -> Result<Exit, Error> {
    let mut operator = session.operator().await?;
    let number = match args.number {
        Some(number) => number,
        None => the_only_one(&mut operator).await?,
    };
    let answer = operator.act(number.0, &args.reason, act).await?;
    let view = &answer.view;
    session.screen.document(&answer.json, |_| {
        let headline = render::rollouts::headline(view);
        format!("{headline}: {}", render::rollouts::standing(view))
    })?;
    Ok(Exit::Done)
}

async fn the_only_one(operator: &mut Operator) -> Result<RolloutNumber, Error> {
    let status = operator.status("", "").await?.view;
    let active: Vec<&RolloutView> = status
        .rollouts
        .iter()
        .filter(|rollout| !rollout.state.is_ended())
        .collect();
    match active.as_slice() {
        [only] => Ok(only.number),
        [] => Err(Error::refused(
            "no rollout is under way",
            "`fleetctl history` shows those that ended",
        )),
        several => {
            let each: Vec<String> = several
                .iter()
                .map(|rollout| render::rollouts::headline(rollout))
                .collect();
            Err(Error::usage(
                "more than one rollout is under way; say which by its number",
                each.join("; "),
            ))
        }
    }
}
