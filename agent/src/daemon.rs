//! The one loop: inputs change the ledger, the ledger says what is to be done.
//!
//! ```text
//!  link, lanes, local socket, signals
//!        └→ turn: record → ledger on the disk → assign work → report
//! ```

mod commit;
mod condition;
mod drain;
mod error;
mod orders;
mod questions;
mod service;
mod signals;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use fleet_proto::identity::Peer;
use fleet_proto::ids::{AppName, EnvironmentName};
use fleet_proto::release::ReleaseRef;
use fleet_proto::session::{Health, HistoryCause, Refusal, ToAgent};
use fleet_proto::time::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::answers::Answers;
use crate::app::{App, AppEvent, Assignment};
use crate::boundary::{Boundary, boundary};
use crate::config::{Config, OnStop};
use crate::effects::admit::History;
use crate::effects::chain;
use crate::effects::converge::Converge;
use crate::effects::fetch::Node;
use crate::effects::room::Disk;
use crate::enrol::at_start;
use crate::figures::Figures;
use crate::health::Condition;
use crate::hold::{Held, hold};
use crate::identity;
use crate::install::Outcome;
use crate::layout::Layout;
use crate::ledger::{AppRecord, Ledger};
use crate::link::{Link, LinkEvent, Reach, Report, Said};
use crate::local;
use crate::process::managers::Managers;
use crate::process::own_package::guard::note_reached;
use crate::process::own_package::is_being_replaced;
use crate::renew::Renewal;
use crate::tasks::Tasks;
use condition::listen_for_probes;
use signals::{Signals, Told};

pub use error::DaemonError;
pub use signals::Place;

const EVENTS_MAX: usize = 64;
const REFUSALS_MAX: usize = 32;

/// Runs until told to stop.
pub async fn run(config: Config, config_path: &Path, place: Place) -> Result<(), DaemonError> {
    let config = Arc::new(config);
    let layout = Layout::new(&config.state);
    let held = hold(&layout)?;
    let mut signals = Signals::listen(place, &config.pod)?;
    let mut tasks = Tasks::default();
    let figures = Figures::default();
    let condition = listen_for_probes(&config, &figures, &mut tasks).await?;
    let how = config.enrol.as_ref();
    if let Some(how) = how.filter(|_| at_start::is_missing(&config, &layout, config_path)) {
        tokio::select! {
            enrolled = at_start::enrol_patiently(&config, &layout, how) => enrolled?,
            () = signals.until_told_to_stop() => return Ok(()),
        }
    }
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
    let (shut_out, is_shut_out) = watch::channel(());

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
        answers: Answers::new(reach.clone(), layout.clone(), config.clone()),
        condition,
        figures: figures.clone(),
    };
    daemon.recover().await?;

    let socket = local::listen(&layout.socket())?;
    tasks.spawn("local socket", local::serve(socket, questions));
    let link = Link {
        reach: reach.clone(),
        report: reported,
        refusals: refused,
        events: link_events,
        shut_out,
        state: config.state.clone(),
        figures,
    };
    tasks.spawn("link to the coordinator", link.run());
    let renewal = Renewal {
        layout,
        config: config.clone(),
        reach,
        client_config,
        peer,
        is_shut_out,
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
                    daemon.is_stopping();
                    daemon.stop_apps().await;
                    let _asker_gone = answer.send(local::Answer::Stopped);
                    told.wait().await;
                    break OnStop::Keep;
                }
            }
            ended = tasks.ended() => return Err(ended.into()),
            _ = watchdog.tick() => {
                service::alive();
                daemon.turned();
            }
            told = signals.next() => match told {
                Told::Stop if place == Place::Pod => break OnStop::Stop,
                // Another agent is there in a moment, and the apps are its own.
                Told::Stop if is_being_replaced() => break OnStop::Keep,
                Told::Stop => break config.on_stop,
                Told::PassOn(signal) => signals::pass_on(&daemon.node.layout, signal),
            },
        }
    };
    service::stopping();
    daemon.is_stopping();
    if on_stop == OnStop::Stop {
        daemon.stop_apps_in_time(place).await?;
    }
    tracing::info!("stopped");
    Ok(())
}

/// What may be fetched ahead of an order.
#[derive(Debug, Clone)]
struct Ahead {
    release: ReleaseRef,
    environment: Option<EnvironmentName>,
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
    prefetch: BTreeMap<AppName, Ahead>,
    again: BTreeMap<AppName, u64>,
    coordinator: Option<String>,
    peer: watch::Receiver<Peer>,
    report: watch::Sender<Report>,
    refusals: mpsc::Sender<Refusal>,
    app_events: crate::app::Events,
    /// Rollbacks by hand whose outcome somebody waits for.
    waiting: Vec<questions::Waiting>,
    answers: Answers,
    condition: watch::Sender<Condition>,
    figures: Figures,
}

impl Daemon {
    async fn link(&mut self, event: LinkEvent) -> Result<(), DaemonError> {
        match event {
            LinkEvent::Up { address } => {
                self.coordinator = Some(address);
                self.note_condition();
                tokio::task::block_in_place(note_reached);
            }
            LinkEvent::Down { .. } => {
                if self.coordinator.take().is_some() {
                    self.figures.note_silent(Timestamp::now());
                }
                self.note_condition();
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
            LinkEvent::Message(ToAgent::Prefetch {
                app,
                release,
                environment,
            }) => self.prefetch(&app, Ahead { release, environment }),
            LinkEvent::Message(ToAgent::Question(question)) => {
                self.answers.begin(question, self.held.ledger.ledger());
            }
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
        let prefetch = self.prefetch.get(app).map(|ahead| ahead.release.clone());
        let ordered = work.as_ref().and_then(|work| {
            let release = work.fetch.clone()?;
            Some(Ahead {
                release,
                environment: work.environment.clone(),
            })
        });
        let fetched = ordered.or_else(|| self.prefetch.get(app).cloned());
        let history = fetched
            .map(|fetched| History::of(record, &fetched.release, fetched.environment))
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
            self.figures.of(app),
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
        self.note_condition();
        self.report.send_if_modified(|old| {
            let changed = *old != report;
            *old = report;
            changed
        });
    }
}
