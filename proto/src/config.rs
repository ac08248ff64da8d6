//! How TOML files are read: an unknown key names its line and the nearest known key.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Malformed(Malformed),
}

/// Where a file is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
    pub hint: Option<String>,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&path.display().to_string(), &text)
}

pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::Malformed(explain(file, text, &error)))
}

fn explain(file: &str, text: &str, error: &toml::de::Error) -> Malformed {
    let offset = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let message = error.message().lines().next().unwrap_or_default();
    let (message, hint) = match unknown_key(error.message()) {
        Some((unknown, known)) => {
            let hint = nearest(&unknown, &known).map_or_else(
                || format!("the keys here are {}", known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            (format!("unknown key `{unknown}`"), Some(hint))
        }
        None => (message.to_owned(), None),
    };
    Malformed {
        file: file.to_owned(),
        line,
        column,
        message,
        hint,
    }
}

/// serde says: unknown field `x`, expected one of `a`, `b` (or: expected `a` or `b`).
fn unknown_key(message: &str) -> Option<(String, Vec<String>)> {
    let rest = message
        .strip_prefix("unknown field ")
        .or_else(|| message.strip_prefix("unknown variant "))?;
    let mut quoted = rest.split('`').skip(1).step_by(2).map(str::to_owned);
    let unknown = quoted.next()?;
    Some((unknown, quoted.collect()))
}

/// The known word that is most like the given one, if any is like it at all.
pub fn nearest<'a>(given: &str, known: &'a [String]) -> Option<&'a str> {
    known
        .iter()
        .map(|word| (strsim::damerau_levenshtein(given, word), word))
        .filter(|(distance, word)| *distance <= (word.len().max(given.len()) / 2).max(1))
        .min()
        .map(|(_, word)| word.as_str())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only its name matters")]
        bandwidth: Option<u32>,
        #[expect(dead_code, reason = "only its name matters")]
        state: Option<String>,
    }

    fn message(text: &str) -> String {
        parse::<Sample>("agent.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_known_key() {
        assert_eq!(
            message("state = \"x\"\nbandwith = 3\n"),
            "agent.toml:2:1: unknown key `bandwith`\nhint: did you mean `bandwidth`?"
        );
        assert_eq!(
            message("zzzzzzzz = 3\n"),
            "agent.toml:1:1: unknown key `zzzzzzzz`\nhint: the keys here are bandwidth, state"
        );
    }

    #[test]
    fn broken_toml_names_its_place() {
        assert!(
            message("state = \n").starts_with("agent.toml:1:"),
            "{}",
            message("state = \n")
        );
        assert!(message("state = 5\n").starts_with("agent.toml:1:9: invalid type"));
    }
}
