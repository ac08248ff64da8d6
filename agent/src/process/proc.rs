//! What `/proc` says of processes.

use std::collections::BTreeSet;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process, and not another one that got its number later: the start is in clock
/// ticks since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessId {
    pub pid: i32,
    pub start_ticks: u64,
}

/// The part of `/proc/PID/stat` that is needed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    pub id: ProcessId,
    pub state: char,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    pub cpu_ticks: u64,
    pub resident_pages: u64,
}

impl Stat {
    pub fn of(pid: i32) -> Option<Self> {
        parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// A zombie holds nothing and does nothing.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

/// The program's name is in parentheses and may itself hold some, so what follows the
/// last one is counted.
fn parse(line: &str) -> Option<Stat> {
    let pid = line.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = line.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        id: ProcessId {
            pid,
            start_ticks: number(19)?,
        },
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        cpu_ticks: number(11)? + number(12)?,
        resident_pages: number(21)?,
    })
}

impl ProcessId {
    pub fn of(pid: i32) -> Option<Self> {
        Stat::of(pid).map(|stat| stat.id)
    }

    pub fn own() -> Option<Self> {
        Self::of(i32::try_from(std::process::id()).ok()?)
    }

    pub fn is_alive(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.id == self && stat.is_alive())
    }

    /// A process that is gone meanwhile is what the signal was for.
    pub fn signal(self, signal: Signal) {
        if self.is_alive() {
            let _gone = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

/// All processes that can be seen.
pub fn all() -> Vec<Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Stat::of)
        .collect()
}

/// What lives and descends from a process, however far, or is in its session.
pub fn family(of: i32) -> Vec<Stat> {
    let mut others: Vec<Stat> = all().into_iter().filter(|stat| stat.id.pid != of).collect();
    let mut known = BTreeSet::from([of]);
    let mut family = Vec::new();
    loop {
        let (related, rest): (Vec<Stat>, Vec<Stat>) = others
            .into_iter()
            .partition(|stat| known.contains(&stat.parent) || stat.session == of);
        if related.is_empty() {
            family.retain(Stat::is_alive);
            return family;
        }
        known.extend(related.iter().map(|stat| stat.id.pid));
        family.extend(related);
        others = rest;
    }
}

/// Whether the process was started with this variable, as everything that a keeper
/// starts is, and all that comes of it.
pub fn has_variable(pid: i32, name: &str, value: &Path) -> bool {
    let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else {
        return false;
    };
    let wanted = format!("{name}={}", value.display());
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == wanted.as_bytes())
}

/// What a process was started with.
pub fn variable(pid: i32, name: &str) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })
}

/// Tells one boot from another: numbers and ticks begin anew with each. A pod that is started
/// again has numbers of its own, too, in the same boot of its machine: it is another process 1.
pub fn boot_id() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let first = ProcessId::of(1)
        .map(|first| first.start_ticks)
        .unwrap_or_default();
    format!("{}/{first}", boot.trim())
}

/// Whether it was written in this boot. Agents that knew of no pods wrote nothing of process 1.
pub fn is_this_boot(written: &str) -> bool {
    let now = boot_id();
    let machine = now.split('/').next();
    written == now || (!written.contains('/') && Some(written) == machine)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_wrote_before_there_were_pods_is_of_this_boot_too() {
        let now = boot_id();
        let (machine, first) = now.split_once('/').unwrap();
        assert!(is_this_boot(&now) && is_this_boot(machine));
        for other in [
            format!("{machine}/1{first}"),
            format!("0{machine}"),
            String::new(),
        ] {
            assert!(!is_this_boot(&other), "{other}");
        }
    }

    #[test]
    fn odd_program_names_do_not_shift_the_fields() {
        let line = "42 (a) b (c) S 7 42 9 0 -1 4194560 1 2 3 4 50 60 0 0 20 0 1 0 777 1000 33 0";
        let stat = parse(line).unwrap();
        assert_eq!((stat.id.pid, stat.id.start_ticks), (42, 777));
        assert_eq!(
            (stat.state, stat.parent, stat.group, stat.session),
            ('S', 7, 42, 9)
        );
        assert_eq!((stat.cpu_ticks, stat.resident_pages), (110, 33));
    }

    #[test]
    fn one_is_alive_oneself() {
        let own = ProcessId::own().unwrap();
        assert!(own.is_alive());
        let other = ProcessId {
            start_ticks: own.start_ticks + 1,
            ..own
        };
        assert!(!other.is_alive());
    }
}
