//! Making one release run, and nothing else of the app. Can be done any number of times.

pub mod describe;
mod still;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use fleet_proto::digest::Digest;
use fleet_proto::ids::{AppName, ComponentName};
use fleet_proto::quantity::Span;
use fleet_proto::release::{Component, Platform, ReleaseRef};
use fleet_proto::session::FailureClass;

use super::changes::{Changes, Member, changes};
use crate::ballast::Ballast;
use crate::config::Config;
use crate::durable::FileError;
use crate::layout::Layout;
use crate::process::managers::{Managers, ProcessError};
use crate::process::run_directory::RunDirectory;
use crate::process::spec::{How, Spec};
use crate::process::standing::glance;
use crate::slots::{Slot, SlotError, Slots};
use crate::template::{TemplateError, Words};

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
    #[error("component {component} has no artifact for {}", Platform::here())]
    NoArtifact { component: ComponentName },
    #[error("the unit file {} of component {component} {why}", .path.display())]
    UnitFile {
        component: ComponentName,
        path: PathBuf,
        why: &'static str,
    },
    #[error("component {component} cannot be started")]
    Start {
        component: ComponentName,
        #[source]
        source: ProcessError,
    },
    #[error("component {component} cannot be stopped")]
    Stop {
        component: ComponentName,
        #[source]
        source: ProcessError,
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
            Self::Template { .. } | Self::NoArtifact { .. } | Self::UnitFile { .. } => FailureClass::Release,
            Self::Slot(_) | Self::File(_) | Self::Damaged { .. } | Self::Shut => FailureClass::Infrastructure,
            Self::Start { source, .. } | Self::Stop { source, .. } => source.class(),
        }
    }

    pub fn is_no_room(&self) -> bool {
        match self {
            Self::Slot(SlotError::File(error)) | Self::File(error) => error.is_no_room(),
            Self::Start { source, .. } => source.is_no_room(),
            _ => false,
        }
    }

    /// What was to be made so is not wanted any more.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Self::Start { source, .. } if source.is_interrupted())
    }

    /// No coordinator was reached within this time on what was started.
    pub fn cut_off(&self) -> Option<Span> {
        match self {
            Self::Start { source, .. } => source.cut_off(),
            _ => None,
        }
    }

    pub fn component(&self) -> Option<&ComponentName> {
        match self {
            Self::Template { component, .. }
            | Self::NoArtifact { component }
            | Self::UnitFile { component, .. }
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
    fn cannot_start(&self, source: ProcessError) -> ConvergeError {
        ConvergeError::Start {
            component: self.component.name.clone(),
            source,
        }
    }

    /// A way back does not rest on how what it leaves takes a reload.
    fn member(&self, look: Look) -> Member {
        let trusts = look == Look::AtNothing || !matches!(self.spec.how, How::Systemd(_));
        Member {
            component: self.component.name.clone(),
            fingerprint: Some(self.spec.fingerprint()),
            takes_over: trusts
                && self
                    .run
                    .spec()
                    .is_some_and(|before| self.spec.takes_over(&before)),
        }
    }

    /// A process that was kept goes on in the slot of an earlier release: its checks
    /// look there.
    fn move_to_where_it_lives(&mut self) {
        let lives = self.run.spec();
        if let Some(spec) = lives.filter(|spec| spec.fingerprint() == self.spec.fingerprint()) {
            self.words.directory.clone_from(&spec.directory);
            self.spec = spec;
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
    pub managers: Managers,
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
    /// Stops what should not run; switches; starts what should. What both have goes on as
    /// it is. What a full disk would not let through is tried before anything is stopped.
    /// Blocks as long as stopping takes.
    pub fn run(
        &self,
        to: Option<&ReleaseRef>,
        look: Look,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Started>, ConvergeError> {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if *gate == Gate::Shut {
            return Err(ConvergeError::Shut);
        }
        match self.make_run(to, look, is_interrupted) {
            // Kept for going back: on the way forward a full disk ends the attempt.
            Err(error)
                if error.is_no_room() && look == Look::AtBytes && Ballast::new(&self.layout).give_up() =>
            {
                self.make_run(to, look, is_interrupted)
            }
            other => other,
        }
    }

    fn make_run(
        &self,
        to: Option<&ReleaseRef>,
        look: Look,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Started>, ConvergeError> {
        let slots = Slots::new(&self.layout, &self.app);
        let mut target = to.map(|release| self.describe(&slots, release)).transpose()?;
        let moves = slots.current() != to.map(|release| release.digest);
        let parts = target.iter().flat_map(|target| &target.parts);
        let wanted: Vec<Member> = parts.map(|part| part.member(look)).collect();
        let changes = changes(&self.what_runs(&slots, moves), &wanted);
        // Before anything is stopped for it.
        if look == Look::AtBytes && (moves || !changes.start.is_empty()) {
            target.as_ref().map_or(Ok(()), must_be_whole)?;
        }
        self.change(&slots, to, target.as_mut(), &changes, is_interrupted)?;
        if moves {
            tracing::info!(app = %self.app, release = to.map(ToString::to_string), ?changes, "switched");
        }
        Ok(target)
    }

    fn change(
        &self,
        slots: &Slots,
        to: Option<&ReleaseRef>,
        target: Option<&mut Started>,
        changes: &Changes,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), ConvergeError> {
        let parts = target
            .map(|target| target.parts.as_mut_slice())
            .unwrap_or_default();
        for part in parts
            .iter()
            .filter(|part| changes.start.contains(&part.component.name))
        {
            self.managers
                .prepare(&part.run, &part.spec)
                .map_err(|source| part.cannot_start(source))?;
        }
        if let Some(release) = to {
            slots.prepare_switch(release)?;
        }
        for component in &changes.stop {
            self.stop(component)?;
        }
        // What goes on is what was started only until the switch.
        for part in parts.iter().filter(|part| {
            let name = &part.component.name;
            changes.start.contains(name) && !changes.stop.contains(name)
        }) {
            part.run.forget_started()?;
        }
        slots.switch(to)?;
        // All of them, in their order: what is kept is adopted, and if it has been lost in
        // this moment it is started anew, from the slot that is current now.
        for part in parts {
            self.managers
                .start(&part.run, &part.spec, is_interrupted)
                .map_err(|source| part.cannot_start(source))?;
            part.move_to_where_it_lives();
        }
        self.retire(changes);
        Ok(())
    }

    /// What the release that runs now does not have leaves nothing behind. That it does is
    /// no reason to leave the release.
    fn retire(&self, changes: &Changes) {
        for component in &changes.gone {
            if let Err(error) = self.managers.retire(&self.run_directory(component)) {
                let error = super::chain(&error);
                tracing::warn!(app = %self.app, %component, error, "something of a component is left");
            }
        }
    }

    /// As it would run, without a look at what does.
    pub fn described(&self, release: &ReleaseRef) -> Result<Started, ConvergeError> {
        self.describe(&Slots::new(&self.layout, &self.app), release)
    }

    pub fn must_be_whole(&self, release: &ReleaseRef) -> Result<(), ConvergeError> {
        must_be_whole(&self.described(release)?)
    }

    /// Stops everything; `current` stays, for the app shall run again later.
    pub fn stop_all(&self) -> Result<(), ConvergeError> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        *gate = Gate::Shut;
        self.stop_what_runs(&Slots::new(&self.layout, &self.app))
    }

    fn stop_what_runs(&self, slots: &Slots) -> Result<(), ConvergeError> {
        for component in self.start_order(slots).iter().rev() {
            self.stop(component)?;
        }
        Ok(())
    }

    fn stop(&self, component: &ComponentName) -> Result<(), ConvergeError> {
        self.managers
            .stop(&self.run_directory(component))
            .map_err(|source| ConvergeError::Stop {
                component: component.clone(),
                source,
            })
    }

    fn run_directory(&self, component: &ComponentName) -> RunDirectory {
        RunDirectory::new(self.layout.run(&self.app, component))
    }

    fn what_runs(&self, slots: &Slots, moves: bool) -> Vec<Member> {
        self.start_order(slots)
            .into_iter()
            .map(|component| Member {
                fingerprint: self.runs_as(&component, moves),
                component,
                takes_over: false,
            })
            .collect()
    }

    /// What the component's process was started with, if that process can be kept. One
    /// that was being stopped when the agent went has no spec any more. And where the
    /// node moves to another release, what has ended is started from that one's slot: it
    /// may be the files of the earlier one that it fails for.
    fn runs_as(&self, component: &ComponentName, moves: bool) -> Option<Digest> {
        let run = self.run_directory(component);
        let state = glance(&run)?;
        let spec = run.spec()?;
        let is_up = state.is_up || !moves;
        (is_up && state.spec == spec.fingerprint()).then_some(state.spec)
    }

    /// In which the current release starts; whatever earlier releases may have left counts
    /// as started last, and so is stopped first.
    fn start_order(&self, slots: &Slots) -> Vec<ComponentName> {
        let mut order: Vec<ComponentName> = slots
            .current()
            .and_then(|digest| slots.all().remove(&digest))
            .map(|slot| slot.manifest.components.into_iter().map(|c| c.name).collect())
            .unwrap_or_default();
        let on_disk = self.layout.runs_on_disk(&self.app);
        let left: Vec<ComponentName> = on_disk.into_iter().filter(|name| !order.contains(name)).collect();
        order.extend(left.into_iter().rev());
        order
    }
}
