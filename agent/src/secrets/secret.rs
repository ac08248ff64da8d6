//! The bytes themselves: they cannot be printed or written down by accident.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A key with its chain of certificates; what is larger is no secret but a file.
pub const SECRET_BYTES_MAX: usize = 64 << 10;

#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

/// Why some bytes are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("it is empty")]
    Empty,
    #[error("it is larger than 64KiB")]
    TooLarge,
    #[error("it is no text without control characters, and no variable can be anything else")]
    NoVariable,
}

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Result<Self, Unfit> {
        let bytes = Zeroizing::new(bytes);
        match bytes.len() {
            0 => Err(Unfit::Empty),
            1..=SECRET_BYTES_MAX => Ok(Self(Arc::new(bytes))),
            _ => Err(Unfit::TooLarge),
        }
    }

    /// As a file or a program gives it: the end of its last line is not part of it.
    pub fn of_line(mut bytes: Vec<u8>) -> Result<Self, Unfit> {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        Self::new(bytes)
    }

    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// What systemd and every shell take for the value of a variable.
    pub fn as_variable(&self) -> Result<&str, Unfit> {
        let text = std::str::from_utf8(&self.0).map_err(|_| Unfit::NoVariable)?;
        let is_odd = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
        if text.chars().any(is_odd) {
            return Err(Unfit::NoVariable);
        }
        Ok(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_is_shown() {
        let secret = Secret::new(b"hunter2".to_vec()).unwrap();
        assert_eq!(
            format!("{secret:?} {:?}", Some(&secret)),
            "[redacted] Some([redacted])"
        );
    }

    #[test]
    fn a_last_line_s_end_is_no_part_of_it() {
        let of = |text: &str| Secret::of_line(text.as_bytes().to_vec());
        assert_eq!(of("hunter2\n").unwrap().expose(), b"hunter2");
        assert_eq!(of("a\nb\n\n").unwrap().expose(), b"a\nb\n");
        assert_eq!(of("\n").unwrap_err(), Unfit::Empty);
        assert_eq!(
            of(&"x".repeat(SECRET_BYTES_MAX + 1)).unwrap_err(),
            Unfit::TooLarge
        );
    }

    #[test]
    fn a_variable_is_text() {
        let is_one = |bytes: &[u8]| Secret::new(bytes.to_vec()).unwrap().as_variable().is_ok();
        assert!(is_one("pä$$\"'\\ \t\n".as_bytes()));
        assert!(!is_one(b"a\0b") && !is_one(b"\xff") && !is_one(b"\x1b[2J") && !is_one(b"a\r"));
    }
}
