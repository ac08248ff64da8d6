//! What a coordinator says.

use super::{WireError, cut, need, release_if_any};
use crate::ids::EnvironmentName;
use crate::quantity::Span;
use crate::session::{Command, Order, Service, ToAgent, Welcome};
use crate::wire;

impl From<Command> for wire::Command {
    fn from(command: Command) -> Self {
        use wire::command::Order as WireOrder;
        let order = match &command.order {
            Order::Deploy { release } => WireOrder::Deploy(release.into()),
            Order::Migrate { release, act } => WireOrder::Migrate(wire::Migrate {
                release: Some(release.into()),
                act: act.word().to_owned(),
            }),
            Order::Commit => WireOrder::Commit(wire::Commit {}),
            Order::Revert { leave, to, why } => WireOrder::Revert(wire::Revert {
                leave: leave.as_ref().map(Into::into),
                to: to.as_ref().map(Into::into),
                why: why.clone(),
            }),
        };
        Self {
            fence: Some(command.fence.into()),
            app: command.app.into(),
            environment: command.environment.map(Into::into).unwrap_or_default(),
            order: Some(order),
        }
    }
}

/// Empty on the wire where none is named.
fn environment_if_any(name: &str) -> Result<Option<EnvironmentName>, WireError> {
    let named = Some(name).filter(|name| !name.is_empty());
    Ok(named.map(str::parse).transpose()?)
}

impl TryFrom<wire::Command> for Command {
    type Error = WireError;
    fn try_from(command: wire::Command) -> Result<Self, WireError> {
        use wire::command::Order as WireOrder;
        let order = match need(command.order, "order")? {
            WireOrder::Deploy(release) => Order::Deploy {
                release: release.try_into()?,
            },
            WireOrder::Migrate(migrate) => Order::Migrate {
                release: need(migrate.release, "release")?.try_into()?,
                act: migrate.act.parse()?,
            },
            WireOrder::Commit(wire::Commit {}) => Order::Commit,
            WireOrder::Revert(revert) => Order::Revert {
                leave: release_if_any(revert.leave)?,
                to: release_if_any(revert.to)?,
                why: cut(revert.why),
            },
        };
        Ok(Self {
            fence: need(command.fence, "fence")?.into(),
            app: command.app.parse()?,
            environment: environment_if_any(&command.environment)?,
            order,
        })
    }
}

impl From<ToAgent> for wire::ToAgent {
    fn from(message: ToAgent) -> Self {
        use wire::to_agent::Message;
        let message = match message {
            ToAgent::Welcome(welcome) => Message::Welcome(wire::Welcome {
                term: welcome.term,
                heartbeat_ms: welcome.heartbeat.as_millis(),
            }),
            ToAgent::Command(command) => Message::Command(command.into()),
            ToAgent::HistoryTaken { through_sequence } => {
                Message::HistoryTaken(wire::HistoryTaken { through_sequence })
            }
            ToAgent::GoAway { retry_after, why } => Message::GoAway(wire::GoAway {
                retry_after_ms: retry_after.as_millis(),
                why,
            }),
            ToAgent::Prefetch {
                app,
                release,
                environment,
            } => Message::Prefetch(wire::Prefetch {
                app: app.into(),
                release: Some((&release).into()),
                environment: environment.map(Into::into).unwrap_or_default(),
            }),
            ToAgent::Service(service) => Message::Service(wire::Service {
                term: service.term,
                sequence: service.sequence,
                drained: service.drained,
            }),
            ToAgent::Question(question) => Message::Question(question.into()),
        };
        Self {
            message: Some(message),
        }
    }
}

impl TryFrom<wire::ToAgent> for ToAgent {
    type Error = WireError;
    fn try_from(message: wire::ToAgent) -> Result<Self, WireError> {
        use wire::to_agent::Message;
        Ok(match need(message.message, "message")? {
            Message::Welcome(welcome) => Self::Welcome(Welcome {
                term: welcome.term,
                heartbeat: Span::from_millis(welcome.heartbeat_ms),
            }),
            Message::Command(command) => Self::Command(command.try_into()?),
            Message::HistoryTaken(taken) => Self::HistoryTaken {
                through_sequence: taken.through_sequence,
            },
            Message::GoAway(go_away) => Self::GoAway {
                retry_after: Span::from_millis(go_away.retry_after_ms),
                why: cut(go_away.why),
            },
            Message::Prefetch(prefetch) => Self::Prefetch {
                app: prefetch.app.parse()?,
                release: need(prefetch.release, "release")?.try_into()?,
                environment: environment_if_any(&prefetch.environment)?,
            },
            Message::Service(service) => Self::Service(Service {
                term: service.term,
                sequence: service.sequence,
                drained: service.drained,
            }),
            Message::Question(question) => Self::Question(question.try_into()?),
        })
    }
}
