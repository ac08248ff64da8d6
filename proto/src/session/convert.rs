//! Session messages from and to the wire: the one place that knows both.

use crate::digest::{Digest, DigestError};
use crate::fence::Fence;
use crate::ids::{NameError, RolloutNumber};
use crate::quantity::{Bytes, Span};
use crate::release::{PlatformError, ReleaseRef, SignedManifest};
use crate::session::{
    AppStatus, Command, Facts, Failure, FromAgent, Health, Heartbeat, Hello, HistoryEntry, Order, Refusal,
    StepStatus, ToAgent, Welcome, WordError,
};
use crate::signing::{KeyError, Signature};
use crate::time::Timestamp;
use crate::version::{Protocol, VersionError};
use crate::wire;

/// Text that comes from another machine is cut to this before it is kept.
const TEXT_BYTES_MAX: usize = 4096;
const LOG_LINES_MAX: usize = 50;
const APPS_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("the message has no `{0}`")]
    Missing(&'static str),
    #[error("the message has more than {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Version(#[from] VersionError),
    #[error(transparent)]
    Digest(#[from] DigestError),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error(transparent)]
    Word(#[from] WordError),
    #[error(transparent)]
    Key(#[from] KeyError),
}

fn need<T>(field: Option<T>, name: &'static str) -> Result<T, WireError> {
    field.ok_or(WireError::Missing(name))
}

fn none_if_empty(text: String) -> Option<String> {
    Some(cut(text)).filter(|text| !text.is_empty())
}

/// Short, and harmless where it is shown: no escape code, no line of its own.
fn cut(mut text: String) -> String {
    if text.contains(char::is_control) {
        text = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
    }
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
    }
    text
}

impl From<Fence> for wire::Fence {
    fn from(fence: Fence) -> Self {
        Self {
            term: fence.term,
            rollout: fence.rollout.0,
            generation: fence.generation,
        }
    }
}

impl From<wire::Fence> for Fence {
    fn from(fence: wire::Fence) -> Self {
        Self {
            term: fence.term,
            rollout: RolloutNumber(fence.rollout),
            generation: fence.generation,
        }
    }
}

impl From<&ReleaseRef> for wire::ReleaseRef {
    fn from(release: &ReleaseRef) -> Self {
        Self {
            version: release.version.to_string(),
            digest: release.digest.to_string(),
        }
    }
}

impl TryFrom<wire::ReleaseRef> for ReleaseRef {
    type Error = WireError;
    fn try_from(release: wire::ReleaseRef) -> Result<Self, WireError> {
        Ok(Self {
            version: release.version.parse()?,
            digest: release.digest.parse::<Digest>()?,
        })
    }
}

fn release_if_any(release: Option<wire::ReleaseRef>) -> Result<Option<ReleaseRef>, WireError> {
    release.map(ReleaseRef::try_from).transpose()
}

impl From<&SignedManifest> for wire::SignedRelease {
    fn from(signed: &SignedManifest) -> Self {
        Self {
            manifest: signed.bytes.clone(),
            signatures: signed
                .signatures
                .iter()
                .map(|signature| wire::ReleaseSignature {
                    key: signature.key.to_string(),
                    signature: signature.bytes.clone(),
                })
                .collect(),
        }
    }
}

impl TryFrom<wire::SignedRelease> for SignedManifest {
    type Error = WireError;
    fn try_from(signed: wire::SignedRelease) -> Result<Self, WireError> {
        const SIGNATURES_MAX: usize = 32;
        if signed.signatures.len() > SIGNATURES_MAX {
            return Err(WireError::TooMany {
                what: "signatures",
                limit: SIGNATURES_MAX,
            });
        }
        let signatures = signed
            .signatures
            .into_iter()
            .map(|signature| {
                Ok(Signature {
                    key: signature.key.parse()?,
                    bytes: cut(signature.signature),
                })
            })
            .collect::<Result<_, WireError>>()?;
        Ok(Self {
            bytes: signed.manifest,
            signatures,
        })
    }
}

impl From<Command> for wire::Command {
    fn from(command: Command) -> Self {
        use wire::command::Order as WireOrder;
        let order = match &command.order {
            Order::Deploy { release } => WireOrder::Deploy(release.into()),
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
            order: Some(order),
        }
    }
}

impl TryFrom<wire::Command> for Command {
    type Error = WireError;
    fn try_from(command: wire::Command) -> Result<Self, WireError> {
        use wire::command::Order as WireOrder;
        let order = match need(command.order, "order")? {
            WireOrder::Deploy(release) => Order::Deploy {
                release: release.try_into()?,
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
            ToAgent::Prefetch { app, release } => Message::Prefetch(wire::Prefetch {
                app: app.into(),
                release: Some((&release).into()),
            }),
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
            },
        })
    }
}

impl From<FromAgent> for wire::FromAgent {
    fn from(message: FromAgent) -> Self {
        use wire::from_agent::Message;
        let message = match message {
            FromAgent::Hello(hello) => Message::Hello(hello.into()),
            FromAgent::Status(status) => Message::Status(status.into()),
            FromAgent::Refusal(refusal) => Message::Refusal(wire::Refusal {
                app: refusal.app.into(),
                refused: Some(refusal.refused.into()),
                seen: Some(refusal.seen.into()),
                why: refusal.why,
            }),
            FromAgent::Heartbeat(heartbeat) => Message::Heartbeat(wire::Heartbeat {
                cpu_percent: heartbeat.cpu_percent,
                memory_percent: heartbeat.memory_percent,
                disk_free_bytes: heartbeat.disk_free.0,
            }),
            FromAgent::History(entry) => Message::History(wire::HistoryEntry {
                sequence: entry.sequence,
                at_ms: entry.at.0,
                app: entry.app.into(),
                from: entry.from.as_ref().map(Into::into),
                to: entry.to.as_ref().map(Into::into),
                cause: entry.cause.word().to_owned(),
                message: entry.message,
            }),
        };
        Self {
            message: Some(message),
        }
    }
}

impl TryFrom<wire::FromAgent> for FromAgent {
    type Error = WireError;
    fn try_from(message: wire::FromAgent) -> Result<Self, WireError> {
        use wire::from_agent::Message;
        Ok(match need(message.message, "message")? {
            Message::Hello(hello) => Self::Hello(hello.try_into()?),
            Message::Status(status) => Self::Status(status.try_into()?),
            Message::Refusal(refusal) => Self::Refusal(Refusal {
                app: refusal.app.parse()?,
                refused: need(refusal.refused, "refused")?.into(),
                seen: need(refusal.seen, "seen")?.into(),
                why: cut(refusal.why),
            }),
            Message::Heartbeat(heartbeat) => Self::Heartbeat(Heartbeat {
                cpu_percent: heartbeat.cpu_percent,
                memory_percent: heartbeat.memory_percent,
                disk_free: Bytes(heartbeat.disk_free_bytes),
            }),
            Message::History(entry) => Self::History(HistoryEntry {
                sequence: entry.sequence,
                at: Timestamp(entry.at_ms),
                app: entry.app.parse()?,
                from: release_if_any(entry.from)?,
                to: release_if_any(entry.to)?,
                cause: entry.cause.parse()?,
                message: cut(entry.message),
            }),
        })
    }
}

impl From<Hello> for wire::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            protocol_major: hello.protocol.major,
            protocol_minor: hello.protocol.minor,
            agent_version: hello.agent_version,
            facts: Some(wire::Facts {
                platform: hello.facts.platform.into(),
                hostname: hello.facts.hostname,
                kernel: hello.facts.kernel,
                cpus: hello.facts.cpus,
                memory_bytes: hello.facts.memory.0,
                disk_free_bytes: hello.facts.disk_free.0,
                booted_at_ms: hello.facts.booted_at.0,
            }),
            apps: hello.apps.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::Hello> for Hello {
    type Error = WireError;
    fn try_from(hello: wire::Hello) -> Result<Self, WireError> {
        if hello.apps.len() > APPS_MAX {
            return Err(WireError::TooMany {
                what: "apps",
                limit: APPS_MAX,
            });
        }
        let facts = need(hello.facts, "facts")?;
        Ok(Self {
            protocol: Protocol {
                major: hello.protocol_major,
                minor: hello.protocol_minor,
            },
            agent_version: cut(hello.agent_version),
            facts: Facts {
                platform: facts.platform.parse()?,
                hostname: cut(facts.hostname),
                kernel: cut(facts.kernel),
                cpus: facts.cpus,
                memory: Bytes(facts.memory_bytes),
                disk_free: Bytes(facts.disk_free_bytes),
                booted_at: Timestamp(facts.booted_at_ms),
            },
            apps: hello
                .apps
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<AppStatus> for wire::AppStatus {
    fn from(status: AppStatus) -> Self {
        let (health, why) = match status.health {
            Health::Empty => (wire::Health::Empty, String::new()),
            Health::Unknown => (wire::Health::Unknown, String::new()),
            Health::Healthy => (wire::Health::Healthy, String::new()),
            Health::Unhealthy { why } => (wire::Health::Unhealthy, why),
        };
        Self {
            app: status.app.into(),
            fence_seen: Some(status.fence_seen.into()),
            current: status.current.as_ref().map(Into::into),
            last_good: status.last_good.as_ref().map(Into::into),
            health: health.into(),
            health_why: why,
            step: status.step.map(Into::into),
        }
    }
}

impl TryFrom<wire::AppStatus> for AppStatus {
    type Error = WireError;
    fn try_from(status: wire::AppStatus) -> Result<Self, WireError> {
        let health = match status.health() {
            wire::Health::Unspecified => return Err(WireError::Missing("health")),
            wire::Health::Empty => Health::Empty,
            wire::Health::Unknown => Health::Unknown,
            wire::Health::Healthy => Health::Healthy,
            wire::Health::Unhealthy => Health::Unhealthy {
                why: cut(status.health_why),
            },
        };
        Ok(Self {
            app: status.app.parse()?,
            fence_seen: need(status.fence_seen, "fence_seen")?.into(),
            current: release_if_any(status.current)?,
            last_good: release_if_any(status.last_good)?,
            health,
            step: status.step.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<StepStatus> for wire::StepStatus {
    fn from(step: StepStatus) -> Self {
        Self {
            rollout: step.rollout.0,
            generation: step.generation,
            release: step.release.as_ref().map(Into::into),
            phase: step.phase.word().to_owned(),
            failure: step.failure.map(Into::into),
        }
    }
}

impl TryFrom<wire::StepStatus> for StepStatus {
    type Error = WireError;
    fn try_from(step: wire::StepStatus) -> Result<Self, WireError> {
        Ok(Self {
            rollout: RolloutNumber(step.rollout),
            generation: step.generation,
            release: release_if_any(step.release)?,
            phase: step.phase.parse()?,
            failure: step.failure.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<Failure> for wire::Failure {
    fn from(failure: Failure) -> Self {
        Self {
            class: failure.class.word().to_owned(),
            check: failure.check.unwrap_or_default(),
            message: failure.message,
            figure: failure.figure.unwrap_or_default(),
            limit: failure.limit.unwrap_or_default(),
            log_tail: failure.log_tail,
        }
    }
}

impl TryFrom<wire::Failure> for Failure {
    type Error = WireError;
    fn try_from(failure: wire::Failure) -> Result<Self, WireError> {
        let skipped = failure.log_tail.len().saturating_sub(LOG_LINES_MAX);
        Ok(Self {
            class: failure.class.parse()?,
            check: none_if_empty(failure.check),
            message: cut(failure.message),
            figure: none_if_empty(failure.figure),
            limit: none_if_empty(failure.limit),
            log_tail: failure.log_tail.into_iter().skip(skipped).map(cut).collect(),
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use crate::session::{FailureClass, HistoryCause, Phase};

    fn release() -> ReleaseRef {
        ReleaseRef {
            version: "v1.0.0".parse().unwrap(),
            digest: Digest::of(b"m"),
        }
    }

    fn fence() -> Fence {
        Fence {
            term: 3,
            rollout: RolloutNumber(42),
            generation: 2,
        }
    }

    fn status() -> AppStatus {
        AppStatus {
            app: "shop".parse().unwrap(),
            fence_seen: fence(),
            current: Some(release()),
            last_good: None,
            health: Health::Unhealthy { why: "503".into() },
            step: Some(StepStatus {
                rollout: RolloutNumber(42),
                generation: 2,
                release: Some(release()),
                phase: Phase::RollingBack,
                failure: Some(Failure {
                    class: FailureClass::Release,
                    check: Some("web/health".into()),
                    message: "it answered 503".into(),
                    figure: Some("503".into()),
                    limit: None,
                    log_tail: vec!["bye".into()],
                }),
            }),
        }
    }

    #[test]
    fn what_an_agent_says_survives_the_wire() {
        let hello = Hello {
            protocol: crate::PROTOCOL,
            agent_version: "0.1.0".into(),
            facts: Facts {
                platform: "linux/amd64".parse().unwrap(),
                hostname: "h".into(),
                kernel: "6".into(),
                cpus: 2,
                memory: Bytes(1),
                disk_free: Bytes(2),
                booted_at: Timestamp(3),
            },
            apps: vec![status()],
        };
        let entry = HistoryEntry {
            sequence: 9,
            at: Timestamp(1),
            app: "shop".parse().unwrap(),
            from: Some(release()),
            to: None,
            cause: HistoryCause::ByHand,
            message: "put back by root".into(),
        };
        let refusal = Refusal {
            app: "shop".parse().unwrap(),
            refused: fence(),
            seen: fence(),
            why: "stale".into(),
        };
        for message in [
            FromAgent::Hello(hello),
            FromAgent::Status(status()),
            FromAgent::History(entry),
            FromAgent::Refusal(refusal),
        ] {
            let back = FromAgent::try_from(wire::FromAgent::from(message.clone())).unwrap();
            assert_eq!(back, message);
        }
    }

    #[test]
    fn what_a_coordinator_says_survives_the_wire() {
        let orders = [
            Order::Deploy { release: release() },
            Order::Commit,
            Order::Revert {
                leave: Some(release()),
                to: None,
                why: "wave 1 failed".into(),
            },
        ];
        for order in orders {
            let message = ToAgent::Command(Command {
                fence: fence(),
                app: "shop".parse().unwrap(),
                order,
            });
            let back = ToAgent::try_from(wire::ToAgent::from(message.clone())).unwrap();
            assert_eq!(back, message);
        }
    }

    #[test]
    fn half_a_message_is_refused() {
        assert!(FromAgent::try_from(wire::FromAgent { message: None }).is_err());
        let mut command = wire::Command::from(Command {
            fence: fence(),
            app: "shop".parse().unwrap(),
            order: Order::Commit,
        });
        command.fence = None;
        assert!(Command::try_from(command).is_err());
    }

    #[test]
    fn what_a_node_says_cannot_move_a_terminal() {
        assert_eq!(cut("a\u{1b}[2Jb\nc".into()), "a [2Jb c");
    }

    #[test]
    fn long_text_is_cut_at_a_letter() {
        let cut = cut("ä".repeat(TEXT_BYTES_MAX));
        assert!(cut.len() <= TEXT_BYTES_MAX && cut.chars().all(|c| c == 'ä'));
    }
}
