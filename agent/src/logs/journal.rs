//! What units wrote, from the journal. journald keeps it, and journalctl reads it: what
//! nobody takes from it waits there.

use std::io::{ErrorKind, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use fleet_proto::release::UnitName;
use fleet_proto::time::Timestamp;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde::Deserialize;
use serde_json::Value;

use super::lines::{Found, Splitter};
use super::{From, Progress};

const READ_BYTES: usize = 64 << 10;
/// An entry is its message and some words around it; journald lets a line be 48 KiB.
const ENTRY_BYTES_MAX: usize = 512 << 10;
/// journalctl is started again if it ends while it follows.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const TOO_LARGE: &str = "(a message that is too large to be shown)";

pub struct JournalTail {
    matches: Vec<String>,
    from: From,
    began: Timestamp,
    /// The last entry that was told.
    cursor: Option<String>,
    follows: bool,
    reader: Option<(Reader, ChildStdout)>,
    next_start: Instant,
    splitter: Splitter,
    buffer: Vec<u8>,
}

/// Ends with whoever reads from it.
struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Only these are asked for.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "__CURSOR", default)]
    cursor: Option<String>,
    #[serde(rename = "__REALTIME_TIMESTAMP", default)]
    at_us: Option<String>,
    #[serde(rename = "MESSAGE", default)]
    message: Value,
}

impl JournalTail {
    pub fn begin(units: &[UnitName], user: Option<u32>, from: From, now: Timestamp) -> Self {
        Self {
            matches: matches(units, user),
            from,
            began: now,
            cursor: None,
            follows: false,
            reader: None,
            next_start: Instant::now(),
            splitter: Splitter::new(ENTRY_BYTES_MAX),
            buffer: vec![0; READ_BYTES],
        }
    }

    pub fn go_on(&mut self) {
        self.follows = true;
        self.reader = None;
        self.next_start = Instant::now();
    }

    pub fn read(&mut self) -> (Vec<Found>, Progress) {
        let mut lines = Vec::new();
        if self.reader.is_none() {
            if Instant::now() < self.next_start {
                return (lines, Progress::Quiet);
            }
            self.next_start = Instant::now() + AGAIN_AFTER;
            match self.start() {
                Ok(reader) => self.reader = Some(reader),
                Err(_) if self.follows => return (lines, Progress::Quiet),
                Err(error) => {
                    let why = format!("(the journal cannot be read: {error})");
                    lines.push(Found::new(None, &why, false));
                    return (lines, Progress::AllTold);
                }
            }
        }
        let count = match &mut self.reader {
            Some((_, output)) => output.read(&mut self.buffer),
            None => Ok(0),
        };
        match count {
            Ok(0) => {
                self.reader = None;
                let progress = match self.follows {
                    true => Progress::Quiet,
                    false => Progress::AllTold,
                };
                return (lines, progress);
            }
            Ok(count) => self.take(count, &mut lines),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (lines, Progress::Quiet),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => self.reader = None,
        }
        (lines, Progress::More)
    }

    fn take(&mut self, count: usize, lines: &mut Vec<Found>) {
        let mut entries = Vec::new();
        self.splitter.feed(&self.buffer[..count], |raw| entries.push(raw));
        for raw in entries {
            match serde_json::from_slice::<Entry>(&raw.bytes) {
                Ok(entry) => {
                    lines.extend(found(&entry));
                    self.cursor = entry.cursor.or(self.cursor.take());
                }
                Err(_) => lines.push(Found::new(None, TOO_LARGE, false)),
            }
        }
    }

    fn start(&self) -> std::io::Result<(Reader, ChildStdout)> {
        let mut child = Command::new("journalctl")
            .args(["--quiet", "--no-pager", "--all", "--output=json"])
            .arg("--output-fields=MESSAGE")
            .args(self.where_to_begin())
            .args(&self.matches)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child.stdout.take();
        let reader = Reader(child);
        let output = output.ok_or_else(|| std::io::Error::other("it has no output"))?;
        fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((reader, output))
    }

    fn where_to_begin(&self) -> Vec<String> {
        let at = |at: Timestamp| format!("--since=@{}.{:03}", at.0 / 1000, at.0 % 1000);
        if !self.follows {
            let lines = format!("--lines={}", self.from.lines);
            return self.from.since.map(at).into_iter().chain([lines]).collect();
        }
        let from = match &self.cursor {
            Some(cursor) => format!("--after-cursor={cursor}"),
            None => at(self.began),
        };
        vec!["--follow".to_owned(), "--no-tail".to_owned(), from]
    }
}

/// The units' own lines, and what systemd says of them.
fn matches(units: &[UnitName], user: Option<u32>) -> Vec<String> {
    let mut matches = Vec::new();
    for unit in units {
        let both = match user {
            None => [
                vec![format!("_SYSTEMD_UNIT={unit}")],
                vec![format!("UNIT={unit}"), "_PID=1".to_owned()],
            ],
            Some(user) => ["_SYSTEMD_USER_UNIT", "USER_UNIT"]
                .map(|field| vec![format!("{field}={unit}"), format!("_UID={user}")]),
        };
        for either in both {
            if !matches.is_empty() {
                matches.push("+".to_owned());
            }
            matches.extend(either);
        }
    }
    matches
}

/// A message may be of several lines.
fn found(entry: &Entry) -> Vec<Found> {
    let at = entry.at_us.as_ref().and_then(|us| us.parse::<u64>().ok());
    let at = at.map(|us| Timestamp(us / 1000));
    let text = match &entry.message {
        Value::String(text) => text.clone(),
        // What is no text comes as its bytes.
        Value::Array(bytes) => {
            let byte = |byte: &Value| byte.as_u64().and_then(|byte| u8::try_from(byte).ok());
            let bytes: Vec<u8> = bytes.iter().filter_map(byte).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => TOO_LARGE.to_owned(),
    };
    let lines = text.trim_end_matches('\n').split('\n');
    lines.map(|line| Found::new(at, line, false)).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_its_lines_whatever_is_in_it() {
        let at = Some(Timestamp(1_770_897_600_123));
        for (message, expected) in [
            (r#""one""#, &["one"][..]),
            (r#""one\n\ntwo\n""#, &["one", "", "two"]),
            (r#""\u001b[2Jx""#, &["\\u{1b}[2Jx"]),
            ("[111,110,101,255,10,120]", &["one\u{fffd}", "x"]),
            ("null", &[TOO_LARGE]),
            (r#""""#, &[""]),
        ] {
            let json = format!(
                r#"{{"__CURSOR":"c","__REALTIME_TIMESTAMP":"1770897600123456","MESSAGE":{message}}}"#
            );
            let lines = found(&serde_json::from_str(&json).unwrap());
            let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
            assert_eq!(texts, expected, "{message}");
            assert!(lines.iter().all(|line| line.at == at));
        }
    }

    #[test]
    fn what_is_read_is_of_these_units_and_of_nobody_who_says_so() {
        let units = ["api.service", "web@1.service"].map(|name| name.parse().unwrap());
        assert_eq!(
            matches(&units[..1], None).join(" "),
            "_SYSTEMD_UNIT=api.service + UNIT=api.service _PID=1"
        );
        assert_eq!(
            matches(&units, Some(7)).join(" "),
            "_SYSTEMD_USER_UNIT=api.service _UID=7 + USER_UNIT=api.service _UID=7 + \
             _SYSTEMD_USER_UNIT=web@1.service _UID=7 + USER_UNIT=web@1.service _UID=7"
        );
        let from = From {
            since: Some(Timestamp(1_770_897_600_123)),
            lines: 20,
        };
        let mut tail = JournalTail::begin(&units, None, from, Timestamp(5_000));
        assert_eq!(tail.where_to_begin(), ["--since=@1770897600.123", "--lines=20"]);
        tail.go_on();
        assert_eq!(tail.where_to_begin(), ["--follow", "--no-tail", "--since=@5.000"]);
        tail.cursor = Some("s=1;i=2".to_owned());
        assert_eq!(
            tail.where_to_begin(),
            ["--follow", "--no-tail", "--after-cursor=s=1;i=2"]
        );
    }
}
