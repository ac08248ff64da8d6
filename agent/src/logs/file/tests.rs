#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::io::Write;

use super::*;
use crate::process::log::Log;

struct Bench {
    directory: tempfile::TempDir,
}

fn from(lines: u32) -> From {
    From { since: None, lines }
}

impl Bench {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn append(&self, text: &str) {
        let file = File::options().create(true).append(true).open(self.path());
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn user(&self, lines: u32) -> FileTail {
        FileTail::of_user(nix::unistd::geteuid(), &self.path(), from(lines))
    }
}

/// All that can be read now.
fn drain(tail: &mut FileTail) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let (lines, progress) = tail.read();
        all.extend(lines.into_iter().map(|line| line.text));
        if progress != Progress::More {
            return all;
        }
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:06}")).collect()
}

#[test]
fn the_last_lines_are_found_however_the_file_ends() {
    for (text, lines, expected) in [
        ("one\ntwo\nthree\n", 2, &["two", "three"][..]),
        ("one\ntwo\nthree", 2, &["two", "three"]),
        ("one\ntwo\n", 5, &["one", "two"]),
        ("\n\n", 5, &["", ""]),
        ("one", 1, &["one"]),
        ("one\n", 0, &[]),
        ("", 5, &[]),
    ] {
        let bench = Bench::new();
        bench.append(text);
        let mut tail = bench.user(lines);
        let mut found = drain(&mut tail);
        found.extend(tail.rest().map(|line| line.text));
        assert_eq!(found, expected, "{text:?}, {lines}");
    }
    let bench = Bench::new();
    let all = numbered(100_000);
    bench.append(&(all.join("\n") + "\n"));
    assert_eq!(drain(&mut bench.user(30_000)), all[70_000..]);
}

#[test]
fn what_is_written_while_it_is_read_is_not_past() {
    let bench = Bench::new();
    bench.append("one\n");
    let mut tail = bench.user(10);
    bench.append("two\nthr");
    assert_eq!(drain(&mut tail), ["one"]);
    tail.go_on();
    assert_eq!(drain(&mut tail), ["two"]);
    bench.append("ee\n");
    assert_eq!(drain(&mut tail), ["three"]);
}

#[test]
fn a_rotated_and_a_truncated_file_are_followed() {
    let bench = Bench::new();
    let mut tail = bench.user(10);
    tail.go_on();
    assert!(drain(&mut tail).is_empty());
    bench.append("one\n");
    assert_eq!(drain(&mut tail), ["one"]);
    bench.append("two\n");
    std::fs::rename(bench.path(), beside(&bench.path(), "old")).unwrap();
    bench.append("three\n");
    assert_eq!(drain(&mut tail), ["two", "three"]);
    std::fs::write(bench.path(), "4\n").unwrap();
    assert_eq!(drain(&mut tail), ["4"]);
    // What only looks like theirs is not read.
    std::fs::remove_file(bench.path()).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", bench.path()).unwrap();
    assert!(drain(&mut tail).is_empty());
}

#[test]
fn a_keepers_log_says_when_and_goes_on_in_the_next_one() {
    let bench = Bench::new();
    let before = Timestamp::now();
    let mut log = Log::begin(&bench.path());
    log.write(b"one").unwrap();
    let mut log_of_next = Log::begin(&bench.path());
    log_of_next.write(b"two").unwrap();
    let mut tail = FileTail::of_keeper(&bench.path(), from(10));
    let mut lines = Vec::new();
    while let (found, Progress::More) = tail.read() {
        lines.extend(found);
    }
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["one", "two"]);
    assert!(lines.iter().all(|line| line.at.unwrap() >= before), "{lines:?}");

    tail.go_on();
    Log::begin(&bench.path()).write(b"three").unwrap();
    assert_eq!(drain(&mut tail), ["three"]);
    // Twice since the last look: one of them is gone, and that is said.
    Log::begin(&bench.path()).write(b"four").unwrap();
    Log::begin(&bench.path()).write(b"five").unwrap();
    assert_eq!(drain(&mut tail), [MISSED, "five"]);
}

#[test]
fn what_is_older_is_left_out() {
    let bench = Bench::new();
    bench.append("2026-02-12T12:00:00.000Z\tone\n2026-02-12T13:00:00.000Z\ttwo\nthree\n");
    let at_12 = Timestamp::parse_rfc3339("2026-02-12T12:30:00.000Z").unwrap();
    let since = |since| From {
        since: Some(since),
        lines: 10,
    };
    let mut tail = FileTail::of_keeper(&bench.path(), since(at_12));
    assert_eq!(drain(&mut tail), ["two", "three"]);
    // A file that has no times has that of its last change.
    let later = Timestamp(Timestamp::now().0 + 60_000);
    let mut tail = FileTail::of_user(nix::unistd::geteuid(), &bench.path(), since(later));
    assert!(drain(&mut tail).is_empty());
    tail.go_on();
    bench.append("four\n");
    assert_eq!(drain(&mut tail), ["four"]);
}
