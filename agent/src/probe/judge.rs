//! The judge: readings in, verdicts out. Pure; time is an argument.
//!
//! Verifying asks for all checks to pass without a break; baking, and rest, ask for
//! nothing to have gone wrong. Every message names the figure and the limit it broke.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_proto::quantity::Span;
use fleet_proto::release::HealthRules;
use fleet_proto::session::Health;

use super::resources::Share;
use super::window::{Baseline, Window};
use super::{Miss, Reading};

/// A rise that nobody could notice fails no release: on a quiet node the response time
/// doubles from one millisecond to two whenever the kernel has other things to do.
const RISE_MIN: Duration = Duration::from_millis(100);
/// Likewise, one failure among two hundred is twice as many as none.
const RISE_MIN_PERCENT: f64 = 1.0;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Neither yet; for a bake, nothing has gone wrong.
    Open,
    Passed,
    Failed(Finding),
}

/// What broke which limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub check: String,
    pub message: String,
    pub figure: Option<String>,
    pub limit: Option<String>,
}

#[derive(Debug, Default)]
struct Standing {
    passing_since: Option<Duration>,
    has_passed: bool,
    misses_in_a_row: u32,
    last_miss: Option<Miss>,
}

#[derive(Debug, Default)]
struct ComponentStanding {
    restarts: u64,
    last_exit: Option<String>,
    is_given_up: bool,
    cpu_over: u32,
    memory_over: u32,
    share: Option<Share>,
}

#[derive(Debug)]
pub struct Judge {
    rules: HealthRules,
    checks: BTreeMap<String, Standing>,
    components: BTreeMap<String, ComponentStanding>,
    window: Window,
    baseline: Option<Baseline>,
}

impl Judge {
    pub fn new(
        rules: HealthRules,
        checks: impl IntoIterator<Item = String>,
        baseline: Option<Baseline>,
    ) -> Self {
        Self {
            rules,
            checks: checks
                .into_iter()
                .map(|name| (name, Standing::default()))
                .collect(),
            components: BTreeMap::new(),
            window: Window::default(),
            baseline,
        }
    }

    pub fn take(&mut self, reading: &Reading) {
        let standing = self.checks.entry(reading.check.clone()).or_default();
        match &reading.result {
            Ok(passed) => {
                standing.passing_since.get_or_insert(reading.at);
                standing.has_passed = true;
                standing.misses_in_a_row = 0;
                standing.last_miss = None;
                self.window.push(true, passed.latency);
            }
            Err(miss) => {
                standing.passing_since = None;
                standing.misses_in_a_row = standing.misses_in_a_row.saturating_add(1);
                standing.last_miss = Some(miss.clone());
                // Until it has passed for the first time the process starts: that is no
                // part of how often it fails.
                if standing.has_passed {
                    self.window.push(false, None);
                }
            }
        }
    }

    pub fn take_restarts(&mut self, component: &str, restarts: u64, last_exit: Option<String>) {
        let standing = self.components.entry(component.to_owned()).or_default();
        standing.restarts = restarts;
        standing.last_exit = last_exit;
    }

    /// Whether whoever starts it again, when it ends, does so no more.
    pub fn take_given_up(&mut self, component: &str, is_given_up: bool) {
        let standing = self.components.entry(component.to_owned()).or_default();
        standing.is_given_up = is_given_up;
    }

    pub fn take_share(&mut self, component: &str, share: Share) {
        let (cpu, memory) = (f64::from(self.rules.cpu), f64::from(self.rules.memory));
        let standing = self.components.entry(component.to_owned()).or_default();
        standing.cpu_over = if share.cpu > cpu { standing.cpu_over + 1 } else { 0 };
        standing.memory_over = if share.memory > memory {
            standing.memory_over + 1
        } else {
            0
        };
        standing.share = Some(share);
    }

    /// The start's own failures are no part of the error rate in the bake.
    pub fn begin_bake(&mut self) {
        self.window.clear();
    }

    /// How it is now, for whatever comes after it.
    pub fn baseline(&self) -> Option<Baseline> {
        self.window.baseline()
    }

    /// How the node was before.
    pub fn held_against(&self) -> Option<Baseline> {
        self.baseline
    }

    pub fn verify(&self, now: Duration) -> Verdict {
        if let Some(finding) = self.restart_loop().or_else(|| self.given_up()) {
            return Verdict::Failed(finding);
        }
        let since = self.checks.values().map(|standing| standing.passing_since);
        let all_since = since.collect::<Option<Vec<_>>>().map(|all| all.into_iter().max());
        if let Some(since) = all_since {
            let healthy_for = now.saturating_sub(since.unwrap_or_default());
            if healthy_for >= self.rules.min_healthy.as_duration() {
                return Verdict::Passed;
            }
        }
        if now >= self.rules.healthy_deadline.as_duration() {
            return Verdict::Failed(self.too_late());
        }
        Verdict::Open
    }

    pub fn bake(&self, now: Duration) -> Verdict {
        let finding = self
            .restart_loop()
            .or_else(|| self.given_up())
            .or_else(|| self.misses_in_a_row(now))
            .or_else(|| self.error_rate())
            .or_else(|| self.response_time())
            .or_else(|| self.resources());
        finding.map_or(Verdict::Open, Verdict::Failed)
    }

    /// All checks have passed at least once and do now.
    pub fn all_pass(&self) -> bool {
        self.checks
            .values()
            .all(|standing| standing.passing_since.is_some())
    }

    /// The first check that does not pass, in words.
    pub fn why_not(&self) -> Option<String> {
        self.checks
            .iter()
            .find(|(_, standing)| standing.passing_since.is_none())
            .map(|(name, standing)| match &standing.last_miss {
                Some(miss) => format!("{name} {}", miss.why),
                None => format!("{name} has not been looked at yet"),
            })
    }

    pub fn health(&self, now: Duration) -> Health {
        let starting = now < self.rules.healthy_deadline.as_duration();
        let ill = self.checks.iter().find(|(_, standing)| {
            standing.misses_in_a_row >= self.rules.failures && (standing.has_passed || !starting)
        });
        if let Some((name, standing)) = ill {
            let why = standing
                .last_miss
                .as_ref()
                .map_or("fails", |miss| miss.why.as_str());
            return Health::Unhealthy {
                why: format!("{name} {why}"),
            };
        }
        if self.checks.values().all(|standing| standing.has_passed) {
            Health::Healthy
        } else {
            Health::Unknown
        }
    }

    fn restart_loop(&self) -> Option<Finding> {
        let limit = self.rules.restarts;
        let (name, standing) = self
            .components
            .iter()
            .find(|(_, standing)| standing.restarts >= u64::from(limit))?;
        let exit = standing.last_exit.as_deref().unwrap_or("ended");
        let advice = if exit.ends_with("exited with code 0") {
            "; a component has to stay in the foreground, and what it leaves behind is ended"
        } else {
            ""
        };
        Some(Finding {
            check: format!("{name}/process"),
            message: format!(
                "{name} is in a restart loop: restarted {} times since activation, the limit is {limit}; last it {exit}{advice}",
                standing.restarts
            ),
            figure: Some(standing.restarts.to_string()),
            limit: Some(limit.to_string()),
        })
    }

    /// There is nothing to wait for.
    fn given_up(&self) -> Option<Finding> {
        let (name, standing) = self
            .components
            .iter()
            .find(|(_, standing)| standing.is_given_up)?;
        let exit = standing.last_exit.as_deref().unwrap_or("ended");
        Some(Finding {
            check: format!("{name}/process"),
            message: format!("{name} does not run and is not started again: it {exit}"),
            figure: Some(exit.to_owned()),
            limit: Some("running".to_owned()),
        })
    }

    /// What checks that fail have behind them, where a process ended and was started again.
    fn restarts(&self) -> String {
        let restarted = self
            .components
            .iter()
            .filter(|(_, standing)| standing.restarts > 0);
        restarted
            .map(|(name, standing)| {
                let times = if standing.restarts == 1 {
                    "once"
                } else {
                    &format!("{} times", standing.restarts)
                };
                let exit = standing.last_exit.as_deref().unwrap_or("ended");
                format!("; {name} was restarted {times}, last it {exit}")
            })
            .collect()
    }

    fn too_late(&self) -> Finding {
        let deadline = self.rules.healthy_deadline;
        let slowest = self
            .checks
            .iter()
            .find(|(_, standing)| standing.passing_since.is_none())
            .or_else(|| {
                self.checks
                    .iter()
                    .max_by_key(|(_, standing)| standing.passing_since)
            });
        let (check, standing) = match slowest {
            Some((check, standing)) => (check.clone(), Some(standing)),
            None => (String::new(), None),
        };
        let miss = standing.and_then(|standing| standing.last_miss.as_ref());
        let message = match miss {
            Some(miss) => format!(
                "{check} did not pass within {deadline} (healthy_deadline): it {}",
                miss.why
            ),
            None => format!(
                "{check} did not pass for {} without a break (min_healthy) within {deadline} (healthy_deadline)",
                self.rules.min_healthy
            ),
        };
        Finding {
            check,
            message,
            figure: miss
                .and_then(|miss| miss.figure.clone())
                .or_else(|| Some("not healthy".to_owned())),
            limit: miss
                .and_then(|miss| miss.limit.clone())
                .or_else(|| Some(deadline.to_string())),
        }
    }

    /// A check that has not passed yet belongs to a process that starts, as after a
    /// power cut in the bake, and has until the deadline.
    fn misses_in_a_row(&self, now: Duration) -> Option<Finding> {
        let limit = self.rules.failures;
        let starting = now < self.rules.healthy_deadline.as_duration();
        let (name, standing) = self
            .checks
            .iter()
            .find(|(_, standing)| standing.misses_in_a_row >= limit && (standing.has_passed || !starting))?;
        let miss = standing.last_miss.clone().unwrap_or_else(|| Miss::new("failed"));
        Some(Finding {
            check: name.clone(),
            message: format!(
                "{name} failed {} times in a row, the limit is {limit}: it {}{}",
                standing.misses_in_a_row,
                miss.why,
                self.restarts()
            ),
            figure: miss.figure.or_else(|| Some(standing.misses_in_a_row.to_string())),
            limit: miss.limit.or_else(|| Some(limit.to_string())),
        })
    }

    fn error_rate(&self) -> Option<Finding> {
        // A rate that comes from less than what may fail in a row is no rate.
        if self.window.failed() < self.rules.failures as usize {
            return None;
        }
        let found = self.window.error_percent()?;
        let limit = f64::from(self.rules.error_rate);
        let finding = |limit: f64, what: &str| Finding {
            check: "error-rate".to_owned(),
            message: format!(
                "{found:.1}% of the latest checks failed, {what} is {limit:.1}%{}",
                self.restarts()
            ),
            figure: Some(format!("{found:.1}%")),
            limit: Some(format!("{limit:.1}%")),
        };
        if found > limit {
            return Some(finding(limit, "the limit"));
        }
        let before = self.baseline?.error_percent;
        let risen = before * (1.0 + f64::from(self.rules.error_rate_rise) / 100.0);
        let risen = risen.max(before + RISE_MIN_PERCENT);
        (found > risen).then(|| {
            finding(
                risen,
                &format!("it was {before:.1}% before the switch and the limit on its rise"),
            )
        })
    }

    fn response_time(&self) -> Option<Finding> {
        let found = self.window.p95()?;
        let limit = self.rules.response_time.as_duration();
        let finding = |limit: Duration, what: &str| Finding {
            check: "response-time".to_owned(),
            message: format!(
                "the response time (p95) is {} ({}), {what} is {}",
                span(found),
                self.halves(),
                span(limit)
            ),
            figure: Some(span(found).to_string()),
            limit: Some(span(limit).to_string()),
        };
        if found > limit {
            return Some(finding(limit, "the limit"));
        }
        let before = self.baseline?.p95?;
        let risen = (before * (100 + self.rules.response_time_rise) / 100).max(before + RISE_MIN);
        (found > risen).then(|| {
            finding(
                risen,
                &format!(
                    "it was {} before the switch and the limit on its rise",
                    span(before)
                ),
            )
        })
    }

    /// Whether all became slow or a few: half of them are faster than the median.
    fn halves(&self) -> String {
        let now = self
            .window
            .p50()
            .map_or_else(String::new, |p50| span(p50).to_string());
        match self.baseline.and_then(|before| before.p50) {
            Some(before) => format!("p50 {now}, before the switch {}", span(before)),
            None => format!("p50 {now}"),
        }
    }

    fn resources(&self) -> Option<Finding> {
        let finding = |name: &str, what: &str, found: f64, limit: u8| Finding {
            check: format!("{name}/{what}"),
            message: format!("{name} takes {found:.0}% of the node's {what}, the limit is {limit}%"),
            figure: Some(format!("{found:.0}%")),
            limit: Some(format!("{limit}%")),
        };
        let limit = self.rules.failures;
        self.components.iter().find_map(|(name, standing)| {
            let share = standing.share?;
            if standing.cpu_over >= limit {
                Some(finding(name, "cpu", share.cpu, self.rules.cpu))
            } else if standing.memory_over >= limit {
                Some(finding(name, "memory", share.memory, self.rules.memory))
            } else {
                None
            }
        })
    }
}

fn span(duration: Duration) -> Span {
    Span::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
