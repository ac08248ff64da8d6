//! Checks: what is looked at, and how what was seen is judged.

pub mod exec;
pub mod http;
pub mod judge;
pub mod process;
pub mod resources;
pub mod tcp;
pub mod window;

use std::time::{Duration, Instant};

use fleet_proto::release::{Check, Probe};

use crate::effects::converge::Part;
use crate::secrets::redact::redact;

/// What one look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// `web/health`.
    pub check: String,
    /// Since the checks began.
    pub at: Duration,
    pub result: Result<Passed, Miss>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// Of http checks, which have a response time.
    pub latency: Option<Duration>,
}

/// Why a check did not pass, with the figure and the limit where there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// Continues a sentence that begins with the check's name.
    pub why: String,
    pub figure: Option<String>,
    pub limit: Option<String>,
}

impl Miss {
    pub fn new(why: impl Into<String>) -> Self {
        Self {
            why: redact(&why.into()).into_owned(),
            figure: None,
            limit: None,
        }
    }

    pub fn against(why: impl Into<String>, figure: impl Into<String>, limit: impl Into<String>) -> Self {
        Self {
            why: redact(&why.into()).into_owned(),
            figure: Some(redact(&figure.into()).into_owned()),
            limit: Some(limit.into()),
        }
    }
}

/// Looks once. No answer within the check's time limit is an answer.
pub async fn look(part: &Part, check: &Check) -> Result<Passed, Miss> {
    let limit = check.timeout.as_duration();
    let filled = |text: &str| {
        part.words
            .fill(text)
            .map_err(|error| Miss::new(error.to_string()))
    };
    let began = Instant::now();
    let looking = async {
        match &check.probe {
            Probe::Http {
                url,
                status,
                json,
                latency_max,
            } => {
                http::get(&filled(url)?, *status, json).await?;
                let latency = began.elapsed();
                match latency_max.filter(|max| latency > max.as_duration()) {
                    Some(max) => Err(Miss::against(
                        format!("took {} ms, the limit is {max}", latency.as_millis()),
                        format!("{}ms", latency.as_millis()),
                        max.to_string(),
                    )),
                    None => Ok(Passed {
                        latency: Some(latency),
                    }),
                }
            }
            Probe::Tcp { address } => tcp::connect(&filled(address)?).await,
            Probe::Exec { command } => {
                let command = part
                    .words
                    .fill_all(command)
                    .map_err(|error| Miss::new(error.to_string()))?;
                exec::run(&command, &part.spec, &part.secret_env()).await
            }
            Probe::Process => process::look(part).await,
        }
    };
    tokio::time::timeout(limit, looking).await.unwrap_or_else(|_| {
        Err(Miss::against(
            format!("gave no answer within {}", check.timeout),
            "no answer",
            check.timeout.to_string(),
        ))
    })
}
