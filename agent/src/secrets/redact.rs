//! What must not be read in what an app has written. Whatever the agent takes down of an app
//! for a report passes here before it is cut to a length, kept or sent.

use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};

use super::Secret;

pub const REDACTED: &str = "[redacted]";
/// A shorter one is in everything.
const BYTES_MIN: usize = 4;
/// Of a secret of many lines: what is short there (`}`, `true`) is in everything too.
const LINE_BYTES_MIN: usize = 8;
/// Years of secrets that change; the oldest are forgotten past it.
const KNOWN_MAX: usize = 4096;

static KNOWN: RwLock<Redactor> = RwLock::new(Redactor { values: Vec::new() });

/// From now on nothing that is shown has this in it.
pub fn know(secret: &Secret) {
    let is_known = |redactor: &Redactor| redactor.values.contains(secret);
    if !is_known(&KNOWN.read().unwrap_or_else(PoisonError::into_inner)) {
        KNOWN.write().unwrap_or_else(PoisonError::into_inner).add(secret);
    }
}

/// With every secret that this process knows replaced.
pub fn redact(text: &str) -> Cow<'_, str> {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).redact(text)
}

#[derive(Debug, Default)]
struct Redactor {
    values: Vec<Secret>,
}

impl Redactor {
    /// The whole, and each of its lines: a log is shown line by line.
    fn add(&mut self, secret: &Secret) {
        let lines = secret
            .expose()
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::trim_ascii);
        let lines = lines.filter(|line| line.len() >= LINE_BYTES_MIN);
        let lines = lines.filter_map(|line| Secret::new(line.to_vec()).ok());
        let values = std::iter::once(secret.clone()).chain(lines);
        for value in values.filter(|value| value.expose().len() >= BYTES_MIN) {
            if !self.values.contains(&value) {
                self.values.push(value);
            }
        }
        let excess = self.values.len().saturating_sub(KNOWN_MAX);
        self.values.drain(..excess);
    }

    /// Those that overlap are one: of neither a rest is left.
    fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut hidden: Vec<(usize, usize)> = Vec::new();
        for value in &self.values {
            let value = value.expose();
            hidden.extend(places(text.as_bytes(), value).map(|at| (at, at + value.len())));
        }
        if hidden.is_empty() {
            return Cow::Borrowed(text);
        }
        hidden.sort_unstable();
        let (mut shown, mut until) = (Vec::with_capacity(text.len()), 0);
        for (from, to) in hidden {
            if from >= until {
                shown.extend_from_slice(&text.as_bytes()[until..from]);
                shown.extend_from_slice(REDACTED.as_bytes());
            }
            until = until.max(to);
        }
        shown.extend_from_slice(&text.as_bytes()[until..]);
        // A secret that is no text may end within a letter.
        Cow::Owned(String::from_utf8_lossy(&shown).into_owned())
    }
}

fn places<'a>(text: &'a [u8], value: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let windows = text.windows(value.len()).enumerate();
    windows.filter_map(move |(at, window)| (window == value).then_some(at))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec()).unwrap()
    }

    fn check(secrets: &[&str], text: &str, expected: &str) {
        let mut redactor = Redactor::default();
        secrets.iter().for_each(|known| redactor.add(&secret(known)));
        assert_eq!(redactor.redact(text), expected, "{secrets:?}");
    }

    #[test]
    fn what_is_known_is_not_shown() {
        check(&[], "all is well", "all is well");
        check(
            &["hunter2"],
            "password hunter2, again hunter2",
            "password [redacted], again [redacted]",
        );
        check(&["hunter2"], "Hunter2 hunter", "Hunter2 hunter");
        check(&["hunter2"], "hunter2", "[redacted]");
        // Nothing in it means anything but itself.
        check(&["a.*[b]$("], "a.*[b]$( axxb", "[redacted] axxb");
        check(&["pässwörd"], "as pässwörd€", "as [redacted]€");
    }

    #[test]
    fn of_those_that_overlap_or_repeat_no_rest_is_left() {
        check(&["abcdef", "defghi"], "xabcdefghix", "x[redacted]x");
        check(&["abcd", "abcdefgh"], "abcdefgh abcdx", "[redacted] [redacted]x");
        check(&["aaaa"], "aaaaaa", "[redacted]");
    }

    #[test]
    fn what_is_short_is_in_everything() {
        check(
            &["abc", ""].map(|text| if text.is_empty() { "z" } else { text }),
            "abc z",
            "abc z",
        );
    }

    #[test]
    fn one_of_many_lines_is_hidden_line_by_line() {
        let key = "-----BEGIN KEY-----\nMIIEvQIBADAN\n  c2VjcmV0cw==\n{}\n-----END KEY-----";
        check(&[key], key, "[redacted]");
        check(&[key], "key: MIIEvQIBADAN {}", "key: [redacted] {}");
        check(&[key], "c2VjcmV0cw==", "[redacted]");
    }

    #[test]
    fn what_this_process_knows_is_hidden_in_all_that_it_shows() {
        know(&secret("a-secret-of-this-test"));
        assert_eq!(redact("it is a-secret-of-this-test!"), "it is [redacted]!");
        assert_eq!(
            crate::process::log::harmless("a-secret-of-this-test\u{1b}"),
            "[redacted]\\u{1b}"
        );
        // Also where it is cut off.
        let line = format!("{}a-secret-of-this-test", "x".repeat(390));
        assert!(!crate::process::log::harmless(&line).contains("a-secret"));
    }

    proptest! {
        #[test]
        fn no_secret_is_left_whatever_is_around_it(
            secrets in proptest::collection::vec("[a-c]{4,6}", 1..4),
            around in "[a-d ]{0,40}",
            at in 0..40_usize,
        ) {
            let mut redactor = Redactor::default();
            secrets.iter().for_each(|known| redactor.add(&secret(known)));
            let at = at.min(around.len());
            let text = format!("{}{}{}", &around[..at], secrets[0], &around[at..]);
            let shown = redactor.redact(&text).replace(REDACTED, "\n");
            for known in &secrets {
                prop_assert!(!shown.contains(known.as_str()), "{} in {}", known, shown);
            }
        }
    }
}
