//! The message bus over which a systemd is told and asked: the system's, or a user's own.
//!
//! One connection a manager, on a thread of its own, so that code which may not wait for a
//! future can ask. What a unit is like is kept until the manager says that it has changed.

mod connection;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use fleet_proto::release::UnitName;
use nix::unistd::User;
use tokio::sync::broadcast;
use zbus::OwnedObjectPath;

use self::connection::Open;

const SYSTEM_SOCKET: &str = "/run/dbus/system_bus_socket";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const OBJECT: &str = "/org/freedesktop/systemd1";
/// As long as an app may take to stop that the agent itself runs, and a bit more.
const JOB_WITHIN: Duration = Duration::from_secs(660);
/// Signals may be lost, above all around a reload.
const TRUSTED_FOR: Duration = Duration::from_secs(5);
const LOOK_AFTER_JOB_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum BusError {
    #[error("there is no systemd to talk to at {}", .socket.display())]
    Connect {
        socket: PathBuf,
        #[source]
        source: zbus::Error,
    },
    #[error("cannot reach the bus of user {id}")]
    Relay {
        id: u32,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot start what talks to systemd")]
    Runtime(#[source] std::io::Error),
    #[error("systemd does not {what}")]
    Refused {
        what: String,
        #[source]
        source: zbus::Error,
    },
    #[error("systemd gave no answer")]
    Gone,
}

/// What the manager says of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitState {
    pub load: String,
    pub active: String,
    pub sub: String,
    pub result: String,
    pub restarts: u32,
    pub main_pid: u32,
    pub exit_code: i32,
    pub exit_status: i32,
    pub control_group: String,
    /// Of its newest start, in hexadecimal digits.
    pub invocation: String,
    /// In microseconds.
    pub changed_at: u64,
    pub needs_reload: bool,
    /// Of the file that systemd has read.
    pub fragment: String,
}

/// How a job ended, in systemd's word: `done`, `failed`, `timeout`, `dependency`…
pub type JobResult = String;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    Start,
    Stop,
    ReloadOrRestart,
}

impl Job {
    const fn method(self) -> &'static str {
        match self {
            Self::Start => "StartUnit",
            Self::Stop => "StopUnit",
            Self::ReloadOrRestart => "ReloadOrRestartUnit",
        }
    }
}

/// A manager that can be talked to. Copies share one connection.
#[derive(Clone)]
pub struct Bus {
    socket: PathBuf,
    user: Option<User>,
    open: Arc<tokio::sync::Mutex<Option<Open>>>,
}

/// The same for all who ask in this process.
pub fn bus(user: Option<User>) -> Bus {
    static BUSES: OnceLock<Mutex<BTreeMap<Option<u32>, Bus>>> = OnceLock::new();
    let id = user.as_ref().map(|user| user.uid.as_raw());
    let socket = match id {
        None => PathBuf::from(SYSTEM_SOCKET),
        Some(id) => PathBuf::from(format!("/run/user/{id}/bus")),
    };
    let buses = BUSES.get_or_init(Mutex::default);
    let mut buses = buses.lock().unwrap_or_else(PoisonError::into_inner);
    let new = || Bus {
        socket,
        user,
        open: Arc::default(),
    };
    buses.entry(id).or_insert_with(new).clone()
}

/// Waits for the work, on whatever thread this is; gives up when it is told to.
pub fn wait<T: Send + 'static>(
    work: impl Future<Output = Result<T, BusError>> + Send + 'static,
    is_interrupted: &dyn Fn() -> bool,
) -> Result<Option<T>, BusError> {
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    let (sender, receiver) = mpsc::sync_channel(1);
    let task = runtime()?.spawn(async move {
        let _nobody_waits = sender.send(work.await);
    });
    loop {
        match receiver.recv_timeout(LOOK_EVERY) {
            Ok(answer) => return answer.map(Some),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(BusError::Gone),
            Err(mpsc::RecvTimeoutError::Timeout) if is_interrupted() => {
                task.abort();
                return Ok(None);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

fn runtime() -> Result<&'static tokio::runtime::Runtime, BusError> {
    static RUNTIME: OnceLock<Option<tokio::runtime::Runtime>> = OnceLock::new();
    let start = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("systemd")
            .enable_all()
            .build()
            .ok()
    };
    let runtime = RUNTIME.get_or_init(start);
    runtime
        .as_ref()
        .ok_or_else(|| BusError::Runtime(std::io::Error::other("no more threads")))
}

impl Bus {
    pub async fn unit(self, name: UnitName) -> Result<UnitState, BusError> {
        let open = self.open().await?;
        let path = object_of(&name);
        let known = open.known.units().get(&path).cloned();
        if let Some((at, state)) = known
            && at.elapsed() < TRUSTED_FOR
        {
            return Ok(state);
        }
        let before = open.known.changes.load(Ordering::SeqCst);
        // Whatever is on the disk is read, and what is nowhere is said to be nowhere.
        let load = format!("load {name}");
        open.tell("LoadUnit", &(name.as_str(),), &load).await?;
        let state = open.look(&path).await?;
        let mut units = open.known.units();
        // What changed while this was asked is asked again.
        if open.known.changes.load(Ordering::SeqCst) == before {
            units.insert(path, (Instant::now(), state.clone()));
        }
        Ok(state)
    }

    /// Waits for the end of the job, but not for ever: a unit may give itself all the time in
    /// the world.
    pub async fn job(self, job: Job, name: UnitName) -> Result<JobResult, BusError> {
        let ended = tokio::time::timeout(JOB_WITHIN, self.job_without_limit(job, name));
        ended.await.unwrap_or_else(|_| Ok("not over".to_owned()))
    }

    async fn job_without_limit(self, job: Job, name: UnitName) -> Result<JobResult, BusError> {
        let open = self.open().await?;
        // Before it is asked for: a short job has ended before its name is known here.
        let mut ended = open.ended_jobs.subscribe();
        let what = format!("{} for {name}", job.method());
        let answer = open
            .tell(job.method(), &(name.as_str(), "replace"), &what)
            .await?;
        let wanted: OwnedObjectPath = answer.body().deserialize().map_err(refused(&what))?;
        open.known.forget(Some(&object_of(&name)));
        loop {
            match tokio::time::timeout(LOOK_AFTER_JOB_EVERY, ended.recv()).await {
                Ok(Ok((path, result))) if path == wanted => {
                    open.known.forget(Some(&object_of(&name)));
                    return Ok(result);
                }
                Ok(Ok(_) | Err(broadcast::error::RecvError::Lagged(_))) => {}
                Ok(Err(broadcast::error::RecvError::Closed)) => return Err(BusError::Gone),
                // Its end may have been said where nobody heard it.
                Err(_) if open.is_closed() => return Err(BusError::Gone),
                Err(_) if !open.is_there(&wanted).await => {
                    open.known.forget(Some(&object_of(&name)));
                    return Ok("done".to_owned());
                }
                Err(_) => {}
            }
        }
    }

    pub async fn reload(self) -> Result<(), BusError> {
        let open = self.open().await?;
        open.tell("Reload", &(), "reload").await?;
        open.known.forget(None);
        Ok(())
    }

    /// What counts starts begins anew: the next one is not refused for those before it.
    pub async fn reset_failed(self, name: UnitName) -> Result<(), BusError> {
        let open = self.open().await?;
        let what = format!("reset {name}");
        let reset = open.tell("ResetFailedUnit", &(name.as_str(),), &what).await;
        open.known.forget(Some(&object_of(&name)));
        match reset {
            // One that is not in memory has no count.
            Err(BusError::Refused {
                source: zbus::Error::MethodError(error, ..),
                ..
            }) if error.as_str() == NO_SUCH_UNIT => Ok(()),
            other => other.map(drop),
        }
    }

    /// All of its processes.
    pub async fn kill(self, name: UnitName) -> Result<(), BusError> {
        let open = self.open().await?;
        let what = format!("kill {name}");
        let body = (name.as_str(), "all", nix::libc::SIGKILL);
        let killed = open.tell("KillUnit", &body, &what).await;
        open.known.forget(Some(&object_of(&name)));
        killed.map(drop)
    }

    /// One that is stopped and disabled would be forgotten, and read anew from the disk with
    /// all that lies about it when it starts, which takes longer than the start.
    pub async fn hold(self, name: UnitName) -> Result<(), BusError> {
        let open = self.open().await?;
        if !open.known.held().insert(name.clone()) {
            return Ok(());
        }
        let what = format!("hold {name}");
        let held = open.tell("RefUnit", &(name.as_str(),), &what).await;
        if held.is_err() {
            open.known.held().remove(&name);
        }
        held.map(drop)
    }

    /// Of one that was held, if it was.
    pub async fn let_go(self, name: UnitName) -> Result<(), BusError> {
        let open = self.open().await?;
        if !open.known.held().remove(&name) {
            return Ok(());
        }
        let what = format!("let go of {name}");
        open.tell("UnrefUnit", &(name.as_str(),), &what).await.map(drop)
    }

    /// So that it starts with the machine, if its file says with what.
    pub async fn enable(self, names: Vec<UnitName>) -> Result<(), BusError> {
        let open = self.open().await?;
        let names: Vec<&str> = names.iter().map(UnitName::as_str).collect();
        let what = format!("enable {}", names.join(" "));
        open.tell("EnableUnitFiles", &(&names, false, true), &what)
            .await?;
        Ok(())
    }

    pub async fn disable(self, names: Vec<UnitName>) -> Result<(), BusError> {
        let open = self.open().await?;
        let names: Vec<&str> = names.iter().map(UnitName::as_str).collect();
        let what = format!("disable {}", names.join(" "));
        open.tell("DisableUnitFiles", &(&names, false), &what).await?;
        Ok(())
    }

    /// By the disk, whatever the manager has read: `enabled`, `disabled`, `static`, `masked`…
    pub async fn file_state(self, name: UnitName) -> Result<String, BusError> {
        let open = self.open().await?;
        let what = format!("say whether {name} is enabled");
        let answer = open.tell("GetUnitFileState", &(name.as_str(),), &what).await;
        match answer {
            Ok(answer) => answer.body().deserialize().map_err(refused(&what)),
            // It has no file, which is seen elsewhere.
            Err(BusError::Refused { .. }) => Ok(String::new()),
            Err(error) => Err(error),
        }
    }

    /// One that was lost, as when systemd itself was started anew, is made again.
    async fn open(&self) -> Result<Open, BusError> {
        let mut open = self.open.lock().await;
        if let Some(open) = open.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let new = Open::begin(&self.socket, self.user.as_ref()).await?;
        Ok(open.insert(new).clone())
    }
}

fn refused(what: &str) -> impl FnOnce(zbus::Error) -> BusError {
    let what = what.to_owned();
    move |source| BusError::Refused { what, source }
}

/// As systemd names it: every byte that is no letter or digit is written as `_2e`.
fn object_of(name: &UnitName) -> String {
    let mut path = format!("{OBJECT}/unit/");
    for (at, byte) in name.as_str().bytes().enumerate() {
        let is_plain = byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && at > 0);
        match is_plain {
            true => path.push(char::from(byte)),
            false => path.push_str(&format!("_{byte:02x}")),
        }
    }
    path
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn units_have_the_objects_that_systemd_gives_them() {
        for (name, object) in [
            ("shop-api.service", "shop_2dapi_2eservice"),
            ("worker@1.service", "worker_401_2eservice"),
            ("7up_x.service", "_37up_5fx_2eservice"),
        ] {
            let expected = format!("/org/freedesktop/systemd1/unit/{object}");
            assert_eq!(object_of(&name.parse().unwrap()), expected);
        }
    }
}
