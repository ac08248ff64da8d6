//! What `pause`, `resume` and `abort` have in common: one order to one rollout.

use fleet_proto::ids::RolloutNumber;
use fleet_proto::view::{RolloutKindView, RolloutView};
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
        None => the_only_one(&mut operator, &act).await?,
    };
    let answer = operator.act(number.0, &args.reason, act).await?;
    let view = &answer.view;
    session.screen.document(&answer.json, |_| {
        let headline = render::rollouts::headline(view);
        let back = view.rollback.map_or_else(String::new, |back| {
            format!("\nrollback {back} puts back the nodes that it had moved")
        });
        format!("{headline}: {}{back}", render::rollouts::standing(view))
    })?;
    Ok(Exit::Done)
}

fn puts_back(view: &RolloutView) -> bool {
    matches!(view.kind, RolloutKindView::Rollback { .. })
}

async fn the_only_one(operator: &mut Operator, act: &Act) -> Result<RolloutNumber, Error> {
    let status = operator.status("", "").await?.view;
    let active: Vec<&RolloutView> = status
        .rollouts
        .iter()
        .filter(|rollout| !rollout.state.is_ended())
        .collect();
    match active.as_slice() {
        // To abort that would leave its nodes on what was aborted before.
        [only] if puts_back(only) && matches!(act, Act::Abort(_)) => Err(Error::refused(
            format!(
                "only {} is under way, which puts nodes back",
                render::rollouts::headline(only)
            ),
            format!("`fleetctl abort {}` if that is what you mean", only.number.0),
        )),
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
