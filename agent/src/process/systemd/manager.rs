//! One systemd, the system's or a user's: what is done to units, and what is installed for them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fleet_proto::release::{OnChange, UnitName};

use super::bus::{self, Bus, Job, UnitState};
use super::{SystemdError, UnitSpec, how_it_is, runs, unit_file};
use crate::boundary::{Boundary, boundary};
use crate::durable::{self, failed};

/// SIGKILL cannot be ignored, only delayed.
const KILLED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A systemd, and where what is installed for it lies.
pub(super) struct Manager {
    pub(super) bus: Bus,
    pub(super) units: PathBuf,
    pub(super) user: Option<u32>,
}

/// Takes no notice of whoever wants something else meanwhile.
fn never() -> bool {
    false
}

impl Manager {
    pub(super) fn look(&self, units: &[UnitName]) -> Result<Vec<(UnitName, UnitState)>, SystemdError> {
        let look = |name: &UnitName| {
            let state = bus::wait(self.bus.clone().unit(name.clone()), &never)?;
            Ok((name.clone(), state.unwrap_or_default()))
        };
        units.iter().map(look).collect()
    }

    pub(super) fn must_be_there(&self, units: &[UnitName]) -> Result<(), SystemdError> {
        for (unit, state) in self.look(units)? {
            match state.load.as_str() {
                "loaded" => {}
                "not-found" => return Err(SystemdError::Absent { unit }),
                load => {
                    let load = load.to_owned();
                    return Err(SystemdError::Unusable { unit, load });
                }
            }
        }
        Ok(())
    }

    /// Beside those that hold, so that after this no room is needed to make them hold.
    pub(super) fn prepare(&self, unit: &UnitSpec) -> Result<(), SystemdError> {
        for (name, text) in unit.files() {
            let path = self.units.join(name);
            let there = std::fs::read_to_string(&path).ok();
            if there
                .as_ref()
                .is_some_and(|there| !unit_file::is_of_this_app(there, text))
            {
                return Err(SystemdError::NotOurs { path });
            }
            let new = durable::beside(&path, "new");
            let is_prepared = std::fs::read_to_string(&new).is_ok_and(|there| there == text);
            if there.as_deref() != Some(text) && !is_prepared {
                durable::create_public_directory(durable::parent(&path))?;
                durable::write_new(&new, text.as_bytes(), 0o644)?;
            }
        }
        Ok(())
    }

    /// Makes what was prepared hold, and removes what only the one before it had. Tells
    /// whether anything is another now.
    pub(super) fn install(&self, unit: &UnitSpec, before: Option<&UnitSpec>) -> Result<bool, SystemdError> {
        let wanted = unit.files();
        let mut directories = BTreeSet::new();
        for (name, text) in &wanted {
            let path = self.units.join(name);
            if std::fs::read_to_string(&path).is_ok_and(|there| there == *text) {
                continue;
            }
            let new = durable::beside(&path, "new");
            std::fs::rename(&new, &path).map_err(failed("rename", &new))?;
            directories.insert(durable::parent(&path).to_owned());
        }
        for directory in &directories {
            durable::sync_directory(directory)?;
        }
        let mut old = before.map(UnitSpec::files).unwrap_or_default();
        old.retain(|(name, _)| !wanted.iter().any(|(wanted, _)| wanted == name));
        // Of another user's manager: that one reads it no more, and it is no other's.
        let is_removed = match before.map(UnitSpec::manager).transpose()? {
            Some(manager) => manager.remove(&old)?,
            None => false,
        };
        Ok(is_removed || !directories.is_empty())
    }

    pub(super) fn remove(&self, files: &[(PathBuf, &str)]) -> Result<bool, SystemdError> {
        let mut is_removed = false;
        for (name, text) in files {
            let path = self.units.join(name);
            // Another component may have it by now.
            if !std::fs::read_to_string(&path)
                .is_ok_and(|there| unit_file::is_of_this_component(&there, text))
            {
                continue;
            }
            durable::remove(&path)?;
            // Only if nobody else has put something there.
            if name.parent().is_some_and(|parent| parent != Path::new("")) {
                let _not_empty = std::fs::remove_dir(durable::parent(&path));
            }
            is_removed = true;
        }
        Ok(is_removed)
    }

    /// Also where systemd has read another file than the one that is installed.
    pub(super) fn needs_reload(&self, unit: &UnitSpec) -> Result<bool, SystemdError> {
        let installed = self.units.join(unit.name.as_str());
        let is_stale = |state: &UnitState| {
            state.needs_reload
                || state.load != "loaded"
                || (unit.file.is_some() && Path::new(&state.fragment) != installed)
        };
        Ok(self.look(&unit.units)?.iter().any(|(_, state)| is_stale(state)))
    }

    pub(super) fn reload(&self) -> Result<(), SystemdError> {
        bus::wait(self.bus.clone().reload(), &never)?;
        Ok(())
    }

    /// A newer systemd wants to read everything anew after that, and says so of each unit
    /// until it has.
    pub(super) fn enable(&self, unit: &UnitSpec) -> Result<(), SystemdError> {
        bus::wait(self.bus.clone().enable(unit.units.clone()), &never)?;
        self.reload_if_asked(&unit.units)
    }

    fn reload_if_asked(&self, units: &[UnitName]) -> Result<(), SystemdError> {
        match self.look(units)?.iter().any(|(_, state)| state.needs_reload) {
            true => self.reload(),
            false => Ok(()),
        }
    }

    /// Those of them that start with the machine.
    fn enabled(&self, units: Vec<UnitName>) -> Result<Vec<UnitName>, SystemdError> {
        let mut enabled = Vec::new();
        for name in units {
            let state = bus::wait(self.bus.clone().file_state(name.clone()), &never)?;
            if state.is_none_or(|state| state != "disabled") {
                enabled.push(name);
            }
        }
        Ok(enabled)
    }

    pub(super) fn start(
        &self,
        name: &UnitName,
        on_change: OnChange,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<(), SystemdError> {
        self.must_be_there(std::slice::from_ref(name))?;
        // After a crash loop systemd would refuse the next start, whatever it starts.
        bus::wait(self.bus.clone().reset_failed(name.clone()), &never)?;
        let job = match on_change {
            OnChange::Restart => Job::Start,
            OnChange::Reload => Job::ReloadOrRestart,
        };
        let result = bus::wait(self.bus.clone().job(job, name.clone()), is_interrupted)?;
        self.let_go(name);
        match result.as_deref() {
            None => Err(SystemdError::Interrupted),
            Some("done") => Ok(()),
            Some(result) => {
                let states = self.look(std::slice::from_ref(name))?;
                let how = states.first().map(|(name, state)| how_it_is(name, state));
                Err(SystemdError::NotStarted {
                    unit: name.clone(),
                    how: how.unwrap_or_else(|| result.to_owned()),
                })
            }
        }
    }

    /// Of one that was held while it was stopped.
    pub(super) fn let_go(&self, name: &UnitName) {
        let _ends_with_the_connection = bus::wait(self.bus.clone().let_go(name.clone()), &never);
    }

    /// Last started, first stopped; and before that none of them starts with the machine.
    pub(super) fn stop(&self, unit: &UnitSpec) -> Result<(), SystemdError> {
        let states = self.look(&unit.units)?;
        let loaded = states.iter().filter(|(_, state)| state.load == "loaded");
        let loaded: Vec<UnitName> = loaded.map(|(name, _)| name.clone()).collect();
        if unit.file.is_some() && !loaded.is_empty() {
            for name in &loaded {
                let _only_slower = bus::wait(self.bus.clone().hold(name.clone()), &never);
            }
            let enabled = self.enabled(loaded)?;
            if !enabled.is_empty() {
                bus::wait(self.bus.clone().disable(enabled.clone()), &never)?;
                // While it still runs: nobody waits for it then.
                self.reload_if_asked(&enabled)?;
            }
            boundary(Boundary::UnitDisabled);
        }
        for (name, state) in states.into_iter().rev() {
            if runs(&state) {
                bus::wait(self.bus.clone().job(Job::Stop, name), &never)?;
            }
        }
        boundary(Boundary::UnitStopped);
        for name in self.running(unit)? {
            tracing::warn!(unit = %name, "it does not stop by itself, and is killed");
            let _just_gone = bus::wait(self.bus.clone().kill(name), &never);
        }
        let deadline = Instant::now() + KILLED_WITHIN;
        while let Some(name) = self.running(unit)?.pop() {
            if Instant::now() > deadline {
                let how = "it was killed, and systemd still says that it runs".to_owned();
                return Err(SystemdError::NotStopped { unit: name, how });
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn running(&self, unit: &UnitSpec) -> Result<Vec<UnitName>, SystemdError> {
        let states = self.look(&unit.units)?.into_iter();
        let running = states.filter(|(_, state)| runs(state));
        Ok(running.map(|(name, _)| name).collect())
    }
}
