//! Whatever happens in a script: status, explain and exit code say the same.

use fleet_coordinator::rollout::view;
use fleet_proto::view::{RolloutStateView, RolloutView};
use fleetctl::exit::Exit;
use fleetctl::follow::exit;
use fleetctl::render::explain::explain;
use fleetctl::render::paint::Paint;

use super::Stage;

impl Stage {
    pub(super) fn must_agree(&self) -> anyhow::Result<()> {
        // Nobody is there who could be asked.
        if !self.world.is_up {
            return Ok(());
        }
        let (state, now) = (&self.world.state, self.world.now);
        let status = view::status(state, None, None, now);
        for rollout in state.rollouts.values() {
            let seen = view::rollout(state, rollout, now);
            let number = seen.number;
            let listed = status.rollouts.iter().find(|listed| listed.number == number);
            anyhow::ensure!(
                listed.is_some_and(|listed| *listed == seen) || (listed.is_none() && seen.state.is_ended()),
                "status does not show {number} as it is"
            );
            must_be_told(&seen)?;
            must_end_alike(&seen)?;
        }
        Ok(())
    }
}

/// What `status` lists as waited for, `explain` explains, with a way out or an end in sight.
fn must_be_told(seen: &RolloutView) -> anyhow::Result<()> {
    let number = seen.number;
    let text = explain(seen, Paint::PLAIN);
    anyhow::ensure!(
        text.contains(seen.state.word()),
        "explain {number} does not say {}: {text}",
        seen.state.word()
    );
    for waiting in &seen.waiting {
        anyhow::ensure!(
            text.contains(&waiting.what),
            "explain {number} keeps back: {}",
            waiting.what
        );
    }
    if let Some(why) = &seen.why {
        anyhow::ensure!(
            text.contains(why.as_str()),
            "explain {number} does not say why: {why}"
        );
    }
    anyhow::ensure!(
        seen.state.is_ended() == seen.waiting.is_empty(),
        "{number} is {} and waits for {:?}",
        seen.state.word(),
        seen.waiting
    );
    anyhow::ensure!(
        text.contains("hint: ") || seen.waiting.iter().any(|waiting| waiting.until.is_some()),
        "explain {number} leaves one alone: {text}"
    );
    Ok(())
}

fn must_end_alike(seen: &RolloutView) -> anyhow::Result<()> {
    let number = seen.number;
    let is_as_asked = matches!(seen.state, RolloutStateView::Succeeded | RolloutStateView::Held);
    anyhow::ensure!(
        (exit(seen) == Exit::Done) == is_as_asked,
        "{number} is {} and the exit code is {}",
        seen.state.word(),
        exit(seen).code()
    );
    let came_to_nothing = matches!(seen.state, RolloutStateView::Failed | RolloutStateView::Aborted);
    anyhow::ensure!(
        !came_to_nothing || seen.why.is_some(),
        "{number} is {} and nobody says why",
        seen.state.word()
    );
    anyhow::ensure!(
        seen.state.is_ended() == seen.ended_at.is_some(),
        "{number} is {} and ended at {:?}",
        seen.state.word(),
        seen.ended_at
    );
    Ok(())
}
