//! The lane that fetches: what is ordered, else what may be had ahead of an order.

use fleet_proto::ids::AppName;
use fleet_proto::release::ReleaseRef;
use tokio::sync::watch;

use super::{AppEvent, Assignment, Events};
use crate::effects::admit::History;
use crate::effects::fetch::{Node, fetch};
use crate::install::Outcome;

pub(super) async fn fetch_lane(
    node: Node,
    app: AppName,
    mut assignment: watch::Receiver<Assignment>,
    events: Events,
) {
    let mut done: Option<Fetched> = None;
    loop {
        let now = assignment.borrow_and_update().clone();
        let Some(release) = now.to_fetch().cloned() else {
            done = None;
            if assignment.changed().await.is_err() {
                return;
            }
            continue;
        };
        let outcome = match done.take().filter(|done| done.answers(&now, &release)) {
            Some(done) => done.outcome,
            None => tokio::select! {
                fetched = fetch(&node, &app, &release, &now.history) => match fetched {
                    Ok(counter) => Outcome::Staged { release: release.clone(), counter },
                    Err(failure) => Outcome::NotStaged { release: release.clone(), failure: *failure },
                },
                () = until_other(&mut assignment, &release) => continue,
            },
        };
        let latest = assignment.borrow().clone();
        let is_ordered = latest.ordered() == Some(&release);
        if is_ordered && latest.history == now.history {
            let event = (app.clone(), AppEvent::Fetched { outcome });
            if events.send(event).await.is_err() {
                return;
            }
        } else {
            done = Some(Fetched {
                history: now.history,
                release,
                outcome,
            });
            if is_ordered {
                continue;
            }
        }
        if assignment.changed().await.is_err() {
            return;
        }
    }
}

impl Assignment {
    fn ordered(&self) -> Option<&ReleaseRef> {
        self.work.as_ref().and_then(|work| work.fetch.as_ref())
    }

    fn to_fetch(&self) -> Option<&ReleaseRef> {
        self.ordered().or(self.prefetch.as_ref())
    }
}

/// What came of fetching ahead.
struct Fetched {
    release: ReleaseRef,
    /// By which it was admitted.
    history: History,
    outcome: Outcome,
}

impl Fetched {
    /// Fetched ahead, and now ordered: it is told, unless it failed and is tried again,
    /// or the node has moved on since and has to look again whether it may run here.
    fn answers(&self, now: &Assignment, release: &ReleaseRef) -> bool {
        let is_staged = matches!(self.outcome, Outcome::Staged { .. });
        self.release == *release
            && self.history == now.history
            && (is_staged || now.ordered() != Some(release))
    }
}

async fn until_other(assignment: &mut watch::Receiver<Assignment>, release: &ReleaseRef) {
    while assignment.changed().await.is_ok() {
        if assignment.borrow_and_update().to_fetch() != Some(release) {
            return;
        }
    }
    std::future::pending::<()>().await;
}
