//! After the storm: everything is there again, and time passes. Then every rollout has
//! ended or says what it waits for, every node is at rest, and a new release reaches all.

use fleet_agent::ledger::AppRecord;
use fleet_coordinator::rollout::decide::decide_rollout;
use fleet_coordinator::rollout::event::Outcome;
use fleet_coordinator::rollout::input::{Intent, Request};
use fleet_coordinator::rollout::state::{Course, Rollout};
use fleet_proto::ids::{AppName, EnvironmentName, NodeId, RolloutNumber};
use fleet_proto::quantity::{Amount, Span};
use fleet_proto::release::{OnFailure, ReleaseRef};
use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;

use super::Storm;
use super::invariants::{Broken, Held, must};
use super::releases::Nature;

/// Longer than any progress deadline, bake and backoff together.
const ENDS_WITHIN_MINUTES: u64 = 45;
/// A bit more than the longest progress deadline.
const PROGRESS_WITHIN: Span = Span::from_secs(900);
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
        for _ in 0..ENDS_WITHIN_MINUTES {
            if self.is_at_rest() {
                // The last words are still on their way.
                self.pass(30_000)?;
                // A bake fails when it likes, also where its rollout stands.
                if self.is_at_rest() {
                    break;
                }
            }
            self.pass(60_000)?;
        }
        Ok(())
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

    /// What people asked for: nodes that catch up come and go.
    fn asked_for_is_over(&self) -> bool {
        let state = &self.coordinator.acknowledged;
        state
            .active
            .iter()
            .filter_map(|number| state.rollouts.get(number))
            .all(|rollout| rollout.beside)
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
            // A large fleet, two nodes at a time, takes longer than a calm lasts.
            let goes_on = Timestamp(self.now).since(rollout.progress_at) < PROGRESS_WITHIN;
            must(stands || rollout.beside || goes_on, "calm", || {
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
            if self.asked_for_is_over() {
                return Ok(());
            }
            for number in active {
                self.ask(Request::Abort { number, reason: None });
            }
            for _ in 0..ENDS_WITHIN_MINUTES {
                self.pass(60_000)?;
                if self.asked_for_is_over() {
                    break;
                }
            }
        }
        let active = &self.coordinator.acknowledged.active;
        must(self.asked_for_is_over(), "5", || {
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
        for _ in 0..ENDS_WITHIN_MINUTES {
            self.pass(60_000)?;
            if self.coordinator.acknowledged.active.is_empty() {
                break;
            }
        }
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
