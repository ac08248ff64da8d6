//! What an agent says. It is another machine: its text is cut, its lists are bounded.

use std::collections::BTreeSet;

use super::{WireError, cut, need, none_if_empty, release_if_any};
use crate::ids::{AppName, RolloutNumber};
use crate::quantity::Bytes;
use crate::session::{
    AppStatus, Facts, Failure, FromAgent, Health, Heartbeat, Hello, HistoryEntry, Refusal, ReleaseOnDisk,
    ServiceStatus, StepStatus,
};
use crate::time::Timestamp;
use crate::version::Protocol;
use crate::wire;

const LOG_LINES_MAX: usize = 50;
const APPS_MAX: usize = 64;
/// An agent says no more than that.
const RELEASES_MAX: usize = crate::session::RELEASES_ON_DISK_MAX;

impl From<FromAgent> for wire::FromAgent {
    fn from(message: FromAgent) -> Self {
        use wire::from_agent::Message;
        let message = match message {
            FromAgent::Hello(hello) => Message::Hello(hello.into()),
            FromAgent::Status(status) => Message::Status((*status).into()),
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
                releases: heartbeat.releases.iter().map(Into::into).collect(),
                restarting: heartbeat.restarting.into_iter().map(Into::into).collect(),
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
            FromAgent::Service(status) => Message::Service(status.into()),
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
            Message::Status(status) => Self::Status(Box::new(status.try_into()?)),
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
                releases: releases(heartbeat.releases)?,
                restarting: restarting(&heartbeat.restarting)?,
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
            Message::Service(status) => Self::Service(status.into()),
        })
    }
}

/// No more than there may be apps; the rest are not told.
fn restarting(apps: &[String]) -> Result<BTreeSet<AppName>, WireError> {
    let apps = apps.iter().take(APPS_MAX);
    Ok(apps.map(|app| app.parse()).collect::<Result<_, _>>()?)
}

impl From<&ReleaseOnDisk> for wire::ReleaseOnDisk {
    fn from(on_disk: &ReleaseOnDisk) -> Self {
        Self {
            app: on_disk.app.to_string(),
            release: Some((&on_disk.release).into()),
        }
    }
}

fn releases(releases: Vec<wire::ReleaseOnDisk>) -> Result<Vec<ReleaseOnDisk>, WireError> {
    if releases.len() > RELEASES_MAX {
        return Err(WireError::TooMany {
            what: "releases",
            limit: RELEASES_MAX,
        });
    }
    let read = releases.into_iter().map(|on_disk| {
        Ok(ReleaseOnDisk {
            app: on_disk.app.parse()?,
            release: need(on_disk.release, "release")?.try_into()?,
        })
    });
    read.collect()
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
                disk_bytes: hello.facts.disk.0,
            }),
            apps: hello.apps.into_iter().map(Into::into).collect(),
            service: hello.service.map(Into::into),
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
                disk: Bytes(facts.disk_bytes),
                disk_free: Bytes(facts.disk_free_bytes),
                booted_at: Timestamp(facts.booted_at_ms),
            },
            apps: hello
                .apps
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            service: hello.service.map(Into::into),
        })
    }
}

impl From<ServiceStatus> for wire::ServiceStatus {
    fn from(status: ServiceStatus) -> Self {
        Self {
            service_sequence: status.sequence,
            drained: status.drained,
        }
    }
}

impl From<wire::ServiceStatus> for ServiceStatus {
    fn from(status: wire::ServiceStatus) -> Self {
        Self {
            sequence: status.service_sequence,
            drained: status.drained,
        }
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
            failed: step.failed.as_ref().map(Into::into),
            migration: step
                .migration
                .map_or_else(String::new, |stand| stand.word().to_owned()),
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
            failed: release_if_any(step.failed)?,
            migration: match step.migration.as_str() {
                "" => None,
                word => Some(word.parse()?),
            },
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
