//! The agent's own package, as a component: installed by dpkg, under a guard.
//!
//! ```text
//! agent A ─ record ─→ guard (A's program, a service of its own)
//!    │                  │ keep a package of A → dpkg installs B → restart
//!    └──── replaced ────┤
//! agent B ─ reached ───→│ content; or dpkg installs A → restart
//! ```
//!
//! The release is the same before and after: A finds in its ledger that B shall run, hands
//! it over and waits to be replaced; B finds the same, and that it runs; and an A that is
//! back finds that, and why.

mod command;
pub mod guard;
mod package;
mod place;
mod record;
pub mod service;
mod way_back;

use std::path::Path;
use std::time::{Duration, Instant};

use fleet_proto::quantity::Span;
use fleet_proto::session::FailureClass;
use fleet_proto::time::Timestamp;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use self::command::{CommandError, ask};
use self::place::{Place, copy};
use self::record::{End, Fault, Process, Record, Stage, Why};
use super::proc::ProcessId;
use super::run_directory::RunDirectory;
use super::spec::Spec;
use super::standing::{Members, Standing};
use crate::boundary::{Boundary, boundary};
use crate::durable::FileError;

const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Between two looks whether the guard is there.
const GUARD_EVERY: Duration = Duration::from_secs(2);
/// Beside the time that the new agent has: dpkg twice, and a package put together.
const GUARD_MAX: Duration = Duration::from_secs(20 * 60);

#[derive(Debug, thiserror::Error)]
pub enum OwnPackageError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("this agent does not run as root, and so cannot be replaced by its package")]
    NotRoot,
    #[error(
        "this agent was not installed from the package {}\nhint: install that once by hand; its updates can be rolled out from then on",
        package::NAME
    )]
    NotPackaged,
    #[error(
        "this is not the agent that {} runs\nhint: systemctl start fleet-agent",
        service::AGENT
    )]
    NotTheService,
    #[error(
        "{} is not on this node\nhint: install a newer package {} once by hand",
        service::GUARD,
        package::NAME
    )]
    NoGuard,
    #[error("{file} is no Debian package")]
    NoPackage {
        file: String,
        #[source]
        source: CommandError,
    },
    #[error("{file} is the package {package}, expected {}", package::NAME)]
    OtherPackage { file: String, package: String },
    #[error("{file} is for {architecture}, and this machine is {here}")]
    OtherMachine {
        file: String,
        architecture: String,
        here: String,
    },
    #[error("the program in {file} does not run on this machine")]
    DoesNotRun {
        file: String,
        #[source]
        source: CommandError,
    },
    #[error("{} was not touched: {}", package::NAME, .0.text)]
    Untouched(Why),
    #[error("{} {to} was taken back, and {from} runs again: {}", package::NAME, .why.text)]
    WentBack {
        from: String,
        to: String,
        within: Span,
        why: Why,
    },
    #[error(
        "the update of the agent does not come to an end\nhint: journalctl -u {}",
        service::GUARD
    )]
    NoEnd,
    #[error("{} could not be started anew", service::AGENT)]
    NotRestarted,
    #[error("something else is to be done meanwhile")]
    Interrupted,
}

impl OwnPackageError {
    pub fn class(&self) -> FailureClass {
        match self {
            Self::NoPackage { .. }
            | Self::OtherPackage { .. }
            | Self::OtherMachine { .. }
            | Self::DoesNotRun { .. } => FailureClass::Release,
            Self::Untouched(why) | Self::WentBack { why, .. } => match why.fault {
                Fault::Release => FailureClass::Release,
                Fault::Infrastructure | Fault::CutOff => FailureClass::Infrastructure,
            },
            Self::File(_)
            | Self::Command(_)
            | Self::NotRoot
            | Self::NotPackaged
            | Self::NotTheService
            | Self::NoGuard
            | Self::NoEnd
            | Self::NotRestarted
            | Self::Interrupted => FailureClass::Infrastructure,
        }
    }

    /// The new agent ran, and reached nobody in this time.
    pub fn cut_off(&self) -> Option<Span> {
        match self {
            Self::WentBack { why, within, .. } if why.fault == Fault::CutOff => Some(*within),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSpec {
    /// Among the component's files.
    pub package: String,
    /// The new agent has to reach a coordinator in this time.
    pub within: Span,
}

impl AgentSpec {
    /// Where the release does not say `confirm`.
    pub const WITHIN: Span = Span::from_secs(60);
}

/// Everything that can be known before anything is touched.
pub fn prepare(run: &RunDirectory, spec: &Spec, agent: &AgentSpec) -> Result<(), OwnPackageError> {
    // What is on its way already was looked at when it began.
    if is_begun(run, spec) {
        return Ok(());
    }
    run.create()?;
    run.prepare_spec(spec)?;
    run.prepare_started(spec.fingerprint())?;
    must_be_packaged()?;
    let file = spec.directory.join(&agent.package);
    package::must_fit(&file)?;
    let place = Place::of_this_node();
    place.create()?;
    package::try_out(&place, &file).map(drop)
}

fn must_be_packaged() -> Result<(), OwnPackageError> {
    if !geteuid().is_root() {
        return Err(OwnPackageError::NotRoot);
    }
    let program = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    // So it is said of one that was replaced while it runs.
    let program = program.to_string_lossy().replace(" (deleted)", "");
    let owner = ask("dpkg-query", &["--search", &program], ANSWER_WITHIN);
    let is_owned = |owner: &str| owner.split([':', ',']).next() == Some(package::NAME);
    if !owner.is_ok_and(|owner| is_owned(&owner)) {
        return Err(OwnPackageError::NotPackaged);
    }
    if !ProcessId::own().is_some_and(service::is_of_the_agent) {
        return Err(OwnPackageError::NotTheService);
    }
    match service::look(service::GUARD)?.load.as_str() {
        "loaded" => Ok(()),
        _ => Err(OwnPackageError::NoGuard),
    }
}

/// Makes the package installed, and waits to be replaced by it; or says that it is, or why
/// it is not any more. What a person has installed since is left as it is.
pub fn start(
    run: &RunDirectory,
    spec: &Spec,
    agent: &AgentSpec,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<(), OwnPackageError> {
    let place = Place::of_this_node();
    let own = spec.fingerprint();
    let waiting = Waiting {
        place: &place,
        limit: agent.within.as_duration() + GUARD_MAX,
        is_interrupted,
    };
    if !is_begun(run, spec) {
        // There is one package, so there is one update at a time.
        waiting.until(|| {
            !place
                .record()
                .is_some_and(|record| record.of != own && record.is_under_way())
        })?;
        run.forget_started()?;
        if place.record().is_some_and(|record| !record.is_under_way()) {
            place.forget_record()?;
        }
        run.write_spec_durably(spec)?;
    }
    let is_written = place.record().is_some_and(|record| record.of == own);
    if !is_written && (run.started() == Some(own) || !begin(&waiting, spec, agent)?) {
        return Ok(run.note_started(own)?);
    }
    let mut ended = Ok(());
    waiting.until(|| match place.record() {
        Some(record) if record.of == own => match answer(&record) {
            Some(answer) => {
                ended = answer;
                true
            }
            None => false,
        },
        // Somebody has cleared it away.
        _ => true,
    })?;
    ended?;
    Ok(run.note_started(own)?)
}

/// Nothing is undone for it. But an agent that is being taken back has not the last word on
/// how the node is without it: the one that comes after it has.
pub fn retire(run: &RunDirectory, spec: &Spec, agent: &AgentSpec) -> Result<(), OwnPackageError> {
    let place = Place::of_this_node();
    let own = spec.fingerprint();
    let waiting = Waiting {
        place: &place,
        limit: agent.within.as_duration() + GUARD_MAX,
        is_interrupted: &|| false,
    };
    waiting.until(|| {
        let record = place.record();
        !record.is_some_and(|record| record.of == own && record.is_under_way())
    })?;
    Ok(run.forget_started()?)
}

fn is_begun(run: &RunDirectory, spec: &Spec) -> bool {
    run.spec()
        .is_some_and(|begun| begun.fingerprint() == spec.fingerprint())
}

/// What the record says to the agent that runs; nothing while it is to be replaced.
fn answer(record: &Record) -> Option<Result<(), OwnPackageError>> {
    match &record.stage {
        Stage::Trying { before } => (Process::own() != *before).then_some(Ok(())),
        Stage::Ended(End::Content) => Some(Ok(())),
        Stage::Ended(End::Untouched(why)) => Some(Err(OwnPackageError::Untouched(why.clone()))),
        Stage::Ended(End::WentBack(why)) => Some(Err(OwnPackageError::WentBack {
            from: record.from.version.clone(),
            to: record.to.version.clone(),
            within: record.within,
            why: why.clone(),
        })),
        Stage::Begun | Stage::Installing | Stage::GoingBack { .. } | Stage::Back { .. } => None,
    }
}

/// Writes down what is to be done, for the guard. False if there is nothing to do.
fn begin(waiting: &Waiting<'_>, spec: &Spec, agent: &AgentSpec) -> Result<bool, OwnPackageError> {
    let place = waiting.place;
    place.create()?;
    let file = spec.directory.join(&agent.package);
    let to = package::try_out(place, &file)?;
    let from = package::installed()?.ok_or(OwnPackageError::NotPackaged)?;
    if to == from {
        return Ok(false);
    }
    must_be_packaged()?;
    waiting.until(|| matches!(place.lock(), Ok(Some(_free))))?;
    let record = Record {
        of: spec.fingerprint(),
        file: copy(&file, &place.path("new.deb"), 0o600)?,
        to,
        from,
        within: agent.within,
        stage: Stage::Begun,
    };
    copy(Path::new("/proc/self/exe"), &place.path("guard"), 0o700)?;
    place.forget_reached()?;
    place.write_record(&record)?;
    boundary(Boundary::UpdateBegun);
    let Record { from, to, .. } = &record;
    tracing::info!(
        from = from.version,
        to = to.version,
        "handing over to the guard of the update"
    );
    Ok(true)
}

struct Waiting<'a> {
    place: &'a Place,
    limit: Duration,
    is_interrupted: &'a dyn Fn() -> bool,
}

impl Waiting<'_> {
    /// Sees to it that the guard is there as long as there is something for it to do.
    fn until(&self, mut is_so: impl FnMut() -> bool) -> Result<(), OwnPackageError> {
        let began = Instant::now();
        let mut looked = None;
        while !is_so() {
            if (self.is_interrupted)() {
                return Err(OwnPackageError::Interrupted);
            }
            if began.elapsed() > self.limit {
                return Err(OwnPackageError::NoEnd);
            }
            let is_time = looked.is_none_or(|at: Instant| at.elapsed() > GUARD_EVERY);
            if is_time && self.place.record().is_some_and(|record| record.is_under_way()) {
                service::start_guard()?;
                looked = Some(Instant::now());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

/// Whether the agent is being replaced: it does not end for good then.
pub fn is_being_replaced() -> bool {
    let place = Place::of_this_node();
    place.record().is_some_and(|record| record.is_under_way())
}

pub fn glance(run: &RunDirectory) -> Option<Standing> {
    let spec = run.started()?;
    let record = Place::of_this_node().record();
    let stage = record
        .filter(|record| record.of == spec)
        .map(|record| record.stage);
    let why = match &stage {
        Some(Stage::GoingBack { why, .. } | Stage::Back { why } | Stage::Ended(End::WentBack(why))) => {
            Some(why.text.clone())
        }
        _ => None,
    };
    let noted = run.path().join("started").metadata();
    let since = noted.and_then(|about| about.modified()).ok();
    let since = since.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    Some(Standing {
        spec,
        is_up: why.is_none(),
        is_given_up: false,
        main: None,
        keeper: None,
        members: Members::None,
        restarts: 0,
        since: Timestamp(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))),
        last_exit: why.map(|why| format!("is being taken back: {why}")),
    })
}

/// What dpkg said last.
pub fn log_tail(lines: usize) -> Vec<String> {
    Place::of_this_node().dpkg().log_tail(lines)
}
