//! `--waves 10,50,100`: how far each wave reaches.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// More waves than anybody plans by hand; a bound, so that a plan is one.
const WAVES_MAX: usize = 100;

/// How much of the planned nodes has moved when a wave is over. Cumulative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    Percent(u32),
    Nodes(u32),
}

impl Reach {
    /// Rounded up, at least one, never more than there are.
    pub fn target(self, total: usize) -> usize {
        let wanted = match self {
            Self::Percent(percent) => (total * percent as usize).div_ceil(100),
            Self::Nodes(count) => count as usize,
        };
        wanted.max(1).min(total)
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Nodes(count) => write!(f, "{count}n"),
        }
    }
}

/// A strictly increasing list of reaches. Where counts and shares stand side by side
/// their order depends on the fleet, and an entry that adds no node is dropped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WaveSpec(Vec<Reach>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaveSpecError {
    #[error("the list of waves is empty; write it as 10,50,100")]
    Empty,
    #[error("`{0}` is not a wave; write a percentage (10 or 10%) or a number of nodes (1n)")]
    Entry(String),
    #[error("a wave of `{0}` reaches nobody; the smallest are 1% and 1n")]
    Zero(String),
    #[error("a wave of `{0}` is more than everybody; the largest is 100%")]
    TooMuch(String),
    #[error("waves are cumulative and must increase: `{next}` follows `{previous}`; write them as 10,50,100")]
    Order { previous: Reach, next: Reach },
    #[error("`{reach}` follows `100%`, which is everybody already")]
    AfterAll { reach: Reach },
    #[error("{0} waves are more than the limit of {WAVES_MAX}")]
    TooMany(usize),
}

/// One wave of a plan, before nodes are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaveSize {
    /// Its place in the list.
    pub entry: usize,
    pub reach: Reach,
    pub nodes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaveSizes {
    pub waves: Vec<WaveSize>,
    /// Entries that would have added no node.
    pub dropped: Vec<Reach>,
    /// Nodes that no wave reaches: the rollout is held there until it is widened.
    pub held_back: usize,
}

impl WaveSpec {
    /// Everybody at once.
    pub fn all() -> Self {
        Self(vec![Reach::Percent(100)])
    }

    pub fn reaches(&self) -> &[Reach] {
        &self.0
    }

    pub fn sizes(&self, total: usize) -> WaveSizes {
        let mut sizes = WaveSizes {
            waves: Vec::new(),
            dropped: Vec::new(),
            held_back: 0,
        };
        let mut covered = 0;
        for (entry, reach) in self.0.iter().enumerate() {
            let target = reach.target(total);
            if target > covered {
                sizes.waves.push(WaveSize {
                    entry,
                    reach: *reach,
                    nodes: target - covered,
                });
                covered = target;
            } else {
                sizes.dropped.push(*reach);
            }
        }
        sizes.held_back = total - covered;
        sizes
    }
}

fn parse_reach(text: &str) -> Result<Reach, WaveSpecError> {
    let entry = || WaveSpecError::Entry(text.chars().take(32).collect());
    let reach = if let Some(count) = text.strip_suffix('n') {
        Reach::Nodes(count.parse().map_err(|_| entry())?)
    } else {
        let share = text.strip_suffix('%').unwrap_or(text);
        Reach::Percent(share.parse().map_err(|_| entry())?)
    };
    match reach {
        Reach::Percent(0) | Reach::Nodes(0) => Err(WaveSpecError::Zero(text.to_owned())),
        Reach::Percent(101..) => Err(WaveSpecError::TooMuch(text.to_owned())),
        _ => Ok(reach),
    }
}

fn must_increase(previous: Reach, next: Reach) -> Result<(), WaveSpecError> {
    match (previous, next) {
        (Reach::Percent(100), _) if next != previous => Err(WaveSpecError::AfterAll { reach: next }),
        (Reach::Percent(a), Reach::Percent(b)) if b <= a => Err(WaveSpecError::Order { previous, next }),
        (Reach::Nodes(a), Reach::Nodes(b)) if b <= a => Err(WaveSpecError::Order { previous, next }),
        _ => Ok(()),
    }
}

impl FromStr for WaveSpec {
    type Err = WaveSpecError;
    fn from_str(text: &str) -> Result<Self, WaveSpecError> {
        if text.trim().is_empty() {
            return Err(WaveSpecError::Empty);
        }
        let reaches = text
            .split(',')
            .map(|entry| parse_reach(entry.trim()))
            .collect::<Result<Vec<_>, _>>()?;
        if reaches.len() > WAVES_MAX {
            return Err(WaveSpecError::TooMany(reaches.len()));
        }
        // Counts and shares are each in order among themselves, wherever they stand.
        let (mut last_percent, mut last_nodes): (Option<Reach>, Option<Reach>) = (None, None);
        for pair in reaches.windows(2) {
            must_increase(pair[0], pair[1])?;
        }
        for reach in &reaches {
            let last = match reach {
                Reach::Percent(_) => &mut last_percent,
                Reach::Nodes(_) => &mut last_nodes,
            };
            if let Some(previous) = last.replace(*reach) {
                must_increase(previous, *reach)?;
            }
        }
        Ok(Self(reaches))
    }
}

impl fmt::Display for WaveSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, reach) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match reach {
                Reach::Percent(percent) => write!(f, "{comma}{percent}")?,
                Reach::Nodes(count) => write!(f, "{comma}{count}n")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for WaveSpec {
    type Error = WaveSpecError;
    fn try_from(text: String) -> Result<Self, WaveSpecError> {
        text.parse()
    }
}

impl From<WaveSpec> for String {
    fn from(spec: WaveSpec) -> String {
        spec.to_string()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn check_sizes(spec: &str, total: usize, expected: &[usize]) {
        let sizes = spec.parse::<WaveSpec>().unwrap().sizes(total);
        let nodes: Vec<usize> = sizes.waves.iter().map(|wave| wave.nodes).collect();
        assert_eq!(nodes, expected, "{spec} of {total}");
        assert_eq!(sizes.held_back, total - expected.iter().sum::<usize>());
    }

    #[test]
    fn sizes_of_waves() {
        for (total, expected) in [
            (1, &[1][..]),
            (2, &[1, 1]),
            (3, &[1, 1, 1]),
            (10, &[1, 4, 5]),
            (11, &[2, 4, 5]),
            (100, &[10, 40, 50]),
            (101, &[11, 40, 50]),
            (1000, &[100, 400, 500]),
        ] {
            check_sizes("10,50,100", total, expected);
            check_sizes("10%, 50%, 100%", total, expected);
        }
        check_sizes("1n,10,50,100", 100, &[1, 9, 40, 50]);
        check_sizes("10,50", 10, &[1, 4]);
        check_sizes("5n", 3, &[3]);
    }

    #[test]
    fn an_entry_that_adds_no_node_is_dropped_and_named() {
        let sizes = "10,50,100".parse::<WaveSpec>().unwrap().sizes(1);
        assert_eq!(sizes.dropped, [Reach::Percent(50), Reach::Percent(100)]);
    }

    #[test]
    fn lists_that_make_no_sense_are_refused() {
        for (bad, message) in [
            ("", "the list of waves is empty; write it as 10,50,100"),
            ("0", "a wave of `0` reaches nobody; the smallest are 1% and 1n"),
            (
                "101",
                "a wave of `101` is more than everybody; the largest is 100%",
            ),
            (
                "5n,3n",
                "waves are cumulative and must increase: `3n` follows `5n`; write them as 10,50,100",
            ),
            (
                "10,10",
                "waves are cumulative and must increase: `10%` follows `10%`; write them as 10,50,100",
            ),
            (
                "50,10",
                "waves are cumulative and must increase: `10%` follows `50%`; write them as 10,50,100",
            ),
            (
                "5n,10,3n",
                "waves are cumulative and must increase: `3n` follows `5n`; write them as 10,50,100",
            ),
            ("100,5n", "`5n` follows `100%`, which is everybody already"),
            (
                "ten",
                "`ten` is not a wave; write a percentage (10 or 10%) or a number of nodes (1n)",
            ),
            (
                "10,,100",
                "`` is not a wave; write a percentage (10 or 10%) or a number of nodes (1n)",
            ),
            (
                "-5",
                "`-5` is not a wave; write a percentage (10 or 10%) or a number of nodes (1n)",
            ),
        ] {
            assert_eq!(bad.parse::<WaveSpec>().unwrap_err().to_string(), message, "{bad}");
        }
    }
}
