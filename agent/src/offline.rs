//! What can be done on a node whose agent is stopped: the same record, the same
//! effects, without the loop.

use std::sync::Arc;
use std::time::Duration;

use fleet_proto::ids::AppName;
use fleet_proto::session::{FailureClass, HistoryCause};
use fleet_proto::time::Timestamp;
use fleet_proto::version::Version;

use crate::config::Config;
use crate::crew::Crew;
use crate::effects::chain;
use crate::effects::converge::{Ask, Converge, ConvergeError, Look, Target};
use crate::effects::hooks::Occasion;
use crate::figures::Figures;
use crate::hold::{HoldError, hold};
use crate::install::{ByHandError, Moved, Outcome, Unexpected};
use crate::layout::Layout;
use crate::ledger::{Ledger, LedgerError, Step};
use crate::local::RolledBack;
use crate::person;
use crate::process::managers::Managers;
use crate::secrets::kept::know_all;

const PUT_BACK_MAX: Duration = Duration::from_secs(60);
const JUDGE_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    #[error(transparent)]
    Hold(#[from] HoldError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    PutBack(#[from] PutBackError),
    #[error(
        "cannot put {app} back: {source}; nothing was changed\nhint: `fleet-agent releases` shows what else there is, `fleet-agent rollback --to VERSION` takes it"
    )]
    Unfit {
        app: AppName,
        source: Box<ConvergeError>,
    },
    #[error("cannot put {app} back")]
    Converge {
        app: AppName,
        #[source]
        source: Box<ConvergeError>,
    },
    #[error(transparent)]
    Unexpected(#[from] Unexpected),
}

#[derive(Debug, thiserror::Error)]
pub enum PutBackError {
    #[error("app {app} is not on this node; there {}", list(.known))]
    NoSuchApp { app: AppName, known: Vec<AppName> },
    #[error(transparent)]
    ByHand(#[from] ByHandError),
}

fn list(apps: &[AppName]) -> String {
    let names: Vec<&str> = apps.iter().map(AppName::as_str).collect();
    match names.as_slice() {
        [] => "is none".to_owned(),
        [one] => format!("is {one}"),
        many => format!("are {}", many.join(", ")),
    }
}

/// In the ledger, with its history entry. Making it so is the caller's.
pub fn put_back(
    ledger: &mut Ledger,
    app: &AppName,
    to: Option<&Version>,
    by: &str,
    now: Timestamp,
) -> Result<Moved, PutBackError> {
    let apps = ledger.apps.keys().cloned().collect();
    let record = ledger.apps.get_mut(app).ok_or_else(|| PutBackError::NoSuchApp {
        app: app.clone(),
        known: apps,
    })?;
    let moved = record.put_back_by_hand(to)?;
    ledger.record(
        app,
        moved.from.clone(),
        Some(moved.to.clone()),
        HistoryCause::ByHand,
        format!("put back by hand on the node, by {by}"),
        now,
    );
    Ok(moved)
}

/// What a rollback by hand came to, if not to health.
pub fn illness(step: &Step, arrived: bool) -> Option<String> {
    let failure = step.failure.as_ref()?;
    if !arrived {
        return Some(failure.message.clone());
    }
    // The failure begins with "put back by hand…"; what was added to it is the illness.
    let (_, added) = failure.message.split_once("; ")?;
    (failure.class == FailureClass::Operator).then(|| added.to_owned())
}

/// Puts the node back without an agent: takes the agent's place for as long as it takes.
pub async fn rollback(
    config: &Arc<Config>,
    app: &AppName,
    to: Option<&Version>,
) -> Result<RolledBack, OfflineError> {
    let layout = Layout::new(&config.state);
    let mut held = hold(&layout)?;
    let mut ledger = held.ledger.ledger().clone();
    let moved = put_back(&mut ledger, app, to, &person::oneself(), Timestamp::now())?;
    let current = ledger.apps.get(app).and_then(|record| record.current.as_ref());
    let target = current.map(Target::from);
    let converge = converge(config, &layout, app);
    // Before anything is promised: a person can still name another release.
    target
        .as_ref()
        .map_or(Ok(()), |target| converge.must_be_whole(target))
        .map_err(|source| OfflineError::Unfit {
            app: app.clone(),
            source: Box::new(source),
        })?;
    held.write(ledger.clone())?;

    let drained = ledger.service.drained;
    let ran = if drained {
        let stood = converge.stand_still(target.as_ref(), Occasion::Back, &|| false);
        stood.map(|()| None)
    } else {
        let ask = Ask::KeptElseProviders;
        converge.run(target.as_ref(), Look::AtNothing, Occasion::Back, ask, &|| false)
    };
    let ill = match ran {
        Ok(Some(started)) => {
            let ill = illness_of(Crew::begin(started.clone(), None, Figures::default().of(app))).await;
            // What is ill is undrained by the agent, when it is well.
            if ill.is_none()
                && let Err(error) = converge.undrain(&started, Occasion::Back, &|| false)
            {
                tracing::warn!(%app, error = chain(&error), "cannot undrain");
            }
            ill
        }
        Ok(None) => None,
        // It stays rolling back in the ledger: the agent goes on with it when it starts.
        Err(source) => {
            return Err(OfflineError::Converge {
                app: app.clone(),
                source: Box::new(source),
            });
        }
    };
    if let Some(record) = ledger.apps.get_mut(app) {
        record.settle(Outcome::PutBack { ill: ill.clone() }, Timestamp::now())?;
    }
    held.write(ledger)?;
    Ok(RolledBack {
        app: app.clone(),
        from: moved.from.map(|from| from.version),
        to: moved.to.version,
        ill,
        drained,
    })
}

async fn illness_of(mut crew: Crew) -> Option<String> {
    let rules = &crew.started.slot.manifest.health;
    let bound = rules.healthy_deadline.as_duration().min(PUT_BACK_MAX);
    while !crew.judge.all_pass() {
        if crew.since_began() >= bound {
            return crew.judge.why_not();
        }
        let _looked_again = tokio::time::timeout(JUDGE_EVERY, crew.watch()).await;
    }
    None
}

/// Stops every app of the node, whatever the ledger says, and makes sure.
pub fn stop(config: &Arc<Config>) -> Result<Vec<AppName>, OfflineError> {
    let layout = Layout::new(&config.state);
    let _held = hold(&layout)?;
    let apps = layout.apps_on_disk();
    let mut first_error = None;
    for app in &apps {
        if let Err(source) = converge(config, &layout, app).stop_all() {
            tracing::error!(%app, error = chain(&source), "cannot stop the app");
            first_error.get_or_insert(OfflineError::Converge {
                app: app.clone(),
                source: Box::new(source),
            });
        }
    }
    first_error.map_or(Ok(apps), Err)
}

fn converge(config: &Arc<Config>, layout: &Layout, app: &AppName) -> Converge {
    know_all(layout, app);
    Converge {
        config: config.clone(),
        layout: layout.clone(),
        app: app.clone(),
        managers: Managers::of_this_node(),
        gate: Arc::default(),
    }
}
