//! What must hold of rollouts, event by event: 3, 4, 5, 8, and that the journal goes
//! forward. Migrations (6, 7) belong here too.

use fleet_coordinator::rollout::event::{Event, Outcome, RolloutKind, RolloutStart, Stamped};
use fleet_proto::ids::{NodeId, RolloutNumber};
use fleet_proto::quantity::Amount;
use fleet_proto::release::Strategy;
use fleet_proto::session::{Order, ToAgent};

use super::seen::{Place, Rollout, Seen};
use super::{Held, Witness, must};

impl Witness {
    pub fn event(&mut self, stamped: &Stamped) -> anyhow::Result<()> {
        the_journal_goes_forward(&self.seen, stamped)?;
        if let Event::CommandIssued { number, node, .. } = &stamped.event {
            nobody_moves_while_halted(&self.seen, *number, node)?;
        }
        match &stamped.event {
            Event::CommandIssued {
                number,
                node,
                order: Order::Deploy { .. },
                ..
            } => {
                nobody_deploys_for_what_is_over(&self.seen, *number)?;
                cordoned_nodes_are_let_alone(&self.seen, *number, node)?;
                waves_come_in_order(&self.seen, *number, node)?;
                failures_are_within_budget(&self.seen, *number)?;
                let costs = costs_availability(&self.seen, *number, node);
                self.seen.take(stamped);
                if costs {
                    few_enough_move(&self.seen, *number, node)?;
                    self.who_is_moved_is_counted(*number)?;
                }
                return Ok(());
            }
            Event::WaveStarted { number, wave } => {
                a_wave_follows_one_that_passed(&self.seen, *number, *wave)?;
                failures_are_within_budget(&self.seen, *number)?;
            }
            Event::NodeDraining {
                node,
                over_limit: None,
                ..
            } => {
                let places = costs_where(&self.seen, node);
                self.seen.take(stamped);
                for place in places {
                    few_enough_are_down(&self.seen, &place, node)?;
                }
                return Ok(());
            }
            Event::RolloutEnded { number, outcome, .. } => self.an_outage_fails_nothing(*number, *outcome)?,
            Event::RolloutStarted { rollout, .. } => self.an_outage_rolls_nothing_back(rollout)?,
            _ => {}
        }
        self.seen.take(stamped);
        Ok(())
    }

    /// A message that leaves the coordinator.
    pub fn sent(&self, node: &NodeId, message: &ToAgent) -> anyhow::Result<()> {
        if let ToAgent::Command(command) = message {
            nobody_moves_while_halted(&self.seen, command.fence.rollout, node)?;
        }
        if let ToAgent::Command(command) = message
            && matches!(command.order, Order::Deploy { .. })
        {
            nobody_deploys_for_what_is_over(&self.seen, command.fence.rollout)?;
        }
        Ok(())
    }

    /// Invariant 3: the count rests on what the coordinator believes; what is so is in it.
    fn who_is_moved_is_counted(&self, number: RolloutNumber) -> Held {
        let place = &rollout(&self.seen, number)?.place;
        let Some(moving) = self.moving.get(&place.0) else {
            return Ok(());
        };
        let uncounted = moving
            .keys()
            .find(|node| self.seen.is_member(&place.1, node) && !self.seen.is_down(place, node));
        must(uncounted.is_none(), "3", || {
            format!("{uncounted:?} is being moved, and rollout {number} does not count it")
        })
    }

    /// Invariant 8: only a release that really failed somewhere fails its rollout.
    fn an_outage_fails_nothing(&self, number: RolloutNumber, outcome: Outcome) -> Held {
        let forward = self
            .seen
            .rollouts
            .get(&number)
            .is_some_and(|rollout| rollout.forward && !rollout.catch_up);
        let innocent = forward && outcome == Outcome::Failed && !self.blamed.contains(&number);
        must(!innocent, "8", || {
            format!("rollout {number} failed, and its release failed on no node")
        })
    }

    /// Invariant 8: what nobody asked for follows from a failure of the release.
    fn an_outage_rolls_nothing_back(&self, start: &RolloutStart) -> Held {
        let RolloutKind::Rollback { parent, .. } = &start.kind else {
            return Ok(());
        };
        let blamed = parent.is_some_and(|parent| self.blamed.contains(&parent));
        must(start.by != "fleet" || blamed, "8", || {
            format!("a rollback of {parent:?} began by itself, and its release failed on no node")
        })
    }
}

/// Invariant 5: a halt wins over everything but an emergency that began in spite of it.
fn nobody_moves_while_halted(seen: &Seen, number: RolloutNumber, node: &NodeId) -> Held {
    must(!seen.is_halted(number), "5", || {
        format!("{node} is told to move for rollout {number} while everything is halted")
    })
}

fn cordoned_nodes_are_let_alone(seen: &Seen, number: RolloutNumber, node: &NodeId) -> Held {
    let cordoned = seen.nodes.get(node).is_some_and(|known| known.is_cordoned);
    must(!cordoned, "cordon", || {
        format!("{node} is cordoned, and rollout {number} tells it to deploy")
    })
}

fn the_journal_goes_forward(seen: &Seen, stamped: &Stamped) -> Held {
    must(
        stamped.position == seen.position + 1 && stamped.at >= seen.at,
        "11",
        || {
            format!(
                "event {} follows {}, or its time goes back",
                stamped.position, seen.position
            )
        },
    )?;
    match stamped.event {
        Event::TookCharge { term } => {
            must(term > seen.term, "12", || format!("term {term} was there before"))
        }
        _ => Ok(()),
    }
}

/// Invariant 5.
fn nobody_deploys_for_what_is_over(seen: &Seen, number: RolloutNumber) -> Held {
    let outcome = seen.rollouts.get(&number).and_then(|rollout| rollout.outcome);
    must(outcome.is_none(), "5", || {
        format!("a node is told to deploy for rollout {number}, which is {outcome:?}")
    })
}

fn rollout(seen: &Seen, number: RolloutNumber) -> Result<&Rollout, super::Broken> {
    let missing = || super::Broken::new("11", format!("rollout {number} never started"));
    seen.rollouts.get(&number).ok_or_else(missing)
}

/// Invariant 4: nobody moves before its wave, nor while nothing moves.
fn waves_come_in_order(seen: &Seen, number: RolloutNumber, node: &NodeId) -> Held {
    let rollout = rollout(seen, number)?;
    let wave = rollout.steps.get(node).map(|step| step.wave);
    must(wave.is_some_and(|wave| wave < rollout.waves_started), "4", || {
        format!("{node} of wave {wave:?} is told to move for rollout {number} before its wave")
    })?;
    must(!rollout.is_paused, "4", || {
        format!("{node} is told to move for rollout {number}, which is paused")
    })
}

/// Invariant 4.
fn a_wave_follows_one_that_passed(seen: &Seen, number: RolloutNumber, wave: usize) -> Held {
    let rollout = rollout(seen, number)?;
    let in_order = wave == rollout.waves_started && wave == rollout.waves_passed && wave < rollout.waves;
    must(
        in_order && !rollout.is_paused && rollout.outcome.is_none(),
        "4",
        || format!("wave {wave} of rollout {number} starts out of turn"),
    )
}

/// Invariant 4: over its budget, no rollout moves on.
fn failures_are_within_budget(seen: &Seen, number: RolloutNumber) -> Held {
    let rollout = rollout(seen, number)?;
    let budget = share(rollout.strategy.max_failures, rollout.planned);
    let failed = rollout.failed.len();
    must(!rollout.forward || failed <= budget, "4", || {
        format!("rollout {number} moves on with {failed} failures, {budget} are allowed")
    })
}

/// Moving a node that is down already, or serves nothing, takes nothing away.
fn costs_availability(seen: &Seen, number: RolloutNumber, node: &NodeId) -> bool {
    let Some(rollout) = seen.rollouts.get(&number) else {
        return true;
    };
    let known = seen.nodes.get(node);
    let stands = known.and_then(|known| known.apps.get(&rollout.place.0));
    stands.is_some_and(|stands| stands.serves) && !seen.is_down(&rollout.place, node)
}

/// Invariant 3: with this one, no more are down than may be.
fn few_enough_move(seen: &Seen, number: RolloutNumber, node: &NodeId) -> Held {
    let rollout = rollout(seen, number)?;
    let total = seen.nodes_in(&rollout.place.1);
    let limit = limit(&rollout.strategy, total);
    let down = seen.down(&rollout.place);
    must(down <= limit, "3", || {
        format!("{node} is told to move for rollout {number}: {down} of {total} are down, {limit} may be")
    })
}

/// Where taking a node out of service takes something away.
fn costs_where(seen: &Seen, node: &NodeId) -> Vec<Place> {
    let served = seen.nodes.get(node).into_iter().flat_map(|known| {
        let serving = known.apps.iter().filter(|(_, stands)| stands.serves);
        serving.map(|(app, _)| app)
    });
    let everywhere = served.flat_map(|app| {
        seen.environments
            .keys()
            .map(move |within| (app.clone(), within.clone()))
    });
    everywhere
        .filter(|place| seen.is_member(&place.1, node) && !seen.is_down(place, node))
        .collect()
}

/// Invariant 3, for whoever drains a node: the limit is that of the newest rollout there.
fn few_enough_are_down(seen: &Seen, place: &Place, node: &NodeId) -> Held {
    let mut there = seen
        .rollouts
        .values()
        .rev()
        .filter(|rollout| rollout.place == *place);
    let newest = there.find(|rollout| rollout.forward);
    let total = seen.nodes_in(&place.1);
    let limit = newest.map_or_else(
        || limit(&Strategy::default(), total),
        |rollout| limit(&rollout.strategy, total),
    );
    let down = seen.down(place);
    must(down <= limit, "3", || {
        format!("{node} is drained: {down} of {total} are down in {place:?}, {limit} may be")
    })
}

/// A share of a small fleet is somebody; a count of nobody is nobody.
fn limit(strategy: &Strategy, total: usize) -> usize {
    let most = match strategy.max_unavailable {
        Amount::Percent(1..) => share(strategy.max_unavailable, total).max(1),
        amount => share(amount, total),
    };
    let remain = match strategy.min_available {
        None => 0,
        Some(Amount::Count(count)) => count as usize,
        // Of three, half are two.
        Some(Amount::Percent(percent)) => total - total * (100 - usize::from(percent)) / 100,
    };
    most.min(total.saturating_sub(remain))
}

fn share(amount: Amount, total: usize) -> usize {
    match amount {
        Amount::Count(count) => count as usize,
        Amount::Percent(percent) => total * usize::from(percent) / 100,
    }
}
