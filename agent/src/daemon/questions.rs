//! What people on the node ask of the running agent, through the local socket.

use std::collections::BTreeMap;

use fleet_proto::ids::AppName;
use fleet_proto::session::{Health, Phase};
use fleet_proto::time::Timestamp;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{Daemon, DaemonError};
use crate::effects::chain;
use crate::layout::Layout;
use crate::ledger::{AppRecord, Ledger};
use crate::local::{Answer, Asked, Question, RolledBack, Told};
use crate::status::{self, Daemon as DaemonState, NodeStatus};

/// A rollback by hand whose outcome somebody waits for.
pub(super) struct Waiting {
    moved: RolledBack,
    answer: oneshot::Sender<Answer>,
}

impl Daemon {
    pub(super) async fn local(
        &mut self,
        asked: Asked,
    ) -> Result<Option<(oneshot::Sender<Answer>, Told)>, DaemonError> {
        match asked.question {
            Question::Status => {
                let (node, ledger, health) = self.what_status_needs();
                // Beside the loop: managers may keep one waiting.
                drop(tokio::task::spawn_blocking(move || {
                    let status = Box::new(complete(node, &ledger.0, &ledger.1, &health));
                    let _asker_gone = asked.answer.send(Answer::Status(status));
                }));
            }
            Question::Stop => return Ok(Some((asked.answer, asked.told))),
            Question::Rollback { app, to } => {
                let mut ledger = self.ledger();
                let put_back =
                    crate::offline::put_back(&mut ledger, &app, to.as_ref(), &asked.by, Timestamp::now());
                match put_back {
                    Ok(moved) => {
                        let moved = RolledBack {
                            app: app.clone(),
                            from: moved.from.map(|from| from.version),
                            to: moved.to.version,
                            ill: None,
                            drained: self.is_drained(),
                        };
                        // Those who have given up waiting make room.
                        self.waiting.retain(|waiting| !waiting.answer.is_closed());
                        self.waiting.push(Waiting {
                            moved,
                            answer: asked.answer,
                        });
                        self.commit(ledger).await?;
                        self.proceed(&app).await?;
                    }
                    Err(error) => {
                        let why = error.to_string();
                        let _asker_gone = asked.answer.send(Answer::Refused { why });
                    }
                }
            }
        }
        Ok(None)
    }

    pub(super) fn answer_waiting(&mut self, app: &AppName) {
        let Some(step) = self.record(app).and_then(|record| record.step.clone()) else {
            return;
        };
        if step.phase == Phase::RollingBack {
            return;
        }
        let (done, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting| waiting.moved.app == *app);
        self.waiting = waiting;
        for mut waiting in done {
            let current = self.record(app).and_then(AppRecord::current_release);
            let arrived = current.is_some_and(|current| current.version == waiting.moved.to);
            waiting.moved.ill = crate::offline::illness(&step, arrived);
            let _asker_gone = waiting.answer.send(Answer::RolledBack(waiting.moved));
        }
    }

    /// What only the loop knows; what runs is looked at elsewhere.
    fn what_status_needs(&self) -> (NodeStatus, (Layout, Ledger), BTreeMap<AppName, Health>) {
        let ledger = self.held.ledger.ledger();
        let node = NodeStatus {
            node: self.node.config.node.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            daemon: DaemonState::Running,
            coordinator: self.coordinator.clone(),
            certificate_expires_at: Some(self.peer.borrow().not_after),
            drained: None,
            apps: vec![],
            history_waiting: ledger.history.len(),
        };
        (
            node,
            (self.node.layout.clone(), ledger.clone()),
            self.health.clone(),
        )
    }

    /// All at once: a pod that ends does not wait for one grace after the other.
    pub(super) async fn stop_apps(&mut self) {
        let mut stopping = JoinSet::new();
        for (app, lanes) in std::mem::take(&mut self.apps) {
            let converge = lanes.converge();
            drop(lanes);
            stopping.spawn_blocking(move || (app, converge.stop_all()));
        }
        while let Some(stopped) = stopping.join_next().await {
            match stopped {
                Ok((app, Ok(()))) => tracing::info!(%app, "app stopped"),
                Ok((app, Err(error))) => {
                    tracing::error!(%app, error = chain(&error), "cannot stop the app");
                }
                Err(error) => tracing::error!(%error, "cannot stop an app"),
            }
        }
    }
}

fn complete(
    node: NodeStatus,
    layout: &Layout,
    ledger: &Ledger,
    health: &BTreeMap<AppName, Health>,
) -> NodeStatus {
    NodeStatus {
        drained: status::drained(layout, ledger),
        apps: status::apps(layout, ledger, health),
        ..node
    }
}
