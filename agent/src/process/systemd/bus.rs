//! The message bus over which a systemd is told and asked: the system's, or a user's own.
//!
//! One connection a manager, on a thread of its own, so that code which may not wait for a
//! future can ask. What a unit is like is kept until the manager says that it has changed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use fleet_proto::release::UnitName;
use nix::unistd::{User, geteuid};
use tokio::sync::broadcast;
use tokio_stream::StreamExt as _;
use zbus::message::Message;
use zbus::zvariant::{DynamicType, OwnedVariant};
use zbus::{ObjectPath, OwnedObjectPath};

use super::relay;

const SYSTEM_SOCKET: &str = "/run/dbus/system_bus_socket";
const CHANGES: &str = "type='signal',sender='org.freedesktop.systemd1'";
const NAME: &str = "org.freedesktop.systemd1";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// A reload of a manager with many units takes seconds on a machine that is short of time.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// As long as an app may take to stop that the agent itself runs, and a bit more.
const JOB_WITHIN: Duration = Duration::from_secs(660);
/// Signals may be lost, above all around a reload.
const TRUSTED_FOR: Duration = Duration::from_secs(5);
const LOOK_AFTER_JOB_EVERY: Duration = Duration::from_millis(500);
/// Jobs that end while nobody is looking are not waited for any more.
const ENDED_JOBS_MAX: usize = 256;

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

#[derive(Clone)]
struct Open {
    connection: zbus::Connection,
    known: Arc<Known>,
    ended_jobs: broadcast::Sender<(OwnedObjectPath, JobResult)>,
}

/// What was asked since the last change.
#[derive(Default)]
struct Known {
    units: Mutex<BTreeMap<String, (Instant, UnitState)>>,
    changes: AtomicU64,
}

impl Known {
    fn units(&self) -> MutexGuard<'_, BTreeMap<String, (Instant, UnitState)>> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, path: Option<&str>) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        match path {
            Some(path) => drop(self.units().remove(path)),
            None => self.units().clear(),
        }
    }
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
        open.call(OBJECT, MANAGER, "LoadUnit", &(name.as_str(),), &load)
            .await?;
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
            .call(OBJECT, MANAGER, job.method(), &(name.as_str(), "replace"), &what)
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
        open.call(OBJECT, MANAGER, "Reload", &(), "reload").await?;
        open.known.forget(None);
        Ok(())
    }

    /// What counts starts begins anew: the next one is not refused for those before it.
    pub async fn reset_failed(self, name: UnitName) -> Result<(), BusError> {
        let open = self.open().await?;
        let what = format!("reset {name}");
        let reset = open
            .call(OBJECT, MANAGER, "ResetFailedUnit", &(name.as_str(),), &what)
            .await;
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

    /// So that it starts with the machine, if its file says with what.
    pub async fn enable(self, names: Vec<UnitName>) -> Result<(), BusError> {
        let open = self.open().await?;
        let names: Vec<&str> = names.iter().map(UnitName::as_str).collect();
        let what = format!("enable {}", names.join(" "));
        open.call(OBJECT, MANAGER, "EnableUnitFiles", &(&names, false, true), &what)
            .await?;
        Ok(())
    }

    pub async fn disable(self, names: Vec<UnitName>) -> Result<(), BusError> {
        let open = self.open().await?;
        let names: Vec<&str> = names.iter().map(UnitName::as_str).collect();
        let what = format!("disable {}", names.join(" "));
        open.call(OBJECT, MANAGER, "DisableUnitFiles", &(&names, false), &what)
            .await?;
        Ok(())
    }

    /// By the disk, whatever the manager has read: `enabled`, `disabled`, `static`, `masked`…
    pub async fn file_state(self, name: UnitName) -> Result<String, BusError> {
        let open = self.open().await?;
        let what = format!("say whether {name} is enabled");
        let answer = open
            .call(OBJECT, MANAGER, "GetUnitFileState", &(name.as_str(),), &what)
            .await;
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
        if let Some(open) = open.as_ref().filter(|open| !open.connection.is_closed()) {
            return Ok(open.clone());
        }
        Ok(open.insert(self.connect().await?).clone())
    }

    async fn connect(&self) -> Result<Open, BusError> {
        let failed = |source| BusError::Connect {
            socket: self.socket.clone(),
            source,
        };
        let builder = match self.user.as_ref().filter(|user| user.uid != geteuid()) {
            None => {
                let address = format!("unix:path={}", self.socket.display());
                zbus::connection::Builder::address(address.as_str())
            }
            // A user's bus lets nobody else in, whoever it is.
            Some(user) => {
                let id = user.uid.as_raw();
                let stream = relay::begin(user, &self.socket);
                let stream = stream.map_err(|source| BusError::Relay { id, source })?;
                zbus::connection::Builder::unix_stream(stream).user_id(id)
            }
        };
        let connecting = builder.method_timeout(ANSWER_WITHIN).build();
        let connection = tokio::time::timeout(ANSWER_WITHIN, connecting)
            .await
            .map_err(|_| BusError::Gone)?
            .map_err(failed)?;
        let (ended_jobs, _) = broadcast::channel(ENDED_JOBS_MAX);
        let open = Open {
            connection,
            known: Arc::default(),
            ended_jobs,
        };
        let signals = zbus::MessageStream::from(&open.connection);
        tokio::spawn(listen(signals, open.known.clone(), open.ended_jobs.clone()));
        open.listen_to_changes().await?;
        Ok(open)
    }
}

impl Open {
    async fn listen_to_changes(&self) -> Result<(), BusError> {
        const BUS: &str = "org.freedesktop.DBus";
        let what = "say what changes";
        self.connection
            .call_method(
                Some(BUS),
                "/org/freedesktop/DBus",
                Some(BUS),
                "AddMatch",
                &(CHANGES,),
            )
            .await
            .map_err(refused(what))?;
        self.call(OBJECT, MANAGER, "Subscribe", &(), what).await?;
        Ok(())
    }

    async fn call<B: serde::Serialize + DynamicType>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
        what: &str,
    ) -> Result<Message, BusError> {
        let call = self
            .connection
            .call_method(Some(NAME), path, Some(interface), method, body);
        call.await.map_err(refused(what))
    }

    async fn look(&self, path: &str) -> Result<UnitState, BusError> {
        let unit = |name| self.property(path, UNIT, name);
        let service = |name| self.property(path, SERVICE, name);
        let load = unit("LoadState").await?.text();
        let (active, sub, changed_at, invocation, needs_reload) = tokio::try_join!(
            unit("ActiveState"),
            unit("SubState"),
            unit("StateChangeTimestamp"),
            unit("InvocationID"),
            unit("NeedDaemonReload")
        )?;
        // One whose file is gone may run still; one that never was has nothing more to say.
        if load != "loaded" && service("Result").await.is_err() {
            return Ok(UnitState {
                load,
                active: active.text(),
                sub: sub.text(),
                ..UnitState::default()
            });
        }
        let (result, restarts, main_pid, exit_code, exit_status, control_group) = tokio::try_join!(
            service("Result"),
            service("NRestarts"),
            service("MainPID"),
            service("ExecMainCode"),
            service("ExecMainStatus"),
            service("ControlGroup")
        )?;
        Ok(UnitState {
            load,
            active: active.text(),
            sub: sub.text(),
            result: result.text(),
            restarts: restarts.number(),
            main_pid: main_pid.number(),
            exit_code: exit_code.number(),
            exit_status: exit_status.number(),
            control_group: control_group.text(),
            invocation: invocation.hexadecimal(),
            changed_at: changed_at.number(),
            needs_reload: needs_reload.truth(),
        })
    }

    async fn property(&self, path: &str, interface: &str, name: &str) -> Result<Property, BusError> {
        let what = format!("say the {name} of {path}");
        let answer = self
            .call(path, PROPERTIES, "Get", &(interface, name), &what)
            .await?;
        let value = answer.body().deserialize().map_err(refused(&what))?;
        Ok(Property(value))
    }

    /// Unless systemd says that there is no such job.
    async fn is_there(&self, job: &OwnedObjectPath) -> bool {
        let state = self.property(job.as_str(), "org.freedesktop.systemd1.Job", "State");
        match state.await {
            Err(BusError::Refused {
                source: zbus::Error::FDO(error),
                ..
            }) => !matches!(*error, zbus::fdo::Error::UnknownObject(_)),
            _ => true,
        }
    }
}

struct Property(OwnedVariant);

impl Property {
    fn text(self) -> String {
        String::try_from(self.0).unwrap_or_default()
    }

    /// Of whichever width; those that are asked for are never negative.
    fn number<T: TryFrom<i64> + Default>(self) -> T {
        let value = self.0;
        let number = i32::try_from(&*value)
            .map(i64::from)
            .or_else(|_| u32::try_from(&*value).map(i64::from))
            .or_else(|_| u64::try_from(&*value).map(|number| i64::try_from(number).unwrap_or(i64::MAX)));
        number
            .ok()
            .and_then(|number| T::try_from(number).ok())
            .unwrap_or_default()
    }

    fn truth(self) -> bool {
        bool::try_from(self.0).unwrap_or_default()
    }

    fn hexadecimal(self) -> String {
        let bytes: Vec<u8> = self.0.try_into().unwrap_or_default();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn refused(what: &str) -> impl FnOnce(zbus::Error) -> BusError {
    let what = what.to_owned();
    move |source| BusError::Refused { what, source }
}

/// Until the connection ends; then nothing is known any more.
async fn listen(
    mut messages: zbus::MessageStream,
    known: Arc<Known>,
    ended_jobs: broadcast::Sender<(OwnedObjectPath, JobResult)>,
) {
    while let Some(Ok(message)) = messages.next().await {
        let header = message.header();
        let member = header.member().map(zbus::names::MemberName::as_str);
        match member {
            Some("PropertiesChanged") => known.forget(header.path().map(ObjectPath::as_str)),
            Some("JobRemoved") => {
                let job: Result<(u32, OwnedObjectPath, String, String), _> = message.body().deserialize();
                if let Ok((_, path, _, result)) = job {
                    let _nobody_waits = ended_jobs.send((path, result));
                }
            }
            Some("Reloading" | "UnitNew" | "UnitRemoved") => known.forget(None),
            _ => {}
        }
    }
    known.forget(None);
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
