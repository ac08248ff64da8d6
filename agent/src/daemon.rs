//! The one loop: inputs change the ledger, the ledger says what is to be done.
//!
//! ```text
//!  link, lanes, local socket, signals
//!        └→ turn: record → ledger on the disk → assign work → report
//! ```

mod drain;
mod orders;
mod questions;
mod service;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use fleet_proto::identity::Peer;
use fleet_proto::ids::AppName;
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Health, HistoryCause, Refusal, ToAgent};
use fleet_proto::time::Timestamp;
use fleet_proto::tls::TlsError;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::app::{App, AppEvent, Assignment};
use crate::boundary::{Boundary, boundary};
use crate::config::{Config, OnStop};
use crate::durable::FileError;
use crate::effects::admit::History;
use crate::effects::chain;
use crate::effects::converge::Converge;
use crate::effects::fetch::Node;
use crate::effects::room::Disk;
use crate::hold::{Held, HoldError, hold};
use crate::identity::{self, IdentityError};
use crate::install::Outcome;
use crate::layout::Layout;
use crate::ledger::{AppRecord, Ledger, LedgerError};
use crate::link::{Link, LinkEvent, Reach, Report, Said};
use crate::local;
use crate::process::managers::Managers;
use crate::process::own_package::guard::note_reached;
use crate::process::own_package::is_being_replaced;
use crate::renew::Renewal;
use crate::tasks::{Ended, Tasks};

const EVENTS_MAX: usize = 64;
const REFUSALS_MAX: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Hold(#[from] HoldError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the ledger cannot be written, so nothing more may be done on this node")]
    Ledger(#[from] LedgerError),
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    Task(#[from] Ended),
}

/// Runs until told to stop.
pub async fn run(config: Config, config_path: &Path) -> Result<(), DaemonError> {
    let config = Arc::new(config);
    let layout = Layout::new(&config.state);
    let held = hold(&layout)?;
    let (credentials, peer) = identity::read(&layout, config_path, &config.node)?;
    // Without a coordinator the apps still have to run, so this is no reason to stop.
    if let Err(error) = identity::must_be_valid(&peer, Timestamp::now()) {
        tracing::error!("{}", chain(&error));
    }
    let client_config = Arc::new(ArcSwap::from_pointee(credentials.client_config()?));
    let reach = Reach::new(&config.coordinators, &client_config)?;

    let (report, reported) = watch::channel(Report::default());
    let (refusals, refused) = mpsc::channel(REFUSALS_MAX);
    let (link_events, mut from_link) = mpsc::channel(EVENTS_MAX);
    let (app_events, mut from_apps) = mpsc::channel(EVENTS_MAX);
    let (questions, mut asked) = mpsc::channel(EVENTS_MAX);
    let (peer, peer_now) = watch::channel(peer);
    let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Signals)?;

    let mut daemon = Daemon {
        node: Node {
            config: config.clone(),
            layout: layout.clone(),
            reach: reach.clone(),
            disk: Disk::of(layout.root().to_owned()),
        },
        held,
        apps: BTreeMap::new(),
        assigned: 0,
        health: BTreeMap::new(),
        still: BTreeSet::new(),
        prefetch: BTreeMap::new(),
        again: BTreeMap::new(),
        coordinator: None,
        peer: peer_now,
        report,
        refusals,
        app_events,
        waiting: Vec::new(),
    };
    daemon.recover().await?;

    let mut tasks = Tasks::default();
    let socket = local::listen(&layout.socket())?;
    tasks.spawn("local socket", local::serve(socket, questions));
    let link = Link {
        reach: reach.clone(),
        report: reported,
        refusals: refused,
        events: link_events,
        state: config.state.clone(),
    };
    tasks.spawn("link to the coordinator", link.run());
    let renewal = Renewal {
        layout,
        node: config.node.clone(),
        reach,
        client_config,
        peer,
    };
    tasks.spawn("renewal of certificates", renewal.run());
    service::ready();
    let mut watchdog = tokio::time::interval(service::watchdog_interval());

    let on_stop = loop {
        tokio::select! {
            Some(event) = from_link.recv() => daemon.link(event).await?,
            Some((app, event)) = from_apps.recv() => daemon.app(&app, event).await?,
            Some(asked) = asked.recv() => {
                if let Some((answer, told)) = daemon.local(asked).await? {
                    tracing::info!("told to stop together with the apps");
                    // Apps may take longer over it than the watchdog has patience.
                    service::stopping();
                    daemon.stop_apps().await;
                    let _asker_gone = answer.send(local::Answer::Stopped);
                    told.wait().await;
                    break OnStop::Keep;
                }
            }
            ended = tasks.ended() => return Err(ended.into()),
            _ = watchdog.tick() => service::alive(),
            // Another agent is there in a moment, and the apps are its own.
            _ = terminate.recv() => break match is_being_replaced() {
                true => OnStop::Keep,
                false => config.on_stop,
            },
            _ = interrupt.recv() => break config.on_stop,
        }
    };
    service::stopping();
    if on_stop == OnStop::Stop {
        daemon.stop_apps().await;
    }
    tracing::info!("stopped");
    Ok(())
}

struct Daemon {
    node: Node,
    held: Held,
    apps: BTreeMap<AppName, App>,
    /// The number of the newest assignment of any app.
    assigned: u64,
    health: BTreeMap<AppName, Health>,
    /// Apps of which nothing runs any more since the node is drained.
    still: BTreeSet<AppName>,
    prefetch: BTreeMap<AppName, ReleaseRef>,
    again: BTreeMap<AppName, u64>,
    coordinator: Option<String>,
    peer: watch::Receiver<Peer>,
    report: watch::Sender<Report>,
    refusals: mpsc::Sender<Refusal>,
    app_events: crate::app::Events,
    /// Rollbacks by hand whose outcome somebody waits for.
    waiting: Vec<questions::Waiting>,
}

impl Daemon {
    async fn link(&mut self, event: LinkEvent) -> Result<(), DaemonError> {
        match event {
            LinkEvent::Up { address } => {
                self.coordinator = Some(address);
                tokio::task::block_in_place(note_reached);
            }
            LinkEvent::Down { .. } => {
                self.coordinator = None;
                if let Err(error) = identity::must_be_valid(&self.peer.borrow(), Timestamp::now()) {
                    tracing::error!("{}", chain(&error));
                }
            }
            LinkEvent::Message(ToAgent::Command(command)) => self.command(&command).await?,
            LinkEvent::Message(ToAgent::HistoryTaken { through_sequence }) => {
                let mut ledger = self.ledger();
                ledger.forget_history_through(through_sequence);
                self.commit(ledger).await?;
                self.report();
            }
            LinkEvent::Message(ToAgent::Prefetch { app, release }) => self.prefetch(&app, release),
            LinkEvent::Message(ToAgent::Service(told)) => self.serve_or_not(told).await?,
            LinkEvent::Message(ToAgent::Welcome(_) | ToAgent::GoAway { .. }) => {}
        }
        Ok(())
    }

    async fn app(&mut self, app: &AppName, event: AppEvent) -> Result<(), DaemonError> {
        match event {
            AppEvent::Health(health) => {
                self.health.insert(app.clone(), health);
                self.report();
                Ok(())
            }
            AppEvent::Still { assignment } => {
                if self.apps.get(app).is_some_and(|app| app.number() == assignment) {
                    self.note_still(app);
                }
                Ok(())
            }
            AppEvent::LaneEnded(ended) => Err(ended.into()),
            AppEvent::Fetched { outcome } => self.settle(app, outcome).await,
            AppEvent::Outcome { assignment, outcome } => {
                // Of work that has been taken back meanwhile: nobody's outcome.
                if self.apps.get(app).is_some_and(|app| app.number() == assignment) {
                    self.settle(app, outcome).await?;
                }
                Ok(())
            }
        }
    }

    async fn settle(&mut self, app: &AppName, outcome: Outcome) -> Result<(), DaemonError> {
        let mut ledger = self.ledger();
        let Some(record) = ledger.apps.get_mut(app) else {
            return Ok(());
        };
        let now = Timestamp::now();
        let put_back = match record.settle(outcome, now) {
            Ok(put_back) => put_back,
            Err(unexpected) => {
                tracing::debug!(%app, %unexpected, "an outcome came too late");
                return Ok(());
            }
        };
        if let Some(back) = put_back {
            tracing::warn!(%app, why = back.why, "the release failed; putting the node back");
            if self.coordinator.is_none() {
                ledger.record(app, back.from, back.to, HistoryCause::ByItself, back.why, now);
            }
        }
        self.commit(ledger).await?;
        self.noted(app);
        self.proceed(app).await
    }

    /// After the record of an app has changed: everything that follows from it.
    async fn proceed(&mut self, app: &AppName) -> Result<(), DaemonError> {
        self.report();
        let mut ledger = self.ledger();
        if ledger.apps.get_mut(app).is_some_and(AppRecord::proceed) {
            self.commit(ledger).await?;
            self.noted(app);
        }
        self.log_phase(app);
        self.prune(app).await?;
        self.assign(app);
        self.report();
        self.answer_waiting(app);
        Ok(())
    }

    fn assign(&mut self, app: &AppName) {
        let record = self.record(app);
        let work = record.map(AppRecord::work);
        let prefetch = self.prefetch.get(app).cloned();
        let fetched = work.as_ref().and_then(|work| work.fetch.as_ref());
        let history = fetched
            .or(prefetch.as_ref())
            .zip(record)
            .map(|(release, record)| History::of(record, release))
            .unwrap_or_default();
        let assignment = Assignment {
            number: self.assigned + 1,
            work,
            drained: self.is_drained(),
            prefetch,
            history,
        };
        self.assigned += 1;
        if let Some(app) = self.apps.get(app) {
            app.assign(assignment);
            return;
        }
        let begun = App::begin(
            self.node.clone(),
            self.converge(app),
            self.app_events.clone(),
            assignment,
        );
        self.apps.insert(app.clone(), begun);
    }

    fn converge(&self, app: &AppName) -> Converge {
        Converge {
            config: self.node.config.clone(),
            layout: self.node.layout.clone(),
            app: app.clone(),
            managers: Managers::of_this_node(),
            gate: Arc::default(),
        }
    }

    /// The ledger, to be changed and given to [`Daemon::commit`].
    fn ledger(&self) -> Ledger {
        self.held.ledger.ledger().clone()
    }

    fn record(&self, app: &AppName) -> Option<&AppRecord> {
        self.held.ledger.ledger().apps.get(app)
    }

    fn noted(&self, app: &AppName) {
        let step = self.record(app).and_then(|record| record.step.as_ref());
        if let Some(noted) = step.and_then(Boundary::noted) {
            boundary(noted);
        }
    }

    /// On the disk before anything follows from it.
    async fn commit(&mut self, ledger: Ledger) -> Result<(), DaemonError> {
        for (app, record) in &ledger.apps {
            // What was known of one release says nothing of another.
            if self.record(app).and_then(AppRecord::current_release) != record.current_release() {
                self.health.remove(app);
            }
        }
        let held = &mut self.held;
        Ok(tokio::task::block_in_place(|| held.write(ledger))?)
    }

    fn report(&self) {
        let ledger = self.held.ledger.ledger();
        let apps = ledger
            .apps
            .iter()
            .map(|(app, record)| {
                let health = self.health_of(app, record);
                let again = self.again.get(app).copied().unwrap_or_default();
                let status = record.status(app, health);
                (app.clone(), Said { status, again })
            })
            .collect();
        let report = Report {
            apps,
            history: ledger.history.clone(),
            service: self.service(),
        };
        self.report.send_if_modified(|old| {
            let changed = *old != report;
            *old = report;
            changed
        });
    }
}
