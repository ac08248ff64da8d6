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
    parse(&path.display().to_string(), &read_text(path)?)
}

/// The bytes of a file that ought to be text; where they are not, the place is said.
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    let bytes = std::fs::read(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let (line, column) = place(&String::from_utf8_lossy(valid));
        ConfigError::Malformed(Malformed {
            file: path.display().to_string(),
            line,
            column,
            message: "this is not text in UTF-8".to_owned(),
            hint: None,
        })
    })
}

/// The line and column behind so much text, counted from 1.
pub fn place(before: &str) -> (usize, usize) {
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line, column)
}

pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::Malformed(explain(file, text, &error)))
}

fn explain(file: &str, text: &str, error: &toml::de::Error) -> Malformed {
    let offset = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..offset).unwrap_or_default();
    let (line, column) = place(before);
    let message = error.message().lines().next().unwrap_or_default();
    let (message, hint) = match unknown_word(error.message()) {
        Some((what, unknown, known)) => {
            let hint = nearest(&unknown, &known).map_or_else(
                || format!("the {what}s here are {}", known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            (format!("unknown {what} `{unknown}`"), Some(hint))
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
fn unknown_word(message: &str) -> Option<(&'static str, String, Vec<String>)> {
    let (what, rest) = [("key", "unknown field "), ("value", "unknown variant ")]
        .into_iter()
        .find_map(|(what, prefix)| Some((what, message.strip_prefix(prefix)?)))?;
    let mut quoted = rest.split('`').skip(1).step_by(2).map(str::to_owned);
    let unknown = quoted.next()?;
    Some((what, unknown, quoted.collect()))
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
    fn a_wrong_value_is_not_called_a_key() {
        #[derive(Debug, serde::Deserialize)]
        struct Kinds {
            #[expect(dead_code, reason = "only its values matter")]
            kind: Kind,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename_all = "kebab-case")]
        enum Kind {
            Supervise,
            Static,
        }
        let error = parse::<Kinds>("fleet.toml", "kind = \"supervised\"\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "fleet.toml:1:8: unknown value `supervised`\nhint: did you mean `supervise`?"
        );
        let _both_are_known = [Kind::Supervise, Kind::Static];
    }

    #[test]
    fn bytes_that_are_no_text_name_their_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fleet.toml");
        std::fs::write(&path, b"[app]\nname = \xff").unwrap();
        let error = read::<Sample>(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("fleet.toml:2:8: this is not text in UTF-8"),
            "{error}"
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
