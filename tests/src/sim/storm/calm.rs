//! After the storm: everything is there again, and time passes. Then every rollout has
//! ended or says what it waits for, every node is at rest, and a new release reaches all.

use fleet_agent::ledger::AppRecord;
use fleet_coordinator::rollout::decide::decide_rollout;
use fleet_coordinator::rollout::event::Outcome;
use fleet_coordinator::rollout::input::{Intent, Request};
use fleet_coordinator::rollout::state::{Course, Rollout};
use fleet_proto::ids::{AppName, EnvironmentName, NodeId, RolloutNumber};
use fleet_proto::quantity::Amount;
use fleet_proto::release::{OnFailure, ReleaseRef};
use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;

use super::Storm;
use super::invariants::{Broken, Held, must};
use super::releases::Nature;

/// Longer than any progress deadline, bake and backoff together.
const MOVES_WITHIN_MINUTES: usize = 45;
/// Aborting a rollout begins a rollback; aborting that begins nothing.
const ABORTS: usize = 3;

impl Storm {
    pub(super) fn calm_down(&mut self) -> anyhow::Result<()> {
        self.heal()?;
        self.rest()?;
        self.nothing_waits_in_silence()?;
        self.nodes_are_at_rest()?;
        self.end_what_is_active()?;
        self.rest()?;
        self.a_fresh_release_reaches_everybody()?;
        let replayed = serde_json::to_vec(&self.coordinator.record.replay()?)?;
        must(
            replayed == serde_json::to_vec(&self.coordinator.acknowledged)?,
            "11",
            || "a replay from the first event gives another state".to_owned(),
        )?;
        Ok(())
    }

    /// Until nothing moves any more, or for as long as anything may take.
    fn rest(&mut self) -> anyhow::Result<()> {
        self.pass(60_000)?;
        self.pass_until(|storm| {
            if storm.is_at_rest() {
                // The last words are still on their way.
                storm.pass(30_000)?;
            }
            // A bake fails when it likes, also where its rollout stands.
            Ok(storm.is_at_rest())
        })
    }

    /// Gives up on rollouts of which none has moved for as long as anything may take, and on
    /// a fleet that has had a minute for each of its nodes.
    fn pass_until(
        &mut self,
        mut is_over: impl FnMut(&mut Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let mut unmoved = 0;
        for _ in 0..self.machines.len().max(MOVES_WITHIN_MINUTES) {
            if unmoved == MOVES_WITHIN_MINUTES || is_over(self)? {
                break;
            }
            let before = self.last_progress();
            self.pass(60_000)?;
            unmoved = if self.last_progress() == before {
                unmoved + 1
            } else {
                0
            };
        }
        Ok(())
    }

    /// Of what people asked for: nodes that catch up come and go.
    fn last_progress(&self) -> Option<Timestamp> {
        self.asked_for().map(|rollout| rollout.progress_at).max()
    }

    fn heal(&mut self) -> anyhow::Result<()> {
        self.tell(|_| "calm: everything is there again".to_owned());
        self.is_calm = true;
        self.faults.store_is_down = false;
        self.coordinator.clock_is_off_ms = 0;
        self.network.cut_off.clear();
        self.start_coordinator()?;
        self.lift_what_people_hold();
        for node in 0..self.machines.len() {
            self.machines[node].is_full = false;
            if !self.machines[node].is_on {
                self.power_on(node);
            }
            self.start_agent(node)?;
            self.recover(node);
        }
        Ok(())
    }

    fn lift_what_people_hold(&mut self) {
        self.ask(Request::Unhalt { environment: None });
        for environment in self.coordinator.environments.keys().cloned().collect::<Vec<_>>() {
            let environment = Some(environment);
            self.ask(Request::Unhalt { environment });
        }
        let nodes: Vec<NodeId> = self.machines.iter().map(|machine| machine.id.clone()).collect();
        for node in nodes {
            self.ask(Request::UndrainNode { node: node.clone() });
            self.ask(Request::UncordonNode { node });
        }
    }

    fn asked_for(&self) -> impl Iterator<Item = &Rollout> {
        let state = &self.coordinator.acknowledged;
        let active = state
            .active
            .iter()
            .filter_map(|number| state.rollouts.get(number));
        active.filter(|rollout| !rollout.beside)
    }

    fn is_at_rest(&self) -> bool {
        let state = &self.coordinator.acknowledged;
        // An agent that its release takes down is not there for a while even now.
        let settled = self
            .machines
            .iter()
            .enumerate()
            .all(|(index, machine)| self.is_revoked(index) || machine.is_at_rest());
        settled
            && state.active.iter().all(|number| {
                let course = state.rollouts.get(number).map(|rollout| &rollout.course);
                matches!(course, Some(Course::Paused { .. } | Course::Held { .. }))
            })
    }

    fn nothing_waits_in_silence(&self) -> Held {
        let state = &self.coordinator.acknowledged;
        for number in &state.active {
            let Some(rollout) = state.rollouts.get(number) else {
                continue;
            };
            let waiting = decide_rollout(state, rollout, Timestamp(self.now)).waiting;
            let stands = matches!(rollout.course, Course::Paused { .. } | Course::Held { .. });
            // Nobody asked for a catch-up: it ends by itself, and begins again.
            must(stands || rollout.beside, "calm", || {
                let waits: Vec<_> = waiting.iter().map(|waiting| waiting.what.clone()).collect();
                format!("rollout {number} is running for ever, waiting for {waits:?}")
            })?;
            let hinted = rollout.beside
                || waiting
                    .iter()
                    .any(|waiting| waiting.hint.is_some() && !waiting.what.is_empty());
            must(hinted, "calm", || {
                format!(
                    "rollout {number} is {} and nobody is told what to do",
                    rollout.course.word()
                )
            })?;
        }
        Ok(())
    }

    /// What runs is what shall run; and the coordinator knows it.
    fn nodes_are_at_rest(&self) -> Held {
        for (index, machine) in self.machines.iter().enumerate() {
            for (app, record) in &machine.ledger.apps {
                let runs = machine.running.get(app);
                // Nobody undrains a node that was revoked.
                let shall = record
                    .current_release()
                    .filter(|_| !machine.ledger.service.drained);
                must(runs == shall, "1", || {
                    format!("{} runs {app} {runs:?}, and shall run {shall:?}", machine.id)
                })?;
                must(
                    self.is_revoked(index) || !machine.ledger.service.drained,
                    "calm",
                    || format!("{} was undrained, and does not know it", machine.id),
                )?;
                let known = self.coordinator.acknowledged.nodes.get(&machine.id);
                let known = known
                    .filter(|_| !self.is_revoked(index))
                    .and_then(|node| node.app(app));
                let Some(known) = known else { continue };
                self.the_end_of_its_step_is_known(&machine.id, record)?;
                must(known.current.as_ref() == runs, "calm", || {
                    format!(
                        "{} runs {app} {runs:?}, the coordinator believes {:?}",
                        machine.id, known.current
                    )
                })?;
            }
        }
        Ok(())
    }

    fn the_end_of_its_step_is_known(&self, id: &NodeId, record: &AppRecord) -> Held {
        // A migration is beside the step's own course.
        let step = record.step.as_ref().filter(|step| step.migration.is_none());
        let Some(step) = step else { return Ok(()) };
        let rollout = self.coordinator.acknowledged.rollouts.get(&step.rollout);
        let Some(rollout) = rollout.filter(|rollout| !rollout.is_ended()) else {
            return Ok(());
        };
        let known = rollout
            .steps
            .get(id)
            .filter(|known| known.generation == step.generation);
        let wrong = known.filter(|known| known.phase != step.phase && known.phase != Phase::Pending);
        must(wrong.is_none(), "calm", || {
            let believed = wrong.map(|known| known.phase);
            format!(
                "{id} is {} in rollout {}, the coordinator believes {believed:?}",
                step.phase, step.rollout
            )
        })
    }

    fn end_what_is_active(&mut self) -> anyhow::Result<()> {
        for _ in 0..ABORTS {
            let active: Vec<RolloutNumber> = self.coordinator.acknowledged.active.iter().copied().collect();
            if self.asked_for().next().is_none() {
                return Ok(());
            }
            for number in active {
                self.ask(Request::Abort { number, reason: None });
            }
            self.pass_until(|storm| Ok(storm.asked_for().next().is_none()))?;
        }
        let active = &self.coordinator.acknowledged.active;
        must(self.asked_for().next().is_none(), "5", || {
            format!("{active:?} were aborted and do not end")
        })?;
        Ok(())
    }

    fn a_fresh_release_reaches_everybody(&mut self) -> anyhow::Result<()> {
        for app in self.apps.clone() {
            let push = self.releases.make(&app, Nature::Good, None)?;
            let fresh = push.release.clone();
            self.ask(Request::PushRelease(push));
            for environment in self.coordinator.environments.keys().cloned().collect::<Vec<_>>() {
                self.roll_out_fresh(&app, &environment, &fresh)?;
            }
            self.everybody_runs(&app, &fresh)?;
        }
        Ok(())
    }

    fn roll_out_fresh(
        &mut self,
        app: &AppName,
        environment: &EnvironmentName,
        fresh: &ReleaseRef,
    ) -> anyhow::Result<()> {
        let before = self.coordinator.acknowledged.next_rollout();
        self.ask(Request::StartRollout(Intent {
            app: Some(app.clone()),
            environment: Some(environment.clone()),
            version: Some(fresh.version.clone()),
            max_unavailable: Some(Amount::Percent(100)),
            on_failure: Some(OnFailure::Pause),
            ..Intent::default()
        }));
        self.pass(60_000)?;
        self.pass_until(|storm| Ok(storm.coordinator.acknowledged.active.is_empty()))?;
        let state = &self.coordinator.acknowledged;
        let of_people = |rollout: &&Rollout| !rollout.beside && rollout.number >= before;
        let Some(rollout) = state.rollouts.values().find(of_people) else {
            let empty = self.witness.seen.nodes_in(environment) == 0;
            must(empty, "calm", || {
                format!("a rollout of {fresh} to {environment} was refused")
            })?;
            return Ok(());
        };
        let done = matches!(
            rollout.course,
            Course::Ended {
                outcome: Outcome::Succeeded,
                ..
            }
        );
        must(done, "calm", || {
            let waiting = decide_rollout(state, rollout, Timestamp(self.now)).waiting;
            format!("the last rollout of {fresh} is {:?}: {waiting:?}", rollout.course)
        })?;
        Ok(())
    }

    fn everybody_runs(&self, app: &AppName, fresh: &ReleaseRef) -> Result<(), Broken> {
        for (index, machine) in self.machines.iter().enumerate() {
            if self.is_revoked(index) {
                continue;
            }
            let record = machine.ledger.apps.get(app);
            let good = record.and_then(|record| record.last_good());
            must(
                machine.running.get(app) == Some(fresh) && good == Some(fresh),
                "calm",
                || {
                    let runs = machine.running.get(app);
                    format!(
                        "{} runs {runs:?}, and {good:?} is its last good; not {fresh}",
                        machine.id
                    )
                },
            )?;
        }
        Ok(())
    }
}
