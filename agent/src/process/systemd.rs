//! Units of the node's systemd: installed from the release, and run by systemd's own rules.
//!
//! ```text
//! prepare  unit.service.new, beside the one that holds         (the old release runs)
//! start    forget what was started → rename → note the spec → reload if a file changed → job →
//!          enable → note it
//! stop     forget what was started → hold → disable → job
//! retire   remove what was installed → reload
//! ```
//!
//! While it is noted what was started, the unit on the disk and the files of the current
//! release are those: a machine that boots then runs what the agent would have started. In
//! between the unit is not enabled, and the agent starts it.
//!
//! A unit that ends is systemd's to start again, or not; and what a person has stopped stays
//! stopped until the agent is told to do something.

pub mod bus;
pub mod drift;
mod journal;
mod manager;
pub mod relay;
pub mod unit_file;

use std::path::{Path, PathBuf};

use fleet_proto::digest::Digest;
use fleet_proto::release::{OnChange, UnitName};
use fleet_proto::session::FailureClass;
use fleet_proto::time::Timestamp;
use nix::unistd::{User, geteuid};
use serde::{Deserialize, Serialize};

use self::bus::{BusError, UnitState};
use self::manager::Manager;
use super::proc::ProcessId;
use super::run_directory::RunDirectory;
use super::spec::{How, Spec};
use super::standing::{Members, Standing};
use crate::boundary::{Boundary, boundary};
use crate::durable::FileError;

const SYSTEM_UNITS: &str = "/etc/systemd/system";
const USER_UNITS: &str = "/etc/systemd/user";
const DROP_IN: &str = "50-fleet.conf";

#[derive(Debug, thiserror::Error)]
pub enum SystemdError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("there is no user {name} on this node")]
    NoUser { name: String },
    #[error("cannot look up the user {name}")]
    LookUp {
        name: String,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{unit} is not on this node\nhint: name it as `file` in the component's [component.run], and the release brings it"
    )]
    Absent { unit: UnitName },
    #[error("{unit} cannot be used: systemd says it is {load}")]
    Unusable { unit: UnitName, load: String },
    #[error("{} was not put there by Fleet, and is not replaced\nhint: remove it, or leave `file` out of [component.run] to use it as it is", .path.display())]
    NotOurs { path: PathBuf },
    #[error("{unit} did not start: {how}")]
    NotStarted { unit: UnitName, how: String },
    #[error("{unit} did not stop: {how}")]
    NotStopped { unit: UnitName, how: String },
    #[error("something else is to be done meanwhile")]
    Interrupted,
}

impl SystemdError {
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Absent { .. } | Self::Unusable { .. } | Self::NoUser { .. } | Self::NotStarted { .. } => {
                FailureClass::Release
            }
            Self::File(_)
            | Self::Bus(_)
            | Self::LookUp { .. }
            | Self::NotOurs { .. }
            | Self::NotStopped { .. }
            | Self::Interrupted => FailureClass::Infrastructure,
        }
    }
}

/// A component that systemd runs, every word filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitSpec {
    pub name: UnitName,
    /// What is started: the unit, or instances of it.
    pub units: Vec<UnitName>,
    pub user: Option<String>,
    pub on_change: OnChange,
    /// What the release brings, marked as Fleet's.
    pub file: Option<String>,
    pub drop_in: Option<String>,
}

impl UnitSpec {
    fn of(spec: &Spec) -> Option<&Self> {
        match &spec.how {
            How::Systemd(unit) => Some(unit),
            _ => None,
        }
    }

    /// The units go on and are told to take what is new.
    pub fn takes_over(&self, before: &Self) -> bool {
        // Another command, another variable, another limit: a process has those from its start.
        self.on_change == OnChange::Reload && before == self
    }

    /// What is installed for it, below the manager's directory.
    fn files(&self) -> Vec<(PathBuf, &str)> {
        let unit = self
            .file
            .iter()
            .map(|text| (PathBuf::from(self.name.as_str()), text.as_str()));
        let drop_in = self.drop_in.iter().map(|text| {
            let directory = format!("{}.d", self.name);
            (Path::new(&directory).join(DROP_IN), text.as_str())
        });
        unit.chain(drop_in).collect()
    }

    fn manager(&self) -> Result<Manager, SystemdError> {
        let Some(name) = &self.user else {
            return Ok(Manager {
                bus: bus::bus(None),
                units: PathBuf::from(SYSTEM_UNITS),
                user: None,
            });
        };
        let no_user = || SystemdError::NoUser { name: name.clone() };
        let user = User::from_name(name).map_err(|errno| SystemdError::LookUp {
            name: name.clone(),
            source: errno.into(),
        });
        let user = user?.ok_or_else(no_user)?;
        // An agent that is not root has only its own directory, and only its own manager.
        let units = match geteuid().is_root() {
            true => PathBuf::from(USER_UNITS),
            false => user.dir.join(".config/systemd/user"),
        };
        Ok(Manager {
            user: Some(user.uid.as_raw()),
            bus: bus::bus(Some(user)),
            units,
        })
    }
}

pub fn prepare(run: &RunDirectory, spec: &Spec, unit: &UnitSpec) -> Result<(), SystemdError> {
    run.create()?;
    run.prepare_spec(spec)?;
    run.prepare_started(spec.fingerprint())?;
    let manager = unit.manager()?;
    // What another release put in its place goes when this one is installed.
    let is_brought_now = run
        .spec()
        .as_ref()
        .and_then(UnitSpec::of)
        .is_some_and(|now| now.file.is_some() && now.user == unit.user);
    if unit.file.is_none() && !is_brought_now {
        manager.must_be_there(&unit.units)?;
    }
    manager.prepare(unit)?;
    boundary(Boundary::UnitPrepared);
    Ok(())
}

/// Makes the units run as the spec says. Those that do already go on.
pub fn start(
    run: &RunDirectory,
    spec: &Spec,
    unit: &UnitSpec,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<(), SystemdError> {
    let manager = unit.manager()?;
    // What cannot be seen is not touched: it may be as well as can be.
    let states = manager.look(&unit.units)?;
    if run.started() == Some(spec.fingerprint()) && states.iter().all(|(_, state)| is_on_its_feet(state)) {
        return Ok(());
    }
    prepare(run, spec, unit)?;
    let before = run.spec();
    run.forget_started()?;
    match before.as_ref().and_then(UnitSpec::of) {
        Some(before) if unit.takes_over(before) => {}
        Some(before) => manager_stops(before)?,
        None => manager.stop(unit)?,
    }
    let before = before.as_ref().and_then(UnitSpec::of);
    // Until the spec is written it is known what the one before it has installed.
    let is_changed = manager.install(unit, before)?;
    boundary(Boundary::UnitInstalled);
    run.write_spec_durably(spec)?;
    boundary(Boundary::SpecWritten);
    if is_changed || manager.needs_reload(unit)? {
        manager.reload()?;
        boundary(Boundary::UnitReloaded);
    }
    for name in &unit.units {
        manager.start(name, unit.on_change, is_interrupted)?;
    }
    boundary(Boundary::UnitStarted);
    for name in before.iter().flat_map(|before| &before.units) {
        manager.let_go(name);
    }
    if unit.file.is_some() {
        // It runs, and the agent starts what does not start with the machine.
        if let Err(error) = manager.enable(unit) {
            let error = crate::effects::chain(&error);
            tracing::warn!(unit = %unit.name, error, "it runs, and will not start with the machine by itself");
        }
        boundary(Boundary::UnitEnabled);
    }
    run.note_started(spec.fingerprint())?;
    boundary(Boundary::UnitNoted);
    Ok(())
}

/// Nothing of it runs when this returns well.
pub fn stop(run: &RunDirectory, unit: &UnitSpec) -> Result<(), SystemdError> {
    run.forget_started()?;
    boundary(Boundary::UnitForgotten);
    manager_stops(unit)
}

fn manager_stops(unit: &UnitSpec) -> Result<(), SystemdError> {
    unit.manager()?.stop(unit)
}

/// Takes back what was installed for it.
pub fn retire(unit: &UnitSpec) -> Result<(), SystemdError> {
    let manager = unit.manager()?;
    manager.remove(&unit.files())?;
    manager.reload()?;
    unit.units.iter().for_each(|name| manager.let_go(name));
    Ok(())
}

pub fn glance(run: &RunDirectory, unit: &UnitSpec) -> Option<Standing> {
    let started = run.started();
    let mut standing = Standing {
        // While it is being stopped or started it is nobody's.
        spec: started.unwrap_or_else(|| Digest::of(b"")),
        is_up: true,
        is_given_up: false,
        main: None,
        keeper: None,
        members: Members::None,
        restarts: 0,
        since: Timestamp(0),
        last_exit: None,
    };
    let looked = unit.manager().and_then(|manager| manager.look(&unit.units));
    let is_there = |states: &[(UnitName, UnitState)]| states.iter().any(|(_, state)| runs(state));
    if started.is_none() && !looked.as_ref().is_ok_and(|states| is_there(states)) {
        return None;
    }
    match looked {
        Ok(states) => {
            let groups = states.iter().map(|(_, state)| state.control_group.clone());
            standing.members = Members::Groups(groups.filter(|group| !group.is_empty()).collect());
            states
                .iter()
                .for_each(|(name, state)| add(&mut standing, name, state));
        }
        Err(error) => {
            standing.is_up = false;
            standing.last_exit = Some(format!("cannot be seen: {}", crate::effects::chain(&error)));
        }
    }
    Some(standing)
}

fn add(standing: &mut Standing, name: &UnitName, state: &UnitState) {
    if !is_up(state) {
        standing.is_up = false;
        standing.is_given_up |= !runs(state);
        standing.last_exit.get_or_insert_with(|| how_it_is(name, state));
    }
    let pid = i32::try_from(state.main_pid).ok().filter(|pid| *pid > 0);
    standing.main = standing.main.or_else(|| pid.and_then(ProcessId::of));
    standing.restarts += u64::from(state.restarts);
    standing.since = standing.since.max(Timestamp(state.changed_at / 1000));
}

/// The last lines of the first unit that is not up, else of the first.
pub fn log_tail(unit: &UnitSpec, lines: usize) -> Vec<String> {
    let Ok(manager) = unit.manager() else {
        return Vec::new();
    };
    let states = manager.look(&unit.units).unwrap_or_default();
    let ill = states.iter().find(|(_, state)| !is_up(state));
    ill.or(states.first()).map_or_else(Vec::new, |(_, state)| {
        journal::tail(&state.invocation, manager.user, lines)
    })
}

/// In whose manager it is; none in the system's own.
pub fn user_of(unit: &UnitSpec) -> Result<Option<u32>, SystemdError> {
    Ok(unit.manager()?.user)
}

fn is_up(state: &UnitState) -> bool {
    matches!(state.active.as_str(), "active" | "reloading")
}

/// Up, or on its way there, as after a boot.
fn is_on_its_feet(state: &UnitState) -> bool {
    is_up(state) || (state.active == "activating" && state.sub != "auto-restart")
}

fn runs(state: &UnitState) -> bool {
    !matches!(state.active.as_str(), "inactive" | "failed")
}

/// Continues "it …".
fn how_it_is(name: &UnitName, state: &UnitState) -> String {
    const EXITED: i32 = nix::libc::CLD_EXITED;
    const KILLED: i32 = nix::libc::CLD_KILLED;
    const DUMPED: i32 = nix::libc::CLD_DUMPED;
    let UnitState { active, sub, .. } = state;
    let ended = match (state.exit_code, state.exit_status) {
        (EXITED, status) => format!("exited with code {status}"),
        (KILLED | DUMPED, signal) => match nix::sys::signal::Signal::try_from(signal) {
            Ok(signal) => format!("was killed by {signal}"),
            Err(_) => format!("was killed by signal {signal}"),
        },
        _ if state.load == "not-found" => "is not on this node".to_owned(),
        _ => "ended".to_owned(),
    };
    let why = match state.result.as_str() {
        "" | "success" | "exit-code" | "signal" => String::new(),
        result => format!(", {result}"),
    };
    format!("{ended}; {name} is {active} ({sub}{why})")
}
