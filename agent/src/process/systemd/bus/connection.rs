//! One connection to a manager: what is called in it, and what the manager says by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fleet_proto::release::UnitName;
use nix::unistd::{User, geteuid};
use tokio::sync::broadcast;
use tokio_stream::StreamExt as _;
use zbus::message::Message;
use zbus::zvariant::{DynamicType, OwnedVariant};
use zbus::{ObjectPath, OwnedObjectPath};

use super::super::relay;
use super::{BusError, JobResult, OBJECT, UnitState, refused};

const CHANGES: &str = "type='signal',sender='org.freedesktop.systemd1'";
const NAME: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// A reload of a manager with many units takes seconds on a machine that is short of time.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Jobs that end while nobody is looking are not waited for any more.
const ENDED_JOBS_MAX: usize = 256;

#[derive(Clone)]
pub(super) struct Open {
    connection: zbus::Connection,
    pub known: Arc<Known>,
    pub ended_jobs: broadcast::Sender<(OwnedObjectPath, JobResult)>,
}

/// What was asked since the last change, and what is held in this connection.
#[derive(Default)]
pub(super) struct Known {
    units: Mutex<BTreeMap<String, (Instant, UnitState)>>,
    pub changes: AtomicU64,
    held: Mutex<BTreeSet<UnitName>>,
}

impl Known {
    pub fn units(&self) -> MutexGuard<'_, BTreeMap<String, (Instant, UnitState)>> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn held(&self) -> MutexGuard<'_, BTreeSet<UnitName>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn forget(&self, path: Option<&str>) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        match path {
            Some(path) => drop(self.units().remove(path)),
            None => self.units().clear(),
        }
    }
}

impl Open {
    pub async fn begin(socket: &Path, user: Option<&User>) -> Result<Self, BusError> {
        let failed = |source| BusError::Connect {
            socket: socket.to_owned(),
            source,
        };
        let builder = match user.filter(|user| user.uid != geteuid()) {
            None => {
                let address = format!("unix:path={}", socket.display());
                zbus::connection::Builder::address(address.as_str())
            }
            // A user's bus lets nobody else in, whoever it is.
            Some(user) => {
                let id = user.uid.as_raw();
                let stream = relay::begin(user, socket);
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
        let open = Self {
            connection,
            known: Arc::default(),
            ended_jobs,
        };
        let signals = zbus::MessageStream::from(&open.connection);
        tokio::spawn(listen(signals, open.known.clone(), open.ended_jobs.clone()));
        open.listen_to_changes().await?;
        Ok(open)
    }

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
        self.tell("Subscribe", &(), what).await?;
        Ok(())
    }

    /// The manager itself.
    pub async fn tell<B: serde::Serialize + DynamicType>(
        &self,
        method: &str,
        body: &B,
        what: &str,
    ) -> Result<Message, BusError> {
        self.call(OBJECT, MANAGER, method, body, what).await
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

    pub async fn look(&self, path: &str) -> Result<UnitState, BusError> {
        let unit = |name| self.property(path, UNIT, name);
        let service = |name| self.property(path, SERVICE, name);
        let load = unit("LoadState").await?.text();
        let (active, sub, changed_at, invocation, needs_reload, fragment) = tokio::try_join!(
            unit("ActiveState"),
            unit("SubState"),
            unit("StateChangeTimestamp"),
            unit("InvocationID"),
            unit("NeedDaemonReload"),
            unit("FragmentPath")
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
            fragment: fragment.text(),
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

    pub fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Unless systemd says that there is no such job.
    pub async fn is_there(&self, job: &OwnedObjectPath) -> bool {
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
