//! What people on the node ask of the running agent, through the local socket.

use std::time::Duration;

use fleet_proto::ids::AppName;
use fleet_proto::session::Phase;
use fleet_proto::time::Timestamp;
use tokio::sync::oneshot;

use super::{Daemon, DaemonError};
use crate::effects::chain;
use crate::ledger::AppRecord;
use crate::local::{Answer, Asked, Question, RolledBack};
use crate::status::{self, Daemon as DaemonState, NodeStatus};

/// A line of a few bytes to a process on this machine.
const TELLING_MAX: Duration = Duration::from_secs(1);

/// A rollback by hand whose outcome somebody waits for.
pub(super) struct Waiting {
    moved: RolledBack,
    answer: oneshot::Sender<Answer>,
}

/// Whoever told the agent to stop, and wants to know that it has.
pub(super) struct Asker {
    answer: oneshot::Sender<Answer>,
    told: oneshot::Receiver<()>,
}

impl Asker {
    /// Nothing of the agent is left to answer afterwards, so this waits for the answer to
    /// be out.
    pub(super) async fn has_stopped(self) {
        let _asker_gone = self.answer.send(Answer::Stopped);
        let _written_or_too_slow = tokio::time::timeout(TELLING_MAX, self.told).await;
    }
}

impl Daemon {
    pub(super) async fn local(&mut self, asked: Asked) -> Result<Option<Asker>, DaemonError> {
        match asked.question {
            Question::Status => {
                let status = Box::new(self.status());
                let _asker_gone = asked.answer.send(Answer::Status(status));
            }
            Question::Stop => {
                return Ok(Some(Asker {
                    answer: asked.answer,
                    told: asked.told,
                }));
            }
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

    fn status(&self) -> NodeStatus {
        NodeStatus {
            node: self.node.config.node.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            daemon: DaemonState::Running,
            coordinator: self.coordinator.clone(),
            certificate_expires_at: Some(self.peer.borrow().not_after),
            apps: status::apps(&self.node.layout, self.held.ledger.ledger(), &self.health),
            history_waiting: self.held.ledger.ledger().history.len(),
        }
    }

    pub(super) async fn stop_apps(&mut self) {
        for (app, lanes) in std::mem::take(&mut self.apps) {
            let converge = lanes.converge();
            drop(lanes);
            let stopped = tokio::task::spawn_blocking(move || converge.stop_all()).await;
            match stopped {
                Ok(Ok(())) => tracing::info!(%app, "app stopped"),
                Ok(Err(error)) => tracing::error!(%app, error = chain(&error), "cannot stop the app"),
                Err(error) => tracing::error!(%app, %error, "cannot stop the app"),
            }
        }
    }
}
