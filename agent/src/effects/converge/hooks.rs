//! Hooks, carried out as they were planned.
//!
//! Each is an errand: it has a time limit at which all that it has started is ended, what it
//! says is kept, and one that outlives the agent is not run beside itself again.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use fleet_proto::quantity::Span;
use fleet_proto::release::{Component, HookName, Run};
use fleet_proto::session::FailureClass;

use super::{Converge, ConvergeError, Gate, Part, Started, describe};
use crate::crew::LOG_LINES;
use crate::effects::changes::Changes;
use crate::effects::hooks::{self, Before, Call, Occasion, OnFailure, Plan};
use crate::effects::{chain, failure};
use crate::process::errand::{Errand, ErrandError, Task};
use crate::process::spec::Spec;
use crate::process::standing::is_in_hand;
use crate::slots::{Slot, Slots};
use crate::template::TemplateError;

#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error("it {how}")]
    Failed { how: String, log_tail: Vec<String> },
    #[error("its command cannot be filled in")]
    Template(#[from] TemplateError),
    #[error("it cannot be run")]
    Errand(#[source] ErrandError),
    #[error("what it was run for is not wanted any more")]
    Interrupted,
}

impl HookError {
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Failed { .. } | Self::Template(_) => FailureClass::Release,
            Self::Errand(_) | Self::Interrupted => FailureClass::Infrastructure,
        }
    }
}

impl ConvergeError {
    /// Where a hook has failed: which, as a check is named, and what it said last.
    pub fn hook(&self) -> Option<(String, &[String])> {
        let Self::Hook {
            component,
            hook,
            source,
        } = self
        else {
            return None;
        };
        let said: &[String] = match source {
            HookError::Failed { log_tail, .. } => log_tail,
            _ => &[],
        };
        Some((format!("{component}/{hook}"), said))
    }

    /// What is said of a release that failed by it.
    pub fn hook_failure(&self) -> fleet_proto::session::Failure {
        let mut failure = *failure(self.class(), chain(self));
        if let Some((check, said)) = self.hook() {
            failure.check = Some(check);
            failure.log_tail = said.to_vec();
        }
        failure
    }
}

impl Converge {
    pub(super) fn plan_hooks(&self, occasion: Occasion, changes: &Changes, parts: &[Part]) -> Plan {
        let is_touched = |part: &&Part| changes.start.contains(&part.component.name);
        let touched = changes.stop.iter().chain(&changes.start);
        let runs = touched.filter(|component| is_in_hand(&self.run_directory(component)));
        let kept = parts.iter().filter(|part| !is_touched(part));
        let before = Before {
            runs: runs.cloned().collect(),
            owed: kept
                .map(|part| (part.component.name.clone(), part.owed()))
                .collect(),
        };
        let order: Vec<_> = parts.iter().map(|part| part.component.name.clone()).collect();
        hooks::plan(occasion, changes, &order, &before)
    }

    /// Before a component is stopped. Should it be kept after all, it has to be undrained.
    pub(super) fn leave<'a>(
        &self,
        left: Option<&Slot>,
        calls: impl IntoIterator<Item = &'a Call>,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), ConvergeError> {
        let Some(left) = left else { return Ok(()) };
        for call in calls {
            let component = component_of(left, call);
            if component.is_none_or(|component| component.hooks.named(call.hook).is_none()) {
                continue;
            }
            let run = self.run_directory(&call.component);
            let spec = run.spec();
            if let Some(spec) = &spec {
                let mut owed = run.owed(spec.fingerprint(), &spec.how);
                owed.insert(HookName::Undrain);
                if call.hook == HookName::PreStop {
                    owed.insert(HookName::PostStart);
                }
                self.note(call, run.owe(spec.fingerprint(), owed));
            }
            self.call(left, call, spec.as_ref(), is_interrupted)?;
        }
        Ok(())
    }

    /// Before it is started, so that an agent that goes in between still knows.
    pub(super) fn expect_hooks(&self, part: &Part, is_started: bool) {
        let (hooks, spec) = (&part.component.hooks, part.spec.fingerprint());
        let noted = if hooks.is_empty() {
            part.run.owe_nothing()
        } else if is_started {
            part.run
                .owe(spec, [HookName::PostStart, HookName::Undrain].into())
        } else if !part.run.is_accounted(spec) {
            part.run.owe(spec, BTreeSet::new())
        } else {
            Ok(())
        };
        if let Err(error) = noted {
            let error = chain(&error);
            tracing::warn!(app = %self.app, component = %part.component.name, error, "what hooks are owed cannot be written down");
        }
    }

    /// When it is started.
    pub(super) fn has_started(
        &self,
        slot: &Slot,
        part: &Part,
        plan: &Plan,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), ConvergeError> {
        let own = |call: &&Call| call.component == part.component.name;
        for call in plan.started.iter().filter(own) {
            self.settle(slot, part, call, is_interrupted)?;
        }
        Ok(())
    }

    /// Whether something that runs waits to be undrained.
    pub fn owes_undrain(&self, started: &Started) -> bool {
        let has_hook = |part: &&Part| part.component.hooks.undrain.is_some();
        let mut parts = started.parts.iter().filter(has_hook);
        parts.any(|part| part.owed().contains(&HookName::Undrain))
    }

    /// When all of it is verified. Blocks as long as the hooks take.
    pub fn undrain(
        &self,
        started: &Started,
        occasion: Occasion,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), ConvergeError> {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if *gate == Gate::Shut {
            return Err(ConvergeError::Shut);
        }
        let plan = self.plan_hooks(occasion, &Changes::default(), &started.parts);
        for call in &plan.verified {
            let mut parts = started.parts.iter();
            if let Some(part) = parts.find(|part| part.component.name == call.component) {
                self.settle(&started.slot, part, call, is_interrupted)?;
            }
        }
        Ok(())
    }

    /// What was run, and need not be run any more, is not owed.
    fn settle(
        &self,
        slot: &Slot,
        part: &Part,
        call: &Call,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), ConvergeError> {
        self.call(slot, call, Some(&part.spec), is_interrupted)?;
        let mut owed = part.owed();
        owed.remove(&call.hook);
        if !part.component.hooks.is_empty() {
            self.note(call, part.run.owe(part.spec.fingerprint(), owed));
        }
        Ok(())
    }

    fn note(&self, call: &Call, noted: Result<(), crate::durable::FileError>) {
        if let Err(error) = noted {
            let (component, error) = (&call.component, chain(&error));
            tracing::warn!(app = %self.app, %component, error, "what hooks are owed cannot be written down");
        }
    }

    fn call(
        &self,
        slot: &Slot,
        call: &Call,
        spec: Option<&Spec>,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), ConvergeError> {
        let (component, hook) = (&call.component, call.hook);
        match self.carry_out(slot, call, spec, is_interrupted) {
            Ok(()) => Ok(()),
            Err(source) if call.on_failure == OnFailure::Fail || matches!(source, HookError::Interrupted) => {
                Err(ConvergeError::Hook {
                    component: component.clone(),
                    hook,
                    source,
                })
            }
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(app = %self.app, %component, %hook, error, "a hook failed; going on without it");
                Ok(())
            }
        }
    }

    fn carry_out(
        &self,
        slot: &Slot,
        call: &Call,
        spec: Option<&Spec>,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), HookError> {
        let component = component_of(slot, call);
        let Some((component, hook)) =
            component.and_then(|component| Some((component, component.hooks.named(call.hook)?)))
        else {
            return Ok(());
        };
        // A unit's own directory is that of the release that is current, whichever that is.
        let environment = spec.and_then(|spec| spec.environment.as_ref());
        let words = self.words(slot, component, environment, slot.files(&component.name));
        let timeout = hook.timeout.min(call.timeout_max.unwrap_or(hook.timeout));
        let (user, group) = whose(component);
        let task = Task {
            id: call.hook.word().to_owned(),
            command: words.fill_all(&hook.command)?,
            directory: words.directory.clone(),
            env: describe::env(&words, component)?,
            env_from: spec.and_then(|spec| spec.env_from.clone()),
            home: describe::home(),
            user,
            group,
            timeout,
            grace: Span::ZERO,
        };
        tracing::info!(app = %self.app, component = %call.component, hook = %call.hook, version = %slot.manifest.version, "a hook");
        let errand = Errand::new(self.layout.hook(&self.app, &call.component, call.hook));
        let end = match errand.run_until(&task, is_interrupted) {
            Err(ErrandError::GivenUp) => return Err(HookError::Interrupted),
            ended => ended.map_err(HookError::Errand)?,
        };
        let how = match end {
            Some(end) if end.is_good() => return Ok(()),
            Some(end) => end.in_words(timeout),
            None => "ended, and nobody saw how".to_owned(),
        };
        let log_tail = errand.log_tail(LOG_LINES);
        let last = log_tail
            .last()
            .map_or_else(String::new, |line| format!(": {line}"));
        Err(HookError::Failed {
            how: format!("{how}{last}"),
            log_tail,
        })
    }
}

impl Part {
    fn owed(&self) -> BTreeSet<HookName> {
        self.run.owed(self.spec.fingerprint(), &self.spec.how)
    }
}

fn component_of<'a>(slot: &'a Slot, call: &Call) -> Option<&'a Component> {
    let mut components = slot.manifest.components.iter();
    components.find(|component| component.name == call.component)
}

/// As whom its processes run, as far as the release says it.
fn whose(component: &Component) -> (Option<String>, Option<String>) {
    match &component.run {
        Run::Supervise(supervise) => (supervise.user.clone(), supervise.group.clone()),
        Run::Systemd(systemd) => (systemd.user.clone(), None),
        Run::Pm2(pm2) => (pm2.user.clone(), None),
        Run::Static(_) | Run::Agent(_) => (None, None),
    }
}

impl Slots {
    /// What runs now, if it can be read.
    pub(super) fn current_slot(&self) -> Option<Slot> {
        let current = self.current()?;
        self.all().remove(&current)
    }
}
