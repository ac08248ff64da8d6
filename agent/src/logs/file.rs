//! A log in a file: its last lines, and what is written to it from then on, through its
//! being begun anew, rotated and truncated.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use fleet_proto::session::question::LINE_BYTES_MAX;
use fleet_proto::time::Timestamp;
use nix::unistd::Uid;

use super::lines::{Found, Raw, Splitter};
use super::{From, Progress};
use crate::durable::beside;
use crate::process::log;

const READ_BYTES: usize = 64 << 10;
/// So far back the last lines are looked for: a file that nobody rotates has no end.
const BACK_BYTES_MAX: u64 = 16 << 20;
/// With room for what a keeper puts in front of a line.
const RAW_BYTES_MAX: usize = LINE_BYTES_MAX + 64;
const MISSED: &str = "… lines are missing here: the log was begun anew more than once meanwhile";

/// Whose it is, and so what is in front of its lines and what may be found at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Keepers,
    Users(Uid),
}

impl Whose {
    fn open(self, path: &Path) -> io::Result<File> {
        match self {
            Self::Keepers => File::open(path),
            Self::Users(owner) => log::open_of(owner, path),
        }
    }
}

pub struct FileTail {
    whose: Whose,
    path: PathBuf,
    since: Option<Timestamp>,
    /// The end of the one before it, and from where.
    earlier: Option<Part>,
    now: Option<Part>,
    /// No further than that, for whoever wants what there is: more may come as fast as it
    /// is read.
    until: Option<u64>,
    /// Another one is at its path; what has been written meanwhile is read first.
    is_left: bool,
    splitter: Splitter,
    buffer: Vec<u8>,
}

struct Part {
    file: File,
    id: (u64, u64),
    at: u64,
}

fn id(about: &Metadata) -> (u64, u64) {
    (about.dev(), about.ino())
}

impl FileTail {
    pub fn of_keeper(path: &Path, from: From) -> Self {
        let mut tail = Self::of(Whose::Keepers, path, from);
        let found = tail.begin(path, from.lines, from.since);
        let missing = found.as_ref().map_or(from.lines, |(_, found)| from.lines - found);
        tail.now = found.map(|(part, _)| part);
        if missing > 0 {
            let earlier = tail.begin(&beside(path, "1"), missing, from.since);
            // It has become the earlier one in this moment.
            let is_same = |part: &Part| tail.now.as_ref().is_some_and(|now| now.id == part.id);
            tail.earlier = earlier.map(|(part, _)| part).filter(|part| !is_same(part));
        }
        tail.note_end();
        tail
    }

    pub fn of_user(owner: Uid, path: &Path, from: From) -> Self {
        let mut tail = Self::of(Whose::Users(owner), path, from);
        let found = tail.begin(path, from.lines, from.since);
        tail.now = found.map(|(part, _)| part);
        tail.note_end();
        tail
    }

    fn of(whose: Whose, path: &Path, from: From) -> Self {
        Self {
            whose,
            path: path.to_owned(),
            since: from.since,
            earlier: None,
            now: None,
            until: None,
            is_left: false,
            splitter: Splitter::new(RAW_BYTES_MAX),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// The file at its last lines, and how many of those it has.
    fn begin(&self, path: &Path, lines: u32, since: Option<Timestamp>) -> Option<(Part, u32)> {
        let file = self.whose.open(path).ok()?;
        let about = file.metadata().ok()?;
        let is_older = since.is_some_and(|since| modified(&about) < since);
        let (at, found) = match is_older {
            true => (about.len(), 0),
            false => start_of_last(&file, about.len(), lines).ok()?,
        };
        let id = id(&about);
        Some((Part { file, id, at }, found))
    }

    fn note_end(&mut self) {
        let length = |part: &Part| part.file.metadata().map_or(0, |about| about.len());
        self.until = Some(self.now.as_ref().map_or(0, length));
    }

    pub fn go_on(&mut self) {
        self.until = None;
        self.since = None;
    }

    pub fn rest(&mut self) -> Option<Found> {
        let rest = self.splitter.rest()?;
        self.found(&rest)
    }

    pub fn read(&mut self) -> (Vec<Found>, Progress) {
        let mut lines = Vec::new();
        let until = self.until.filter(|_| self.earlier.is_none());
        let part = self.earlier.as_mut().or(self.now.as_mut());
        let count = part.and_then(|part| {
            let left = until.map_or(u64::MAX, |until| until.saturating_sub(part.at));
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(READ_BYTES);
            let count = part.file.read_at(&mut self.buffer[..room], part.at).ok()?;
            part.at += count as u64;
            (count > 0).then_some(count)
        });
        let Some(count) = count else {
            let progress = self.at_end(&mut lines);
            return (lines, progress);
        };
        let mut raw = Vec::new();
        self.splitter.feed(&self.buffer[..count], |line| raw.push(line));
        lines.extend(raw.iter().filter_map(|line| self.found(line)));
        (lines, Progress::More)
    }

    fn at_end(&mut self, lines: &mut Vec<Found>) -> Progress {
        if self.earlier.take().is_some() {
            lines.extend(self.rest());
            return Progress::More;
        }
        if self.until.is_some() {
            return Progress::AllTold;
        }
        let Ok(there) = std::fs::symlink_metadata(&self.path) else {
            return Progress::Quiet;
        };
        match &mut self.now {
            Some(now) if now.id == id(&there) => {
                let is_truncated = there.len() < now.at;
                if is_truncated {
                    now.at = 0;
                    lines.extend(self.rest());
                }
                match is_truncated {
                    true => Progress::More,
                    false => Progress::Quiet,
                }
            }
            // Its last lines may have come between the look at it and the look at the path.
            Some(_) if !self.is_left => {
                self.is_left = true;
                Progress::More
            }
            _ => self.open_next(lines),
        }
    }

    fn open_next(&mut self, lines: &mut Vec<Found>) -> Progress {
        let opened = self.whose.open(&self.path);
        let Ok((file, about)) = opened.and_then(|file| file.metadata().map(|about| (file, about))) else {
            return Progress::Quiet;
        };
        self.is_left = false;
        lines.extend(self.rest());
        if let Some(before) = &self.now
            && self.whose == Whose::Keepers
            && !std::fs::metadata(beside(&self.path, "1")).is_ok_and(|about| id(&about) == before.id)
        {
            lines.push(Found::new(None, MISSED, false));
        }
        let id = id(&about);
        self.now = Some(Part { file, id, at: 0 });
        Progress::More
    }

    /// What is too old is none.
    fn found(&self, raw: &Raw) -> Option<Found> {
        let text = String::from_utf8_lossy(&raw.bytes);
        let (at, text) = match self.whose {
            Whose::Keepers => log::unstamped(&text),
            Whose::Users(_) => (None, &*text),
        };
        let is_older = self.since.zip(at).is_some_and(|(since, at)| at < since);
        (!is_older).then(|| Found::new(at, text, raw.is_cut))
    }
}

fn modified(about: &Metadata) -> Timestamp {
    let seconds = u64::try_from(about.mtime()).unwrap_or(0);
    let nanos = u64::try_from(about.mtime_nsec()).unwrap_or(0);
    Timestamp(seconds * 1000 + nanos / 1_000_000)
}

/// Where the last so many lines begin, and how many there are, if there are fewer.
fn start_of_last(file: &File, length: u64, lines: u32) -> io::Result<(u64, u32)> {
    if lines == 0 || length == 0 {
        return Ok((length, 0));
    }
    let least = length.saturating_sub(BACK_BYTES_MAX);
    let mut buffer = vec![0; READ_BYTES];
    let mut end = length;
    let (mut found, mut start) = (0, length);
    while end > least {
        let from = end.saturating_sub(READ_BYTES as u64).max(least);
        let block = &mut buffer[..usize::try_from(end - from).unwrap_or(0)];
        file.read_exact_at(block, from)?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = from + index as u64 + 1;
            // The end of the last line begins none.
            if after < length {
                (found, start) = (found + 1, after);
                if found == lines {
                    return Ok((start, found));
                }
            }
        }
        end = from;
    }
    // The beginning of the file begins a line; the middle of one does not.
    match least {
        0 => Ok((0, found + 1)),
        _ => Ok((start, found)),
    }
}

#[cfg(test)]
mod tests;
