//! Apps of pm2: started from the release's ecosystem file by the node's own pm2, and looked
//! at in the list that it keeps.
//!
//! What its commands answer says nothing: they succeed for an app that has crashed, and for
//! one that is not there. So every act ends with a look at the list. A look starts a whole
//! Node.js; while the processes of the last one are alive, it holds.

mod command;
pub mod list;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fleet_proto::release::OnChange;
use fleet_proto::session::FailureClass;
use fleet_proto::time::Timestamp;
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};

use self::command::Pm2;
use self::list::App;
use super::asked;
use super::log;
use super::proc::ProcessId;
use super::run_directory::RunDirectory;
use super::spec::Spec;
use super::standing::{Members, Standing};
use crate::durable::FileError;

/// pm2 gives an app 1.6 s to end, unless its ecosystem file says otherwise.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Two for each process of a component.
const LOGS_MAX: usize = 128;
const ONLINE: &str = "online";
const GIVEN_UP: [&str; 2] = ["errored", "stopped"];

#[derive(Debug, thiserror::Error)]
pub enum Pm2Error {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("there is no user {name} on this node")]
    NoUser { name: String },
    #[error("cannot look up the user {name}")]
    LookUp {
        name: String,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "there is no pm2 on this node\nhint: npm install --global pm2; it is looked for in {}",
        asked::PATH
    )]
    Absent,
    #[error("pm2 cannot be run")]
    Run(#[source] std::io::Error),
    #[error("pm2 gave no answer to `{what}` within {}s", command::ANSWER_WITHIN.as_secs())]
    Silent { what: String },
    #[error("pm2 does not {what}: {said}")]
    Refused { what: String, said: String },
    #[error("pm2 does not {what}: {said}")]
    NotStarted { what: String, said: String },
    #[error("pm2 gave a list that cannot be read")]
    List(#[source] list::ListError),
    #[error("{file} has no app {name}")]
    NoApp { file: String, name: String },
    #[error("{file} is not among the component's files")]
    NoFile { file: String },
    #[error("{names} did not stop")]
    NotStopped { names: String },
}

impl Pm2Error {
    pub fn class(&self) -> FailureClass {
        match self {
            Self::NoUser { .. } | Self::NotStarted { .. } | Self::NoApp { .. } | Self::NoFile { .. } => {
                FailureClass::Release
            }
            Self::File(_)
            | Self::Absent
            | Self::LookUp { .. }
            | Self::Run(_)
            | Self::Silent { .. }
            | Self::Refused { .. }
            | Self::List(_)
            | Self::NotStopped { .. } => FailureClass::Infrastructure,
        }
    }
}

/// A component that pm2 runs, every word filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pm2Spec {
    /// The ecosystem file, among the component's files.
    pub file: String,
    /// Which of its apps.
    pub only: Vec<String>,
    /// pm2's `--env`.
    pub profile: Option<String>,
    pub user: Option<String>,
    /// `PM2_HOME`; the user's own if it is not said.
    pub home: Option<PathBuf>,
    pub on_change: OnChange,
}

impl Pm2Spec {
    /// pm2 moves its processes one by one. It gives them the variables with which they were
    /// started first, so that other ones need a start.
    pub fn takes_over(&self, before: &Self) -> bool {
        let same = |spec: &Self| {
            let whose = (spec.user.clone(), spec.home.clone());
            (spec.only.clone(), spec.profile.clone(), whose)
        };
        self.on_change == OnChange::Reload
            && before.on_change == OnChange::Reload
            && same(self) == same(before)
    }

    fn no_file(&self) -> Pm2Error {
        let file = self.file.clone();
        Pm2Error::NoFile { file }
    }

    fn names(&self) -> String {
        self.only.join(",")
    }
}

pub fn prepare(run: &RunDirectory, spec: &Spec, pm2: &Pm2Spec) -> Result<(), Pm2Error> {
    run.create()?;
    run.prepare_spec(spec)?;
    run.prepare_started(spec.fingerprint())?;
    Pm2::of(pm2)?.must_be_there()?;
    // By way of `current` there is another release until the switch.
    let is_there = pm2.on_change == OnChange::Reload || spec.directory.join(&pm2.file).is_file();
    is_there.then_some(()).ok_or_else(|| pm2.no_file())
}

pub fn start(run: &RunDirectory, spec: &Spec, pm2: &Pm2Spec) -> Result<(), Pm2Error> {
    let before = run.spec();
    if run.started() == Some(spec.fingerprint()) && glance(run, pm2).is_some_and(|standing| standing.is_up) {
        return Ok(());
    }
    prepare(run, spec, pm2)?;
    // What cannot be seen is not touched.
    let _seen = Pm2::of(pm2)?.list()?;
    if !spec.directory.join(&pm2.file).is_file() {
        return Err(pm2.no_file());
    }
    run.forget_started()?;
    let program = Pm2::of(pm2)?;
    let goes_on = before.as_ref().is_some_and(|before| spec.takes_over(before));
    if !goes_on {
        stop_apps(&program, &pm2.only)?;
    }
    run.write_spec_durably(spec)?;
    note_where_logs_end(run, &program)?;
    program.start(pm2, spec, goes_on)?;
    let apps = program.list()?;
    if let Some(name) = pm2.only.iter().find(|name| of(&apps, name).next().is_none()) {
        return Err(Pm2Error::NoApp {
            file: pm2.file.clone(),
            name: name.clone(),
        });
    }
    // So that pm2 brings up the same after a boot, where somebody has told it to.
    program.save()?;
    Ok(run.note_started(spec.fingerprint())?)
}

/// Nothing of it runs when this returns well.
pub fn stop(run: &RunDirectory, pm2: &Pm2Spec) -> Result<(), Pm2Error> {
    run.forget_started()?;
    let program = Pm2::of(pm2)?;
    if stop_apps(&program, &pm2.only)? {
        program.save()?;
    }
    Ok(())
}

/// Tells whether there was anything.
fn stop_apps(program: &Pm2, names: &[String]) -> Result<bool, Pm2Error> {
    // To ask would start it.
    if !program.is_up() {
        return Ok(false);
    }
    let apps = program.list()?;
    let there: Vec<&App> = names.iter().flat_map(|name| of(&apps, name)).collect();
    if there.is_empty() {
        return Ok(false);
    }
    program.delete(names.iter().filter(|name| of(&apps, name).next().is_some()))?;
    let deadline = Instant::now() + ENDS_WITHIN;
    loop {
        let is_listed = program.list()?.iter().any(|app| names.contains(&app.name));
        let is_alive = there
            .iter()
            .any(|app| app.process.is_some_and(ProcessId::is_alive));
        if !is_listed && !is_alive {
            return Ok(true);
        }
        if Instant::now() > deadline {
            let names = names.join(", ");
            return Err(Pm2Error::NotStopped { names });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn of<'a>(apps: &'a [App], name: &'a str) -> impl Iterator<Item = &'a App> {
    apps.iter().filter(move |app| app.name == name)
}

pub fn glance(run: &RunDirectory, pm2: &Pm2Spec) -> Option<Standing> {
    let mut standing = Standing {
        spec: run.started()?,
        is_up: true,
        is_given_up: false,
        main: None,
        keeper: None,
        members: Members::None,
        restarts: 0,
        since: Timestamp(0),
        last_exit: None,
    };
    let apps = match Pm2::of(pm2).and_then(|program| program.list_as_known(&pm2.only)) {
        Ok(apps) => apps,
        Err(error) => {
            standing.is_up = false;
            standing.last_exit = Some(format!("cannot be seen: {}", crate::effects::chain(&error)));
            return Some(standing);
        }
    };
    let mut roots = Vec::new();
    for name in &pm2.only {
        let mut instances = 0;
        for app in of(&apps, name) {
            instances += 1;
            add(&mut standing, app);
            roots.extend(app.process);
        }
        if instances == 0 {
            standing.is_up = false;
            let gone = || format!("is not in pm2's list: there is no {name}");
            standing.last_exit.get_or_insert_with(gone);
        }
    }
    standing.members = Members::Below(roots);
    Some(standing)
}

fn add(standing: &mut Standing, app: &App) {
    let is_up = app.status == ONLINE && app.process.is_some_and(ProcessId::is_alive);
    if !is_up {
        standing.is_up = false;
        standing.is_given_up |= GIVEN_UP.contains(&app.status.as_str());
        standing.last_exit.get_or_insert_with(|| {
            let ended = match app.exit_code {
                Some(code) => format!("exited with code {code}"),
                None => "ended".to_owned(),
            };
            format!("{ended}; pm2 says that {} is {}", app.name, app.status)
        });
    }
    standing.main = standing.main.or(app.process);
    standing.restarts += app.restarts;
    standing.since = standing.since.max(Timestamp(app.since));
}

/// What the apps have written since they were started: errors, else whatever there is, else
/// what pm2 itself says of them.
pub fn log_tail(run: &RunDirectory, pm2: &Pm2Spec, lines: usize) -> Vec<String> {
    let Ok(program) = Pm2::of(pm2) else {
        return Vec::new();
    };
    let apps = program.list_as_known(&pm2.only).unwrap_or_default();
    let ends = run.logs().unwrap_or_default();
    let tail = |path: &Path| {
        let from = ends.get(path).copied().unwrap_or(0);
        log::tail_of(program.user(), path, from, lines)
    };
    let mine: Vec<&App> = pm2.only.iter().flat_map(|name| of(&apps, name)).collect();
    let errors = mine.iter().map(|app| &app.error_log);
    let output = mine.iter().map(|app| &app.output_log);
    let own = program.home().join("pm2.log");
    errors
        .chain(output)
        .chain([&own])
        .map(|path| tail(path))
        .find(|lines| !lines.is_empty())
        .unwrap_or_default()
}

/// Apps that were not started from these files, and where they were.
pub fn elsewhere(pm2: &Pm2Spec, directory: &Path) -> Result<Vec<(String, PathBuf)>, Pm2Error> {
    let apps = Pm2::of(pm2)?.list_as_known(&pm2.only)?;
    let behind_links = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    let mine = pm2.only.iter().flat_map(|name| of(&apps, name));
    let is_elsewhere =
        |app: &&App| !app.directory.starts_with(directory) && !app.directory.starts_with(&behind_links);
    let elsewhere = mine.filter(is_elsewhere);
    Ok(elsewhere
        .map(|app| (app.name.clone(), app.directory.clone()))
        .collect())
}

/// Whose they are, and where all of its apps write now.
pub fn logs(pm2: &Pm2Spec) -> Result<(Uid, BTreeSet<PathBuf>), Pm2Error> {
    let program = Pm2::of(pm2)?;
    let apps = program.list_as_known(&pm2.only)?;
    let mine = pm2.only.iter().flat_map(|name| of(&apps, name));
    let logs = mine.flat_map(|app| [app.output_log.clone(), app.error_log.clone()]);
    let logs = logs.filter(|path| path.is_absolute());
    Ok((program.user(), logs.take(LOGS_MAX).collect()))
}

/// pm2 goes on writing to the same files, whatever the release.
fn note_where_logs_end(run: &RunDirectory, program: &Pm2) -> Result<(), Pm2Error> {
    let logs = std::fs::read_dir(program.home().join("logs"));
    let in_home = logs.into_iter().flatten().flatten().map(|entry| entry.path());
    let in_home = in_home.chain([program.home().join("pm2.log")]);
    let listed = program.last_list();
    let listed = listed.into_iter().flat_map(|app| [app.error_log, app.output_log]);
    let length = |path: PathBuf| Some((path.clone(), std::fs::metadata(path).ok()?.len()));
    let ends: BTreeMap<PathBuf, u64> = in_home.chain(listed).filter_map(length).collect();
    Ok(run.write_logs(&ends)?)
}
