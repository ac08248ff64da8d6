//! Making one release run, and nothing else of the app. Can be done any number of times.

mod still;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use fleet_proto::ids::{AppName, ComponentName};
use fleet_proto::release::{Component, ReleaseRef, Run};
use fleet_proto::session::FailureClass;

use crate::ballast::Ballast;
use crate::config::Config;
use crate::durable::FileError;
use crate::layout::Layout;
use crate::process::run_directory::{RunDirectory, Spec};
use crate::process::supervise::{SuperviseError, Supervisor, glance};
use crate::slots::{Slot, SlotError, Slots};
use crate::template::{TemplateError, Words};

/// What an app finds where nothing else was said.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Debug, thiserror::Error)]
pub enum ConvergeError {
    #[error(transparent)]
    Slot(#[from] SlotError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the files of {release} on the disk are not as they were laid out")]
    Damaged { release: ReleaseRef },
    #[error("the app is being stopped together with the agent")]
    Shut,
    #[error("component {component} cannot be described")]
    Template {
        component: ComponentName,
        #[source]
        source: TemplateError,
    },
    #[error("component {component} cannot be started")]
    Start {
        component: ComponentName,
        #[source]
        source: SuperviseError,
    },
    #[error("component {component} cannot be stopped")]
    Stop {
        component: ComponentName,
        #[source]
        source: SuperviseError,
    },
}

fn must_be_whole(target: &Started) -> Result<(), ConvergeError> {
    if target.slot.is_whole() {
        return Ok(());
    }
    Err(ConvergeError::Damaged {
        release: target.release.clone(),
    })
}

impl ConvergeError {
    /// Only what the release itself says can be the release's fault.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Template { .. } => FailureClass::Release,
            Self::Slot(_)
            | Self::File(_)
            | Self::Damaged { .. }
            | Self::Shut
            | Self::Start { .. }
            | Self::Stop { .. } => FailureClass::Infrastructure,
        }
    }

    pub fn is_no_room(&self) -> bool {
        match self {
            Self::Slot(SlotError::File(error))
            | Self::File(error)
            | Self::Start {
                source: SuperviseError::File(error),
                ..
            } => error.is_no_room(),
            _ => false,
        }
    }

    pub fn component(&self) -> Option<&ComponentName> {
        match self {
            Self::Template { component, .. }
            | Self::Start { component, .. }
            | Self::Stop { component, .. } => Some(component),
            Self::Slot(_) | Self::File(_) | Self::Damaged { .. } | Self::Shut => None,
        }
    }
}

/// One component as it shall run.
#[derive(Debug, Clone)]
pub struct Part {
    pub component: Component,
    pub words: Words,
    pub spec: Spec,
    pub run: RunDirectory,
}

impl Part {
    fn cannot_start(&self, source: SuperviseError) -> ConvergeError {
        ConvergeError::Start {
            component: self.component.name.clone(),
            source,
        }
    }
}

/// A release whose processes have been started.
#[derive(Debug, Clone)]
pub struct Started {
    pub release: ReleaseRef,
    pub slot: Slot,
    pub parts: Vec<Part>,
}

/// One app on this node, for effects.
#[derive(Clone)]
pub struct Converge {
    pub config: Arc<Config>,
    pub layout: Layout,
    pub app: AppName,
    pub supervisor: Supervisor,
    /// One at a time, and none once the app is to stay stopped: an activation that is
    /// in the middle when the agent is told to stop must not start anything after it.
    pub gate: Arc<Mutex<Gate>>,
}

/// How closely a release is looked at before its processes are started. What runs already
/// goes on as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It has just been laid out, or was just looked at.
    AtNothing,
    /// It has been lying there: only what was signed may run.
    AtBytes,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gate {
    #[default]
    Open,
    Shut,
}

impl Converge {
    /// Stops what should not run, in the reverse order of its start; switches; starts
    /// what should. What a full disk would not let through is tried before anything is
    /// stopped. Blocks as long as stopping takes.
    pub fn run(&self, to: Option<&ReleaseRef>, look: Look) -> Result<Option<Started>, ConvergeError> {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if *gate == Gate::Shut {
            return Err(ConvergeError::Shut);
        }
        match self.make_run(to, look) {
            // Kept for going back: on the way forward a full disk ends the attempt.
            Err(error)
                if error.is_no_room() && look == Look::AtBytes && Ballast::new(&self.layout).give_up() =>
            {
                self.make_run(to, look)
            }
            other => other,
        }
    }

    fn make_run(&self, to: Option<&ReleaseRef>, look: Look) -> Result<Option<Started>, ConvergeError> {
        let slots = Slots::new(&self.layout, &self.app);
        let target = to.map(|release| self.describe(&slots, release)).transpose()?;
        let parts = target
            .as_ref()
            .map(|target| target.parts.as_slice())
            .unwrap_or_default();
        let runs_already = |part: &&Part| glance(&part.run).is_some_and(|state| state.spec == part.spec.id());
        // Before anything is stopped for it.
        if let (Look::AtBytes, Some(target)) = (look, &target)
            && !parts.iter().all(|part| runs_already(&part))
        {
            must_be_whole(target)?;
        }
        for part in parts.iter().filter(|part| !runs_already(part)) {
            self.supervisor
                .prepare(&part.run, &part.spec)
                .map_err(|source| part.cannot_start(source))?;
        }
        if let Some(release) = to {
            slots.prepare_switch(release)?;
        }
        for component in self.stop_order(&slots) {
            let run = self.run_directory(&component);
            let wanted = parts.iter().find(|part| part.component.name == component);
            if wanted.as_ref().is_some_and(runs_already) {
                continue;
            }
            self.supervisor
                .stop(&run)
                .map_err(|source| ConvergeError::Stop { component, source })?;
        }
        slots.switch(to)?;
        for part in parts {
            self.supervisor
                .start(&part.run, &part.spec)
                .map_err(|source| part.cannot_start(source))?;
        }
        Ok(target)
    }

    pub fn must_be_whole(&self, release: &ReleaseRef) -> Result<(), ConvergeError> {
        must_be_whole(&self.describe(&Slots::new(&self.layout, &self.app), release)?)
    }

    /// Stops everything; `current` stays, for the app shall run again later.
    pub fn stop_all(&self) -> Result<(), ConvergeError> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        *gate = Gate::Shut;
        self.stop_what_runs(&Slots::new(&self.layout, &self.app))
    }

    fn stop_what_runs(&self, slots: &Slots) -> Result<(), ConvergeError> {
        for component in self.stop_order(slots) {
            self.supervisor
                .stop(&self.run_directory(&component))
                .map_err(|source| ConvergeError::Stop { component, source })?;
        }
        Ok(())
    }

    fn run_directory(&self, component: &ComponentName) -> RunDirectory {
        RunDirectory::new(self.layout.run(&self.app, component))
    }

    /// The reverse of the order in which the current release starts, behind whatever
    /// earlier releases may have left.
    fn stop_order(&self, slots: &Slots) -> Vec<ComponentName> {
        let started: Vec<ComponentName> = slots
            .current()
            .and_then(|digest| slots.all().remove(&digest))
            .map(|slot| slot.manifest.components.into_iter().map(|c| c.name).collect())
            .unwrap_or_default();
        let mut order: Vec<ComponentName> = self
            .layout
            .runs_on_disk(&self.app)
            .into_iter()
            .filter(|name| !started.contains(name))
            .collect();
        order.extend(started.into_iter().rev());
        order
    }

    fn describe(&self, slots: &Slots, release: &ReleaseRef) -> Result<Started, ConvergeError> {
        let slot = slots.open(release)?;
        let parts = slot
            .manifest
            .components
            .iter()
            .map(|component| self.part(&slot, release, component))
            .collect::<Result<_, _>>()?;
        Ok(Started {
            release: release.clone(),
            slot,
            parts,
        })
    }

    fn part(&self, slot: &Slot, release: &ReleaseRef, component: &Component) -> Result<Part, ConvergeError> {
        let directory: PathBuf = slot.files(&component.name);
        let words = Words {
            node: self.config.node.clone(),
            app: self.app.clone(),
            version: release.version.clone(),
            directory: directory.clone(),
            vars: self.config.vars.clone(),
        };
        let wrong = |source| ConvergeError::Template {
            component: component.name.clone(),
            source,
        };
        let Run::Supervise(supervise) = &component.run;
        let mut env = [
            ("PATH".to_owned(), PATH.to_owned()),
            (
                "HOME".to_owned(),
                std::env::var("HOME").unwrap_or_else(|_| "/".to_owned()),
            ),
        ]
        .into_iter()
        .collect::<std::collections::BTreeMap<_, _>>();
        for (name, value) in &supervise.env {
            env.insert(name.clone(), words.fill(value).map_err(wrong)?);
        }
        let spec = Spec {
            release: release.digest,
            command: words.fill_all(&supervise.command).map_err(wrong)?,
            env,
            directory,
            stop_signal: supervise.stop_signal,
            grace: supervise.grace,
        };
        Ok(Part {
            component: component.clone(),
            words,
            spec,
            run: self.run_directory(&component.name),
        })
    }
}
