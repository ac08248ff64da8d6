//! What components write, for an operator who asks: read where it lies, and kept nowhere.
//!
//! ```text
//! origins (what the current release has) → sources (files, journalctl) → outbox → answer
//! ```
//!
//! One thread an answer. Until it has told what there was, it reads as fast as it is taken
//! from it; while it follows, it goes on, and what nobody takes is counted instead of kept.

mod file;
mod journal;
mod lines;
mod origin;
mod outbox;

use std::time::{Duration, Instant};

use fleet_proto::digest::Digest;
use fleet_proto::ids::ComponentName;
use fleet_proto::session::question::{AnswerRefused, LogsWanted};
use fleet_proto::time::Timestamp;

use crate::layout::Layout;
use crate::slots::Slots;
use file::FileTail;
use journal::JournalTail;
use lines::Found;
use origin::{Origin, Writer};
use outbox::{Gone, Outbox};

pub use outbox::Batches;

/// Lines are seldom waited for more eagerly than that.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Between looks whether another release has taken the place of the one that is followed.
const LOOK_FOR_CHANGES_EVERY: Duration = Duration::from_secs(1);

/// Tells what is wanted, until it is told or nobody takes it any more. Blocks.
pub fn tell(layout: &Layout, wanted: &LogsWanted, to: Batches) -> Result<(), AnswerRefused> {
    let began = Timestamp::now();
    let mut outbox = Outbox::new(to);
    let mut reading = Reading::begin(layout, wanted, began)?;
    let told = reading
        .tell_what_there_is(&mut outbox)
        .and_then(|()| match wanted.follow {
            true => reading.follow(&mut outbox),
            false => outbox.finish(),
        });
    // Whoever asked is not there any more: that is an end like any other.
    let (Ok(()) | Err(Gone)) = told;
    Ok(())
}

struct Reading<'a> {
    layout: &'a Layout,
    wanted: &'a LogsWanted,
    release: Option<Digest>,
    sources: Vec<Source>,
}

struct Source {
    component: ComponentName,
    origin: Origin,
    tail: Tail,
}

enum Tail {
    File(FileTail),
    Journal(JournalTail),
}

/// How a source stands after it was read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// There may be more at once.
    More,
    /// Nothing just now.
    Quiet,
    /// All that there was when it was begun.
    AllTold,
}

/// From where a source is read that was not read before.
#[derive(Debug, Clone, Copy)]
struct From {
    since: Option<Timestamp>,
    lines: u32,
}

impl<'a> Reading<'a> {
    fn begin(layout: &'a Layout, wanted: &'a LogsWanted, now: Timestamp) -> Result<Self, AnswerRefused> {
        let release = Slots::new(layout, &wanted.app).current();
        let from = From {
            since: wanted
                .since
                .map(|since| Timestamp(now.0.saturating_sub(since.as_millis()))),
            lines: wanted.lines,
        };
        let writers = origin::writers(layout, wanted)?;
        let sources = writers.into_iter().map(|writer| Source::begin(writer, from, now));
        Ok(Self {
            layout,
            wanted,
            release,
            sources: sources.collect(),
        })
    }

    /// One component after the other: what is past has no hurry.
    fn tell_what_there_is(&mut self, outbox: &mut Outbox) -> Result<(), Gone> {
        for source in &mut self.sources {
            loop {
                let (found, progress) = source.read();
                for line in found {
                    outbox.put_patiently(&source.component, line)?;
                }
                match progress {
                    Progress::More => {}
                    Progress::AllTold if self.wanted.follow => break,
                    Progress::AllTold => {
                        if let Some(line) = source.rest() {
                            outbox.put_patiently(&source.component, line)?;
                        }
                        break;
                    }
                    Progress::Quiet => {
                        outbox.offer()?;
                        std::thread::sleep(LOOK_EVERY);
                    }
                }
            }
        }
        outbox.finish()
    }

    fn follow(&mut self, outbox: &mut Outbox) -> Result<(), Gone> {
        for source in &mut self.sources {
            source.go_on();
        }
        let mut looked = Instant::now();
        loop {
            let mut is_quiet = true;
            for source in &mut self.sources {
                let (found, progress) = source.read();
                is_quiet &= progress != Progress::More;
                for line in found {
                    outbox.put_or_skip(&source.component, line)?;
                }
            }
            if looked.elapsed() >= LOOK_FOR_CHANGES_EVERY {
                self.follow_changes();
                looked = Instant::now();
            }
            outbox.offer()?;
            if is_quiet {
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }

    /// Another release may write elsewhere. What is not written to any more is read on: its
    /// last lines may be on their way.
    fn follow_changes(&mut self) {
        let release = Slots::new(self.layout, &self.wanted.app).current();
        if release.is_none() || release == self.release {
            return;
        }
        // In the middle of a switch it may not be said yet what runs; then the next time.
        let Ok(writers) = origin::writers(self.layout, self.wanted) else {
            return;
        };
        self.release = release;
        for writer in writers {
            let is_known =
                |source: &Source| (&source.component, &source.origin) == (&writer.component, &writer.origin);
            if !self.sources.iter().any(is_known) {
                let from = From {
                    since: None,
                    lines: fleet_proto::session::question::LINES_MAX,
                };
                let mut source = Source::begin(writer, from, Timestamp::now());
                source.go_on();
                self.sources.push(source);
            }
        }
    }
}

impl Source {
    fn begin(writer: Writer, from: From, now: Timestamp) -> Self {
        let Writer { component, origin } = writer;
        let tail = match &origin {
            Origin::Own(path) => Tail::File(FileTail::of_keeper(path, from)),
            Origin::Theirs { owner, path } => Tail::File(FileTail::of_user(*owner, path, from)),
            Origin::Journal { units, user } => Tail::Journal(JournalTail::begin(units, *user, from, now)),
        };
        Self {
            component,
            origin,
            tail,
        }
    }

    fn read(&mut self) -> (Vec<Found>, Progress) {
        match &mut self.tail {
            Tail::File(file) => file.read(),
            Tail::Journal(journal) => journal.read(),
        }
    }

    /// What has no end yet, where nothing more is waited for.
    fn rest(&mut self) -> Option<Found> {
        match &mut self.tail {
            Tail::File(file) => file.rest(),
            Tail::Journal(_) => None,
        }
    }

    /// All that there was has been told: from now on what is new.
    fn go_on(&mut self) {
        match &mut self.tail {
            Tail::File(file) => file.go_on(),
            Tail::Journal(journal) => journal.go_on(),
        }
    }
}
