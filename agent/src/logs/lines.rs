//! Lines out of bytes, bounded and harmless.

use fleet_proto::session::question::{CUT, LINE_BYTES_MAX};
use fleet_proto::time::Timestamp;

use crate::process::log::harmless_until;

/// A line, before anybody has asked for it by a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub at: Option<Timestamp>,
    pub text: String,
}

/// As it was written, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    pub bytes: Vec<u8>,
    pub is_cut: bool,
}

/// Holds no more than one line, and of that no more than its limit.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    line: Vec<u8>,
    /// The rest of a line of which the beginning was given already.
    passes_over: bool,
}

impl Splitter {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            passes_over: false,
        }
    }

    /// A line without end is given once, cut: nobody waits for its end.
    pub fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(Raw)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (part, ends) = match part.strip_suffix(b"\n") {
                Some(part) => (part, true),
                None => (part, false),
            };
            if !self.passes_over {
                let room = self.limit - self.line.len();
                self.line.extend_from_slice(&part[..part.len().min(room)]);
                let is_cut = part.len() > room;
                if ends || is_cut {
                    take(self.taken(is_cut));
                }
                self.passes_over = is_cut;
            }
            if ends {
                self.passes_over = false;
            }
        }
    }

    /// What has no end, where nothing more comes.
    pub fn rest(&mut self) -> Option<Raw> {
        self.passes_over = false;
        (!self.line.is_empty()).then(|| self.taken(false))
    }

    fn taken(&mut self, is_cut: bool) -> Raw {
        Raw {
            bytes: std::mem::take(&mut self.line),
            is_cut,
        }
    }
}

impl Found {
    pub fn new(at: Option<Timestamp>, text: &str, is_cut: bool) -> Self {
        let mut text = harmless_until(text, LINE_BYTES_MAX);
        // What was made harmless is longer than it was.
        let is_cut = is_cut || text.len() > LINE_BYTES_MAX;
        if is_cut {
            let end = (0..=LINE_BYTES_MAX.min(text.len()))
                .rev()
                .find(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or(0));
            text.push_str(CUT);
        }
        Self { at, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(limit: usize, parts: &[&str]) -> Vec<(String, bool)> {
        let mut splitter = Splitter::new(limit);
        let mut lines = Vec::new();
        let mut take = |raw: Raw| {
            let text = String::from_utf8_lossy(&raw.bytes).into_owned();
            lines.push((text, raw.is_cut));
        };
        for part in parts {
            splitter.feed(part.as_bytes(), &mut take);
        }
        if let Some(rest) = splitter.rest() {
            take(rest);
        }
        lines
    }

    #[test]
    fn lines_come_whole_however_they_are_read() {
        let whole = |text: &str| (text.to_owned(), false);
        let cut = |text: &str| (text.to_owned(), true);
        for (parts, expected) in [
            (&["one\ntwo\n"][..], vec![whole("one"), whole("two")]),
            (
                &["on", "e\n\ntw", "o"],
                vec![whole("one"), whole(""), whole("two")],
            ),
            (&["12345\n"], vec![whole("12345")]),
            (&["123456\nx\n"], vec![cut("12345"), whole("x")]),
            (&["12345", "6", "789\nx"], vec![cut("12345"), whole("x")]),
            (&["123", "456789", "0"], vec![cut("12345")]),
            (&[], vec![]),
        ] {
            assert_eq!(split(5, parts), expected, "{parts:?}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_than_its_limit() {
        let mut splitter = Splitter::new(1000);
        let mut lines = 0;
        for _ in 0..10_000 {
            splitter.feed(&[b'x'; 1000], |_| lines += 1);
        }
        assert_eq!(lines, 1);
        assert!(splitter.line.capacity() <= 2000);
    }

    #[test]
    fn a_line_says_that_it_was_cut_and_repaints_nothing() {
        let found = |text: &str, is_cut| Found::new(None, text, is_cut).text;
        assert_eq!(found("one\x1b[2J\ttwo", false), "one\\u{1b}[2J two");
        assert_eq!(found("one", true), "one… (cut)");
        let long = "\x1b".repeat(LINE_BYTES_MAX);
        let long = found(&long, false);
        assert!(
            long.len() <= LINE_BYTES_MAX + CUT.len() && long.ends_with(CUT),
            "{}",
            long.len()
        );
        assert!(found(&"ü".repeat(LINE_BYTES_MAX), false).ends_with(CUT));
        assert_eq!(found(&"x".repeat(LINE_BYTES_MAX), false).len(), LINE_BYTES_MAX);
    }
}
