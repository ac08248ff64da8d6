//! What the daemon is told by signals. On a node it is told to stop; in a pod it is also
//! given what is for the apps, which have nobody else to get it from.

use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind, signal};

use super::DaemonError;
use crate::config::{PassedOn, Pod};
use crate::layout::Layout;
use crate::process::run_directory::RunDirectory;
use crate::process::supervise;

/// Whether anything outlives the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Node,
    /// The apps end with it, whatever the configuration says.
    Pod,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Stop,
    /// To the apps.
    PassOn(Signal),
}

pub(super) struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: Option<unix::Signal>,
    user1: Option<unix::Signal>,
    user2: Option<unix::Signal>,
    config: Pod,
}

impl Signals {
    pub(super) fn listen(place: Place, config: &Pod) -> Result<Self, DaemonError> {
        let listen = |kind| signal(kind).map_err(DaemonError::Signals);
        let in_pod = |kind| match place {
            Place::Pod => listen(kind).map(Some),
            Place::Node => Ok(None),
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: in_pod(SignalKind::hangup())?,
            user1: in_pod(SignalKind::user_defined1())?,
            user2: in_pod(SignalKind::user_defined2())?,
            config: config.clone(),
        })
    }

    pub(super) async fn next(&mut self) -> Told {
        loop {
            let passed = tokio::select! {
                _ = self.terminate.recv() => return Told::Stop,
                _ = self.interrupt.recv() => return Told::Stop,
                () = received(&mut self.hangup) => PassedOn::Hangup,
                () = received(&mut self.user1) => PassedOn::User1,
                () = received(&mut self.user2) => PassedOn::User2,
            };
            if self.config.pass_on.contains(&passed) {
                return Told::PassOn(passed.signal());
            }
            tracing::info!(signal = %passed.signal(), "not passed on; `pass_on` under [pod] says which are");
        }
    }

    pub(super) async fn until_told_to_stop(&mut self) {
        while self.next().await != Told::Stop {}
    }
}

async fn received(signal: &mut Option<unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// To the main process of each component that the agent supervises.
pub(super) fn pass_on(layout: &Layout, signal: Signal) {
    for app in layout.apps_on_disk() {
        for component in layout.runs_on_disk(&app) {
            let run = RunDirectory::new(layout.run(&app, &component));
            if let Some(process) = supervise::glance(&run).and_then(|state| state.app) {
                tracing::info!(%app, %component, %signal, "passed on");
                process.signal(signal);
            }
        }
    }
}
