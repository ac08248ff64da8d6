//! Labels of nodes, and the selectors that read them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{NAME_BYTES_MAX, NameError};

/// Given by join tokens and operators, never by the node itself.
pub type Labels = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    #[error("`{0}` is not a label; write it as zone=a")]
    Shape(String),
    #[error("`{0}` is not a selector; write it as zone=a,role!=db (a comma means and)")]
    Selector(String),
    #[error(transparent)]
    Name(#[from] NameError),
}

fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let why = if text.is_empty() {
        "it is empty"
    } else if text.len() > NAME_BYTES_MAX {
        "it is longer than 63 bytes"
    } else if !text.chars().all(fine) {
        "use letters, digits, `-`, `_`, `.` and `/`"
    } else {
        return Ok(());
    };
    Err(NameError {
        what,
        found: text.chars().take(NAME_BYTES_MAX).collect(),
        why: why.into(),
    })
}

/// Reads one `key=value`.
pub fn parse_label(text: &str) -> Result<(String, String), LabelError> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| LabelError::Shape(text.to_owned()))?;
    check("label", key)?;
    check("label value", value)?;
    Ok((key.to_owned(), value.to_owned()))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    Is(String, String),
    IsNot(String, String),
    Has(String),
}

/// `zone=a,role!=db,gpu`: every term must hold. The empty selector matches every node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector(Vec<Term>);

impl Selector {
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|term| match term {
            Term::Is(key, value) => labels.get(key) == Some(value),
            Term::IsNot(key, value) => labels.get(key) != Some(value),
            Term::Has(key) => labels.contains_key(key),
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Selector {
    type Err = LabelError;
    fn from_str(text: &str) -> Result<Self, LabelError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        text.split(',')
            .map(|term| {
                let term = term.trim();
                if let Some((key, value)) = term.split_once("!=") {
                    let (key, value) = parse_label(&format!("{key}={value}"))?;
                    Ok(Term::IsNot(key, value))
                } else if term.contains('=') {
                    let (key, value) = parse_label(term)?;
                    Ok(Term::Is(key, value))
                } else if check("label", term).is_ok() {
                    Ok(Term::Has(term.to_owned()))
                } else {
                    Err(LabelError::Selector(text.to_owned()))
                }
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match term {
                Term::Is(key, value) => write!(f, "{comma}{key}={value}")?,
                Term::IsNot(key, value) => write!(f, "{comma}{key}!={value}")?,
                Term::Has(key) => write!(f, "{comma}{key}")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Selector {
    type Error = LabelError;
    fn try_from(text: String) -> Result<Self, LabelError> {
        text.parse()
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> String {
        selector.to_string()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn a_selector_matches_when_every_term_holds() {
        let labels: Labels = [("zone", "a"), ("role", "api")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        for (text, expected) in [
            ("", true),
            ("zone=a", true),
            ("zone=a,role=api", true),
            ("zone=a,role=db", false),
            ("zone!=b", true),
            ("rack!=7", true),
            ("role", true),
            ("rack", false),
        ] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!(selector.matches(&labels), expected, "{text}");
            assert_eq!(selector.to_string(), text);
        }
        for bad in ["=a", "zone=", "a b", "zone=a,,role=b"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
