//! A component's log: what the app wrote, bounded, and harmless when shown.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fleet_proto::time::Timestamp;
use nix::fcntl::OFlag;
use nix::unistd::Uid;

use crate::durable::beside;
use crate::secrets::redact::redact;

/// With one rotation twice this is on the disk; enough to see how something began.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// A line without end is cut here and goes on as the next.
const LINE_BYTES_MAX: usize = 8 << 10;
/// A shown line is for a terminal and a message, not for an archive.
const SHOWN_CHARS_MAX: usize = 400;
const TAIL_BYTES: u64 = 64 << 10;

/// The writing end, in the keeper.
pub struct Log {
    path: PathBuf,
    /// None while the disk gives none.
    file: Option<File>,
    bytes: u64,
}

impl Log {
    /// A new keeper begins a new log, so that what a release wrote is not mixed with
    /// what the one before it did.
    pub fn begin(path: &Path) -> Self {
        let _first_or_full_disk = std::fs::rename(path, beside(path, "1"));
        let file = append(path).ok();
        let bytes = file.as_ref().and_then(|file| file.metadata().ok());
        Self {
            path: path.to_owned(),
            file,
            bytes: bytes.map_or(0, |about| about.len()),
        }
    }

    /// With the time in front of it: nothing else says when a line was written.
    pub fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let mut whole = stamp(Timestamp::now()).into_bytes();
        whole.extend_from_slice(line);
        whole.push(b'\n');
        if self.bytes + whole.len() as u64 > FILE_BYTES_MAX {
            self.file = None;
            match std::fs::rename(&self.path, beside(&self.path, "1")) {
                // Somebody has taken it away.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.bytes = 0,
            }
        }
        if self.file.is_none() {
            self.file = Some(append(&self.path)?);
        }
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.write_all(&whole)?;
        self.bytes += whole.len() as u64;
        Ok(())
    }

    /// Takes down all that comes out of the app until nobody can write to it any more.
    /// A log that cannot be written must not stop the app, so its output is drained
    /// all the same.
    pub fn take_down(mut self, output: impl Read) {
        let mut reader = BufReader::with_capacity(LINE_BYTES_MAX, output);
        let mut line = Vec::new();
        loop {
            let (taken, ends) = match reader.fill_buf() {
                Ok([]) => break,
                Ok(bytes) => {
                    let room = LINE_BYTES_MAX - line.len();
                    let until = bytes.iter().take(room).position(|byte| *byte == b'\n');
                    let taken = until.unwrap_or(bytes.len().min(room));
                    line.extend_from_slice(&bytes[..taken]);
                    (taken + usize::from(until.is_some()), until.is_some())
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            reader.consume(taken);
            if ends || line.len() >= LINE_BYTES_MAX {
                let _full_disk = self.write(&line);
                line.clear();
            }
        }
        if !line.is_empty() {
            let _full_disk = self.write(&line);
        }
    }
}

/// `2026-02-12T12:00:00.000Z` and a tab.
const STAMP_BYTES: usize = 25;

fn stamp(at: Timestamp) -> String {
    format!("{at}\t")
}

/// A line as it was written, and when. Those of a keeper from before it noted that have none.
pub fn unstamped(line: &str) -> (Option<Timestamp>, &str) {
    let split = line.split_at_checked(STAMP_BYTES);
    let stamped = split.and_then(|(stamp, rest)| {
        let at = Timestamp::parse_rfc3339(stamp.strip_suffix('\t')?)?;
        Some((Some(at), rest))
    });
    stamped.unwrap_or((None, line))
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The last lines, made harmless. None there is no error: there is nothing to show.
pub fn tail(path: &Path, lines_max: usize) -> Vec<String> {
    let mut lines = last_lines(path, lines_max);
    if lines.is_empty() {
        return lines;
    }
    let missing = lines_max - lines.len();
    if missing > 0 && std::fs::metadata(path).is_ok_and(|about| about.len() > FILE_BYTES_MAX) {
        let mut earlier = last_lines(&beside(path, "1"), missing);
        earlier.append(&mut lines);
        return earlier;
    }
    lines
}

/// As [`tail`], of somebody else's log: of what came after so many bytes, or of all, if it
/// has been begun anew since.
pub fn tail_of(owner: Uid, path: &Path, from: u64, lines_max: usize) -> Vec<String> {
    open_of(owner, path).map_or_else(|_| Vec::new(), |file| last_lines_from(file, from, lines_max))
}

/// A plain file that is theirs. Whoever may choose the name could lead an agent that is root to
/// what only root may read, or to a pipe from which nothing ever comes.
pub fn open_of(owner: Uid, path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)?;
    let about = file.metadata()?;
    if about.is_file() && about.uid() == owner.as_raw() {
        return Ok(file);
    }
    Err(io::Error::from(io::ErrorKind::PermissionDenied))
}

fn last_lines(path: &Path, lines_max: usize) -> Vec<String> {
    File::open(path).map_or_else(|_| Vec::new(), |file| last_lines_from(file, 0, lines_max))
}

fn last_lines_from(mut file: File, least: u64, lines_max: usize) -> Vec<String> {
    let mut is_cut = false;
    let mut read = || -> io::Result<Vec<u8>> {
        let length = file.metadata()?.len();
        let least = if least <= length { least } else { 0 };
        let from = length.saturating_sub(TAIL_BYTES).max(least);
        is_cut = from > least;
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        (&file).take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    // Half a line may begin with half a secret, which nobody would know for one.
    let skipped = lines.len().saturating_sub(lines_max).max(usize::from(is_cut));
    let lines = lines.into_iter().skip(skipped);
    lines.map(|line| harmless(unstamped(line).1)).collect()
}

/// Without secrets; and escape codes could repaint a terminal; they are shown as what they are.
pub fn harmless(line: &str) -> String {
    harmless_until(line, SHOWN_CHARS_MAX)
}

pub fn harmless_until(line: &str, chars_max: usize) -> String {
    let line = redact(line);
    let mut shown = String::new();
    for (count, letter) in line.trim_end().chars().enumerate() {
        if count == chars_max {
            shown.push('…');
            break;
        }
        match letter {
            '\t' => shown.push(' '),
            letter if letter.is_control() || is_formatting(letter) => shown.extend(letter.escape_default()),
            letter => shown.push(letter),
        }
    }
    shown
}

/// Marks that change the direction of writing can make a line say another thing.
fn is_formatting(letter: char) -> bool {
    matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_harmless_whatever_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let endless = "x".repeat(LINE_BYTES_MAX * 3);
        let output = [
            b"one\n\x1b[2Jtwo\n\xff\xfe\nthree\r\n".as_slice(),
            endless.as_bytes(),
        ]
        .concat();
        Log::begin(&path).take_down(&output[..]);
        let lines = tail(&path, 20);
        assert_eq!(lines[..4], ["one", "\\u{1b}[2Jtwo", "\u{fffd}\u{fffd}", "three"]);
        assert_eq!(lines.len(), 7);
        assert!(
            lines[4..]
                .iter()
                .all(|line| line.chars().count() == SHOWN_CHARS_MAX + 1)
        );
        assert_eq!(tail(&path, 2).len(), 2);
        assert!(tail(&directory.path().join("none"), 20).is_empty());
    }

    #[test]
    fn a_line_says_when_it_was_written() {
        let at = Timestamp(1_770_897_600_123);
        let line = format!("{}one\ttwo", stamp(at));
        assert_eq!(unstamped(&line), (Some(at), "one\ttwo"));
        let umlauts = "ü".repeat(STAMP_BYTES);
        for line in ["", "one", "2026-02-12T12:00:00.123Z one", &umlauts] {
            assert_eq!(unstamped(line), (None, line));
        }
    }

    #[test]
    fn what_is_not_theirs_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("log"), "one\ntwo\n").unwrap();
        std::os::unix::fs::symlink("log", path("link")).unwrap();
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let own = nix::unistd::geteuid();
        let tail = |owner, name: &str, from| tail_of(owner, &path(name), from, 20);
        assert_eq!(tail(own, "log", 0), ["one", "two"]);
        assert_eq!(tail(own, "log", 4), ["two"]);
        // It has been begun anew since.
        assert_eq!(tail(own, "log", 100), ["one", "two"]);
        for name in ["link", "pipe", "none"] {
            assert!(tail(own, name, 0).is_empty(), "{name}");
        }
        assert!(tail(Uid::from_raw(own.as_raw() + 1), "log", 0).is_empty());
    }

    #[test]
    fn a_log_does_not_fill_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let flood = io::repeat(b'y').take(FILE_BYTES_MAX * 4);
        Log::begin(&path).take_down(flood);
        let bytes: u64 = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .sum();
        assert!(bytes <= FILE_BYTES_MAX * 2, "{bytes}");
    }
}
