//! An error, once, at the edge: what, why, and what to do. Lines for people; for
//! programs one JSON object in one line.

use std::error::Error as _;

use serde::Serialize;

use crate::error::Error;
use crate::exit::Exit;

/// `--output json` prints just this, so fields are added here and never renamed.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    exit: u8,
    /// Each the reason for what stands before it.
    #[serde(skip)]
    causes: Vec<String>,
}

impl Mistake {
    pub fn new(error: impl Into<String>, hint: Option<String>, exit: Exit) -> Self {
        Self {
            error: error.into(),
            hint,
            exit: exit.code(),
            causes: Vec::new(),
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!("error: {}", self.error);
        for cause in &self.causes {
            text.push_str("\n  because: ");
            text.push_str(cause);
        }
        if let Some(hint) = &self.hint {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        text
    }

    pub fn json(&self) -> String {
        let mut told = vec![self.error.as_str()];
        told.extend(self.causes.iter().map(String::as_str));
        let whole = Self {
            error: told.join(": "),
            hint: self.hint.clone(),
            exit: self.exit,
            causes: Vec::new(),
        };
        serde_json::to_string(&whole).unwrap_or_default()
    }
}

impl From<&Error> for Mistake {
    fn from(error: &Error) -> Self {
        let mut mistake = Self::new(error.to_string(), error.hint(), error.exit());
        // Messages from elsewhere may bring their hint along.
        if let Some((before, inner)) = mistake.error.split_once("\nhint: ") {
            mistake.hint = Some(inner.to_owned());
            mistake.error = before.to_owned();
        }
        let mut cause = error.source();
        while let Some(inner) = cause {
            mistake.causes.push(inner.to_string());
            cause = inner.source();
        }
        mistake
    }
}

/// What clap says, without the summary of the usage that it adds for people.
impl From<&clap::Error> for Mistake {
    fn from(usage: &clap::Error) -> Self {
        use clap::error::ErrorKind;
        if matches!(
            usage.kind(),
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        ) {
            let hint = "`fleetctl --help` lists the verbs".to_owned();
            return Self::new("no verb is named", Some(hint), Exit::Usage);
        }
        let text = usage.to_string();
        let paragraphs: Vec<String> = text
            .split("\n\n")
            .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        let error = paragraphs.first().map(String::as_str).unwrap_or_default();
        let tip = paragraphs.iter().find_map(|text| text.strip_prefix("tip: "));
        let known = paragraphs
            .iter()
            .find_map(|text| text.strip_prefix("Usage: "))
            .map(|usage| format!("usage: {usage}"));
        Self::new(
            error.strip_prefix("error: ").unwrap_or(error),
            tip.map(str::to_owned).or(known),
            Exit::Usage,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_printed_once_and_the_hint_stands_last() {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        assert_eq!(
            Mistake::from(&Error::file("cannot read dist")(source)).text(),
            "error: cannot read dist\n  because: no such file"
        );
        assert_eq!(
            Mistake::from(&Error::refused("no\nhint: inner", "outer")).text(),
            "error: no\nhint: inner"
        );
    }

    #[test]
    fn programs_get_one_object_in_one_line() {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        assert_eq!(
            Mistake::from(&Error::file("cannot read dist")(source)).json(),
            r#"{"error":"cannot read dist: no such file","exit":1}"#
        );
        assert_eq!(
            Mistake::from(&Error::usage("two\nlines", "one")).json(),
            r#"{"error":"two\nlines","hint":"one","exit":2}"#
        );
    }
}
