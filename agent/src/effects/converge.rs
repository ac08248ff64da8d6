//! Making one release run, and nothing else of the app. Can be done any number of times.

pub mod describe;
mod error;
mod files;
mod hooks;
mod secrets;
mod still;
mod target;

pub use error::ConvergeError;
pub use files::ConfigFileError;
pub use secrets::{Ask, SecretError};
pub use target::Target;

use std::sync::{Arc, Mutex, PoisonError};

use fleet_proto::digest::Digest;
use fleet_proto::ids::{AppName, ComponentName};
use fleet_proto::release::{Component, GivenAs, ReleaseRef, SecretName};

use self::secrets::Own;
use super::changes::{Changes, Member, changes};
use super::hooks::{Occasion, Plan};
use crate::ballast::Ballast;
use crate::config::Config;
use crate::handed::{Handed, Plain, secret_in};
use crate::layout::Layout;
use crate::process::managers::{Managers, ProcessError};
use crate::process::run_directory::RunDirectory;
use crate::process::spec::{How, Spec};
use crate::process::standing::glance;
use crate::secrets::kept::SecretEnv;
use crate::slots::{Slot, Slots};
use crate::template::Words;

pub use hooks::HookError;

fn must_be_whole(target: &Started) -> Result<(), ConvergeError> {
    if target.slot.is_whole() {
        return Ok(());
    }
    Err(ConvergeError::Damaged {
        release: target.release.clone(),
    })
}

/// One component as it shall run.
#[derive(Debug, Clone)]
pub struct Part {
    pub component: Component,
    pub words: Words,
    pub spec: Spec,
    pub run: RunDirectory,
    /// To be written before it starts.
    pub config: Arc<[Plain]>,
    pub secrets: Arc<Own>,
}

impl Part {
    /// What its checks find too that are commands.
    pub fn secret_env(&self) -> SecretEnv {
        let wanted = self.component.secrets.iter();
        let in_env = wanted.filter(|wanted| wanted.given == GivenAs::Env);
        SecretEnv::of(in_env.filter_map(|wanted| {
            let secret = self.secrets.get(&wanted.name)?;
            Some((wanted.name.clone(), secret.clone()))
        }))
    }

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
        to: Option<&Target>,
        look: Look,
        occasion: Occasion,
        ask: Ask,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Started>, ConvergeError> {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if *gate == Gate::Shut {
            return Err(ConvergeError::Shut);
        }
        match self.make_run(to, look, occasion, ask, is_interrupted) {
            // Kept for going back: on the way forward a full disk ends the attempt.
            Err(error)
                if error.is_no_room() && look == Look::AtBytes && Ballast::new(&self.layout).give_up() =>
            {
                self.make_run(to, look, occasion, ask, is_interrupted)
            }
            other => other,
        }
    }

    fn make_run(
        &self,
        to: Option<&Target>,
        look: Look,
        occasion: Occasion,
        ask: Ask,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Started>, ConvergeError> {
        let slots = Slots::new(&self.layout, &self.app);
        let mut target = match to {
            Some(target) => Some(self.described_as_of(&slots, target, ask, is_interrupted)?),
            None => None,
        };
        let moves = slots.current() != to.map(|target| target.release.digest);
        let mut changes = self.changes(&slots, target.as_ref(), moves, look);
        if let (Some(to), Some(described), true) = (to, &target, ask != Ask::Providers)
            && let Some(renewed) = self.renewed(described, to, &changes, is_interrupted)?
        {
            target = Some(renewed);
            changes = self.changes(&slots, target.as_ref(), moves, look);
        }
        let to = to.map(|target| &target.release);
        // Before anything is stopped for it.
        if look == Look::AtBytes && (moves || !changes.start.is_empty()) {
            target.as_ref().map_or(Ok(()), must_be_whole)?;
        }
        if let Some(target) = &target {
            self.hand_over(target)?;
        }
        let parts = target.as_ref().map_or(&[][..], |target| &target.parts);
        let hooks = self.plan_hooks(occasion, &changes, parts);
        self.change(&slots, to, target.as_mut(), (&changes, &hooks), is_interrupted)?;
        if moves {
            tracing::info!(app = %self.app, release = to.map(ToString::to_string), ?changes, "switched");
        }
        Ok(target)
    }

    fn changes(&self, slots: &Slots, target: Option<&Started>, moves: bool, look: Look) -> Changes {
        let parts = target.into_iter().flat_map(|target| &target.parts);
        let wanted: Vec<Member> = parts.map(|part| part.member(look)).collect();
        changes(&self.what_runs(slots, moves), &wanted)
    }

    fn described_as_of(
        &self,
        slots: &Slots,
        target: &Target,
        ask: Ask,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<Started, ConvergeError> {
        let slot = slots.open(&target.release)?;
        let secrets = self.secrets(&slot, target, ask, &|_| true, is_interrupted)?;
        self.describe(&slot, target, &secrets)
    }

    fn change(
        &self,
        slots: &Slots,
        to: Option<&ReleaseRef>,
        target: Option<&mut Started>,
        (changes, hooks): (&Changes, &Plan),
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), ConvergeError> {
        let left = slots.current_slot();
        let slot = target.as_ref().map(|target| target.slot.clone());
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
            self.leave(left.as_ref(), hooks.leaving_of(component), is_interrupted)?;
            self.stop(component)?;
        }
        self.leave(
            left.as_ref(),
            hooks.leaving_besides(&changes.stop),
            is_interrupted,
        )?;
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
            self.expect_hooks(part, changes.start.contains(&part.component.name));
            self.managers
                .start(&part.run, &part.spec, is_interrupted)
                .map_err(|source| part.cannot_start(source))?;
            part.move_to_where_it_lives();
            if let Some(slot) = &slot {
                self.has_started(slot, part, hooks, is_interrupted)?;
            }
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
    pub fn described(&self, target: &Target) -> Result<Started, ConvergeError> {
        self.described_for(target, Ask::KeptElseProviders)
    }

    fn described_for(&self, target: &Target, ask: Ask) -> Result<Started, ConvergeError> {
        let slots = Slots::new(&self.layout, &self.app);
        self.described_as_of(&slots, target, ask, &|| false)
    }

    pub fn must_be_whole(&self, target: &Target) -> Result<(), ConvergeError> {
        must_be_whole(&self.described(target)?)
    }

    /// As [`Converge::described`], for what is run beside the release that runs: with all that
    /// it is handed, and in its own directories.
    pub fn described_beside(&self, target: &Target) -> Result<Started, ConvergeError> {
        let mut described = self.described_for(target, Ask::ProvidersElseKept)?;
        self.hand_over(&described)?;
        let handed = Handed::of(&self.layout, &self.app, &target.release.digest);
        for part in &mut described.parts {
            let name = &part.component.name;
            part.words.directory = described.slot.files(name);
            if let Some(config) = &mut part.words.config {
                *config = handed.config(name);
            }
            let place = |secret: &SecretName| secret_in(handed.root(), name, secret);
            part.words.secrets = describe::secret_files(&part.component, place);
        }
        Ok(described)
    }

    /// What the release's components find beside their files, durably. What is there already
    /// stays as it is.
    fn hand_over(&self, target: &Started) -> Result<(), ConvergeError> {
        let handed = Handed::of(&self.layout, &self.app, &target.release.digest);
        for part in target.parts.iter().filter(|part| !part.config.is_empty()) {
            handed.link_from(&target.slot)?;
            handed.write_config(&part.component.name, &part.config)?;
        }
        self.hand_secrets_over(&handed, target)
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
