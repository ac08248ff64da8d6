//! `pm2`, as whom and over which home. Its daemon is started by whoever asks first, and
//! stays.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fleet_proto::release::OnChange;
use nix::unistd::{Uid, User, geteuid};

use super::list::{self, App};
use super::{ONLINE, Pm2Error, Pm2Spec};
use crate::process::asked::{self, PATH, Patience};
use crate::process::log;
use crate::process::proc::ProcessId;
use crate::process::spec::Spec;
use crate::secrets::kept::EnvFrom;

/// Node.js alone takes seconds to start on a machine that is short of time, and an app of
/// many instances is reloaded one by one.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(120);
const PATIENCE: Patience = Patience {
    within: ANSWER_WITHIN,
    bytes_max: 16 << 20,
};
/// How long a list holds whose processes are all alive, and one in which something is ill.
const TRUSTED_FOR: Duration = Duration::from_secs(60);
const ILL_FOR: Duration = Duration::from_secs(1);
const PID_BYTES_MAX: u64 = 32;

static KNOWN: Mutex<BTreeMap<PathBuf, (Instant, Vec<App>)>> = Mutex::new(BTreeMap::new());

fn known() -> MutexGuard<'static, BTreeMap<PathBuf, (Instant, Vec<App>)>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Pm2 {
    user: User,
    home: PathBuf,
}

impl Pm2 {
    pub fn of(spec: &Pm2Spec) -> Result<Self, Pm2Error> {
        let found = match &spec.user {
            Some(name) => User::from_name(name),
            None => User::from_uid(geteuid()),
        };
        let name = || spec.user.clone().unwrap_or_else(|| geteuid().to_string());
        let user = found.map_err(|errno| Pm2Error::LookUp {
            name: name(),
            source: errno.into(),
        });
        let user = user?.ok_or_else(|| Pm2Error::NoUser { name: name() })?;
        let home = spec.home.clone().unwrap_or_else(|| user.dir.join(".pm2"));
        Ok(Self { user, home })
    }

    pub fn user(&self) -> Uid {
        self.user.uid
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Whether its daemon runs. Whoever asks it something would start it.
    pub fn is_up(&self) -> bool {
        let mut text = String::new();
        let file = log::open_of(self.user.uid, &self.home.join("pm2.pid"));
        let read = file.and_then(|file| file.take(PID_BYTES_MAX).read_to_string(&mut text));
        let pid = read.ok().and_then(|_| text.trim().parse().ok());
        pid.and_then(ProcessId::of).is_some_and(ProcessId::is_alive)
    }

    /// Looked for, and not asked: whatever it is asked, it starts its daemon for it.
    pub fn must_be_there(&self) -> Result<(), Pm2Error> {
        let mut places = PATH.split(':').map(|place| Path::new(place).join("pm2"));
        let is_there = places.any(|path| path.is_file());
        is_there.then_some(()).ok_or(Pm2Error::Absent)
    }

    pub fn list(&self) -> Result<Vec<App>, Pm2Error> {
        if !self.is_up() {
            return Ok(Vec::new());
        }
        let output = self.run(&["--silent", "jlist"], Path::new("/"), &BTreeMap::new())?;
        let apps = list::parse(&output).map_err(Pm2Error::List)?;
        known().insert(self.home.clone(), (Instant::now(), apps.clone()));
        Ok(apps)
    }

    /// The last list, for as long as nothing can have changed.
    pub fn list_as_known(&self, names: &[String]) -> Result<Vec<App>, Pm2Error> {
        let known = known().get(&self.home).cloned();
        let holds = |(at, apps): &(Instant, Vec<App>)| {
            let is_well = |app: &App| app.status == ONLINE && app.process.is_some_and(ProcessId::is_alive);
            let mut own = apps.iter().filter(|app| names.contains(&app.name));
            let limit = match own.all(is_well) {
                true => TRUSTED_FOR,
                false => ILL_FOR,
            };
            at.elapsed() < limit
        };
        match known.filter(holds) {
            Some((_, apps)) => Ok(apps),
            None => self.list(),
        }
    }

    pub fn last_list(&self) -> Vec<App> {
        known()
            .get(&self.home)
            .map(|(_, apps)| apps.clone())
            .unwrap_or_default()
    }

    /// With `goes_on`, whatever runs moves without a stop.
    pub fn start(&self, pm2: &Pm2Spec, spec: &Spec, goes_on: bool) -> Result<(), Pm2Error> {
        let verb = if goes_on { "startOrReload" } else { "start" };
        let (only, directory) = (pm2.names(), spec.directory.display().to_string());
        let mut arguments = vec!["--silent", verb, &pm2.file, "--only", &only, "--update-env"];
        if let Some(profile) = &pm2.profile {
            arguments.extend(["--env", profile]);
        }
        // What is reloaded stays where it was started: that has to be the link.
        if pm2.on_change == OnChange::Reload {
            arguments.extend(["--cwd", &directory]);
        }
        let secrets = spec.env_from.as_ref().map(EnvFrom::read).transpose()?;
        let mut env = spec.env.clone();
        for (name, value) in secrets.unwrap_or_default().variables() {
            env.insert(name.to_owned(), value.to_string_lossy().into_owned());
        }
        let started = self.change(&arguments, &spec.directory, &env);
        // Of all that pm2 is told, only this is what the release says.
        started.map_err(|error| match error {
            Pm2Error::Refused { what, said } => Pm2Error::NotStarted { what, said },
            error => error,
        })
    }

    pub fn delete<'a>(&self, names: impl Iterator<Item = &'a String>) -> Result<(), Pm2Error> {
        let mut arguments = vec!["--silent", "delete"];
        arguments.extend(names.map(String::as_str));
        self.change(&arguments, Path::new("/"), &BTreeMap::new())
    }

    pub fn save(&self) -> Result<(), Pm2Error> {
        self.run(&["--silent", "save", "--force"], Path::new("/"), &BTreeMap::new())
            .map(drop)
    }

    fn change(
        &self,
        arguments: &[&str],
        directory: &Path,
        env: &BTreeMap<String, String>,
    ) -> Result<(), Pm2Error> {
        let done = self.run(arguments, directory, env);
        known().remove(&self.home);
        done.map(drop)
    }

    fn run(
        &self,
        arguments: &[&str],
        directory: &Path,
        env: &BTreeMap<String, String>,
    ) -> Result<Vec<u8>, Pm2Error> {
        let what = arguments.join(" ");
        let mut command = self.command(arguments, directory, env);
        match asked::ask(&mut command, PATIENCE).map_err(Pm2Error::Run)? {
            None => Err(Pm2Error::Silent { what }),
            Some(answer) if answer.status.success() => Ok(answer.output),
            Some(answer) => Err(Pm2Error::Refused {
                what,
                said: answer.last_lines(),
            }),
        }
    }

    fn command(&self, arguments: &[&str], directory: &Path, env: &BTreeMap<String, String>) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("fleet-agent")
            .args(["launch", "--", "pm2"])
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .env("PATH", PATH)
            .envs(env)
            .env("HOME", &self.user.dir)
            .env("PM2_HOME", &self.home);
        if self.user.uid != geteuid() {
            command.uid(self.user.uid.as_raw()).gid(self.user.gid.as_raw());
        }
        command
    }
}
