//! Rollouts: planned, started, acted on, shown, watched.

use std::time::Duration;

use fleet_proto::ids::{OperatorName, RolloutNumber};
use fleet_proto::migration::MigrationStand;
use fleet_proto::time::Timestamp;
use fleet_proto::view::RolloutView;
use fleet_proto::wire;
use fleet_proto::wire::act_request::Act;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

use super::documents::{answer, document, if_said, text_if_said};
use super::{Answer, Documents, Operators, intent};
use crate::refusal;
use crate::rollout::input::{Refusal, RefusalKind, Reply, Request, Retry, RollBack};
use crate::rollout::outdated;
use crate::rollout::plan::plan;
use crate::rollout::view;

/// Some of what is shown changes with time alone: why a rollout waits, and until when.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Operators {
    pub(super) fn show_plan(&self, wish: wire::RolloutIntent) -> Answer {
        let intent = intent::read(wish)?;
        let view = self.handle.read(|state| {
            outdated::must_give_orders(state)?;
            plan(state, &intent).map(|(planned, release)| view::plan(state, &planned, &release, &intent))
        });
        answer(&view.map_err(|refused| refusal::status(&refused))?)
    }

    pub(super) async fn start(&self, by: &OperatorName, wish: wire::RolloutIntent) -> Answer {
        let intent = intent::read(wish)?;
        let reply = self.submit(by, Request::StartRollout(intent)).await?;
        self.show_reply(&reply)
    }

    pub(super) async fn act_on(&self, by: &OperatorName, request: wire::ActRequest) -> Answer {
        let number = RolloutNumber(request.rollout);
        let reason = text_if_said(request.reason);
        let order = match request.act {
            Some(Act::Pause(_)) => Request::Pause { number, reason },
            Some(Act::Resume(resume)) => Request::Resume {
                number,
                waves: if_said(&resume.waves)?,
            },
            Some(Act::Abort(_)) => Request::Abort { number, reason },
            Some(Act::RollBack(back)) => Request::RollBack(RollBack {
                number: Some(number).filter(|number| number.0 != 0),
                app: if_said(&back.app)?,
                environment: if_said(&back.environment)?,
                to: if_said(&back.to_version)?,
                reason,
                urgency: intent::urgency(back.emergency),
                known_bad: intent::known_bad(back.again),
            }),
            Some(Act::ResolveMigration(resolved)) => Request::ResolveMigration {
                number,
                stand: if resolved.done {
                    MigrationStand::Done
                } else {
                    MigrationStand::NotStarted
                },
            },
            Some(Act::Retry(retry)) => Request::Retry(Retry {
                number,
                known_bad: intent::known_bad(retry.again),
                reason,
            }),
            None => return Err(Status::invalid_argument("the request does not say what to do")),
        };
        let reply = self.submit(by, order).await?;
        self.show_reply(&reply)
    }

    fn show_reply(&self, reply: &Reply) -> Answer {
        match reply {
            Reply::Rollout(number) => self.show_rollout(number.0),
            other => Err(Status::internal(format!("an unexpected answer: {other:?}"))),
        }
    }

    pub(super) fn show_rollout(&self, number: u64) -> Answer {
        answer(&self.rollout_view(number)?)
    }

    /// 0 is the newest.
    fn rollout_view(&self, number: u64) -> Result<RolloutView, Status> {
        let now = Timestamp::now();
        self.handle.read(|state| {
            let newest = state.rollouts.keys().next_back().copied();
            let wanted = if number == 0 {
                newest
            } else {
                Some(RolloutNumber(number))
            };
            match wanted.and_then(|wanted| state.rollouts.get(&wanted)) {
                Some(found) => Ok(view::rollout(state, found, now)),
                None => Err(refusal::status(&no_rollout(number, newest))),
            }
        })
    }

    /// One document is on its way at a time. Whoever reads slowly gets the newest state
    /// next, and not every one in between.
    pub(super) fn watch(&self, query: wire::RolloutQuery) -> Answer<Documents> {
        let first = self.rollout_view(query.number)?;
        let (sender, receiver) = mpsc::channel(1);
        let operators = self.clone();
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            stopping
                .run_until_cancelled(operators.follow(first, sender))
                .await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn follow(&self, first: RolloutView, sender: mpsc::Sender<Result<wire::Document, Status>>) {
        let mut changes = self.handle.changes();
        let mut shown = None;
        let mut now = Ok(first);
        loop {
            // Marked as seen before it is read, so that no change falls in between.
            changes.mark_unchanged();
            let next = match now {
                Ok(view) => view,
                Err(status) => {
                    let _ = sender.send(Err(status)).await;
                    return;
                }
            };
            let followed = next.rollback.unwrap_or(next.number);
            let is_over = next.state.is_ended() && next.rollback.is_none();
            let number = if next.state.is_ended() {
                followed
            } else {
                next.number
            };
            if shown.as_ref() != Some(&next) {
                if sender.send(document(&next)).await.is_err() {
                    return;
                }
                let moved_on = number != next.number;
                shown = Some(next);
                if moved_on {
                    now = self.rollout_view(number.0);
                    continue;
                }
            }
            if is_over {
                return;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = sender.closed() => return,
            }
            now = self.rollout_view(number.0);
        }
    }
}

fn no_rollout(number: u64, newest: Option<RolloutNumber>) -> Refusal {
    match newest {
        Some(newest) => Refusal::new(
            RefusalKind::NotFound,
            format!("there is no rollout {}", RolloutNumber(number)),
        )
        .hint(format!("the newest is {newest}")),
        None => Refusal::new(RefusalKind::NotFound, "there was no rollout yet")
            .hint("fleetctl rollout VERSION --waves 10,50,100"),
    }
}
