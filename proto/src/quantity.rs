//! Durations, sizes and shares, written as people write them: `5m`, `64MiB`, `25%`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not {expected}")]
pub struct QuantityError {
    pub found: String,
    pub expected: &'static str,
}

const SPAN_EXPECTED: &str = "a duration; write it as 500ms, 30s, 5m, 1h30m or 7d";
const BYTES_EXPECTED: &str = "a size; write it as 512KiB, 64MiB, 2GiB or a number of bytes";
const AMOUNT_EXPECTED: &str = "an amount; write a count such as 3, or a share such as 25%";

fn refuse<T>(found: &str, expected: &'static str) -> Result<T, QuantityError> {
    Err(QuantityError {
        found: found.chars().take(64).collect(),
        expected,
    })
}

/// A length of time, to the millisecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(u64);

impl Span {
    pub const ZERO: Self = Self(0);

    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    pub const fn from_secs(s: u64) -> Self {
        Self(s.saturating_mul(1000))
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Duration {
        span.as_duration()
    }
}

impl FromStr for Span {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return refuse(text, SPAN_EXPECTED);
        }
        if rest == "0" {
            return Ok(Self::ZERO);
        }
        let mut total = 0_u64;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let (unit, tail) = tail.split_at(letters);
            let unit_ms: u64 = match unit {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return refuse(text, SPAN_EXPECTED),
            };
            let part = number
                .parse::<u64>()
                .ok()
                .and_then(|n| n.checked_mul(unit_ms))
                .and_then(|ms| total.checked_add(ms));
            let Some(sum) = part else {
                return refuse(text, SPAN_EXPECTED);
            };
            total = sum;
            rest = tail;
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        let mut rest = self.0;
        for (unit, ms) in [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1000),
            ("ms", 1),
        ] {
            if rest >= ms {
                text.push_str(&format!("{}{unit}", rest / ms));
                rest %= ms;
            }
        }
        f.pad(&text)
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u64);

const BYTE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl FromStr for Bytes {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let trimmed = text.trim();
        let (number, unit) = BYTE_UNITS
            .iter()
            .find_map(|(suffix, unit)| trimmed.strip_suffix(suffix).map(|n| (n.trim(), *unit)))
            .unwrap_or((trimmed, 1));
        match number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)) {
            Some(bytes) => Ok(Self(bytes)),
            None => refuse(text, BYTES_EXPECTED),
        }
    }
}

impl fmt::Display for Bytes {
    /// To one decimal where it is not whole: for reading, and exact for whole units.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (suffix, unit) = BYTE_UNITS
            .iter()
            .find(|(_, unit)| self.0 >= *unit)
            .unwrap_or(&("B", 1));
        let text = if self.0.is_multiple_of(*unit) {
            format!("{}{suffix}", self.0 / unit)
        } else {
            let tenths = u128::from(self.0) * 10 / u128::from(*unit);
            format!("{}.{}{suffix}", tenths / 10, tenths % 10)
        };
        f.pad(&text)
    }
}

/// A count or a share of some whole; in a file, `3` and `"3"` are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "AmountText", into = "String")]
pub enum Amount {
    Count(u32),
    Percent(u8),
}

impl Amount {
    /// For limits (`max_unavailable`, `max_failures`): a share rounds down, because
    /// a limit that rounds up is exceeded.
    pub fn of_rounded_down(self, total: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => total * usize::from(percent) / 100,
        }
    }

    /// For what has to remain (`min_available`).
    pub fn of_rounded_up(self, total: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => (total * usize::from(percent)).div_ceil(100),
        }
    }
}

impl FromStr for Amount {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let trimmed = text.trim();
        let parsed = match trimmed.strip_suffix('%') {
            Some(share) => share.parse().ok().filter(|p| *p <= 100).map(Self::Percent),
            None => trimmed.parse().ok().map(Self::Count),
        };
        parsed.map_or_else(|| refuse(text, AMOUNT_EXPECTED), Ok)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

macro_rules! as_string {
    ($($name:ident)*) => {$(
        impl TryFrom<String> for $name {
            type Error = QuantityError;
            fn try_from(text: String) -> Result<Self, QuantityError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(quantity: $name) -> String {
                quantity.exact()
            }
        }
    )*};
}

as_string! { Span Bytes Amount }

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "an amount; write a count such as 3, or a share such as \"25%\""
)]
enum AmountText {
    Number(u32),
    Text(String),
}

impl TryFrom<AmountText> for Amount {
    type Error = QuantityError;
    fn try_from(text: AmountText) -> Result<Self, QuantityError> {
        match text {
            AmountText::Number(count) => Ok(Self::Count(count)),
            AmountText::Text(text) => text.parse(),
        }
    }
}

/// What is stored must read back as the same quantity, so sizes are not rounded there.
trait Exact {
    fn exact(&self) -> String;
}

impl Exact for Span {
    fn exact(&self) -> String {
        self.to_string()
    }
}

impl Exact for Bytes {
    fn exact(&self) -> String {
        format!("{}B", self.0)
    }
}

impl Exact for Amount {
    fn exact(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_people_write_them() {
        for (text, ms, printed) in [
            ("0", 0, "0s"),
            ("500ms", 500, "500ms"),
            ("90s", 90_000, "1m30s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("7d", 604_800_000, "7d"),
        ] {
            assert_eq!(text.parse(), Ok(Span(ms)), "{text}");
            assert_eq!(Span(ms).to_string(), printed);
        }
        for bad in [
            "",
            "5",
            "m",
            "5x",
            "-1s",
            "1.5s",
            "99999999999999999999d",
            "99999999999999d",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_read_and_print_as_people_write_them() {
        assert_eq!("64MiB".parse(), Ok(Bytes(64 << 20)));
        assert_eq!("17".parse(), Ok(Bytes(17)));
        assert_eq!(Bytes(1536).to_string(), "1.5KiB");
        assert_eq!(Bytes(64 << 20).to_string(), "64MiB");
        assert_eq!(String::from(Bytes(1537)), "1537B");
        assert!("64MB".parse::<Bytes>().is_err());
    }

    #[test]
    fn limits_round_down() {
        let quarter = Amount::Percent(25);
        assert_eq!(quarter.of_rounded_down(11), 2);
        assert_eq!(Amount::Count(3).of_rounded_down(11), 3);
        assert_eq!("25%".parse(), Ok(quarter));
        assert!("101%".parse::<Amount>().is_err());
        assert!("a few".parse::<Amount>().is_err());
    }
}
