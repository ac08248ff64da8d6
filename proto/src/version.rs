//! Release versions, and the protocol's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A release's version as its author wrote it. Fleet compares versions for equality
/// only: order comes from the manifest's counter, which is signed and cannot be
/// misread (`v1.10` against `v1.9`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

const VERSION_BYTES_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a version; use letters, digits, `.`, `-`, `+` and `_`, at most {VERSION_BYTES_MAX} bytes, as in v1.0.0"
)]
pub struct VersionError(String);

impl Version {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Version {
    type Err = VersionError;
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-+_".contains(c);
        let fits = !text.is_empty() && text.len() <= VERSION_BYTES_MAX;
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if fits && starts_well && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(VersionError(text.chars().take(VERSION_BYTES_MAX).collect()))
        }
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;
    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    pub major: u32,
    pub minor: u32,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("protocol {theirs} does not fit protocol {ours}; one minor version behind or ahead works")]
pub struct ProtocolMismatch {
    pub ours: Protocol,
    pub theirs: Protocol,
}

/// An agent one minor version behind or ahead works; anything else is refused.
pub fn protocol_fits(ours: Protocol, theirs: Protocol) -> Result<(), ProtocolMismatch> {
    if ours.major == theirs.major && ours.minor.abs_diff(theirs.minor) <= 1 {
        Ok(())
    } else {
        Err(ProtocolMismatch { ours, theirs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_what_people_tag() {
        for good in ["v1.0.0", "1.0", "2026.11.21-rc1+build5", "a"] {
            assert!(good.parse::<Version>().is_ok(), "{good}");
        }
        for bad in ["", ".1", "v1/0", "v 1", "-1", &"1".repeat(65)] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_minor_version_apart_fits() {
        let at = |major, minor| Protocol { major, minor };
        assert!(protocol_fits(at(1, 4), at(1, 3)).is_ok());
        assert!(protocol_fits(at(1, 4), at(1, 5)).is_ok());
        assert!(protocol_fits(at(1, 4), at(1, 6)).is_err());
        assert!(protocol_fits(at(1, 4), at(2, 4)).is_err());
    }
}
