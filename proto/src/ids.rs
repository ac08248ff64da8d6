//! Names and numbers, one type each, so that they cannot be taken for one another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Long enough for a host name, short enough for a file name and a metric label.
pub const NAME_BYTES_MAX: usize = 63;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{found}` is not a name: {why}")]
pub struct NameError {
    pub what: &'static str,
    pub found: String,
    pub why: String,
}

/// Names become paths, URIs, labels and metric values: the alphabet is the one that
/// is harmless in all of them.
fn check_name(what: &'static str, text: &str) -> Result<(), NameError> {
    let refuse = |why: String| {
        Err(NameError {
            what,
            found: text.chars().take(NAME_BYTES_MAX).collect(),
            why,
        })
    };
    if text.is_empty() {
        return refuse("it is empty".into());
    }
    if text.len() > NAME_BYTES_MAX {
        return refuse(format!(
            "it is {} bytes long, the limit is {NAME_BYTES_MAX}",
            text.len()
        ));
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if let Some(odd) = text.chars().find(|c| !allowed(*c)) {
        return refuse(format!(
            "`{}` is not allowed; use a-z, 0-9, `-`, `_` and `.`",
            odd.escape_default()
        ));
    }
    if !text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        return refuse("it must begin with a letter or a digit".into());
    }
    Ok(())
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check_name($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                check_name($what, &text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}

names! {
    /// A VM or pod that runs an agent.
    NodeId = "node";
    /// A thing that is released as one.
    AppName = "app";
    /// A node selector plus policy.
    EnvironmentName = "environment";
    /// Where a node's secrets come from.
    ProviderName = "provider";
    /// One deployable part of an app.
    ComponentName = "component";
    /// A person or a machine that gives orders.
    OperatorName = "operator";
    /// One coordinator process's identity.
    CoordinatorId = "coordinator";
    /// A health check within a component.
    CheckName = "check";
    /// A cluster that vouches for its pods.
    ClusterName = "cluster";
    /// The public part of a join token, safe to show and to log.
    TokenId = "token";
}

/// A rollout's number: shown as `#42`, typed as `42` (a shell reads `#` as a comment).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RolloutNumber(pub u64);

impl fmt::Display for RolloutNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rollout's number; type it as 42")]
pub struct RolloutNumberError(String);

impl FromStr for RolloutNumber {
    type Err = RolloutNumberError;
    fn from_str(text: &str) -> Result<Self, RolloutNumberError> {
        let digits = text.strip_prefix('#').unwrap_or(text);
        match digits.parse::<u64>() {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(RolloutNumberError(text.to_owned())),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless_in_paths_and_uris() {
        for good in ["a", "web-1", "n01", "eu.west_1", "0"] {
            assert!(good.parse::<NodeId>().is_ok(), "{good}");
        }
        let long = "x".repeat(64);
        for bad in ["", ".", "..", "-a", "A", "a/b", "a b", "ä", "a\n", long.as_str()] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_error_says_what_is_wrong() {
        let error = "a/b".parse::<AppName>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "app `a/b` is not a name: `/` is not allowed; use a-z, 0-9, `-`, `_` and `.`"
        );
    }

    #[test]
    fn rollout_numbers_are_read_with_and_without_the_hash() {
        assert_eq!("#42".parse(), Ok(RolloutNumber(42)));
        assert_eq!("42".parse(), Ok(RolloutNumber(42)));
        assert!("0".parse::<RolloutNumber>().is_err());
        assert!("v1".parse::<RolloutNumber>().is_err());
    }
}
