//! An error, once, at the edge: what, why, and what to do.

use std::error::Error as _;
use std::fmt::Write;

use crate::error::Error;

/// An error in its parts.
struct Told {
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

/// `{"error": "…", "hint": "…", "exit": 1}`, in one line.
pub fn json(error: &Error) -> String {
    let told = told(error);
    let text = [vec![told.message], told.causes].concat().join(": ");
    let mut object = serde_json::json!({ "error": text, "exit": error.exit().code() });
    if let Some(hint) = told.hint {
        object["hint"] = hint.into();
    }
    object.to_string()
}

pub fn error(error: &Error) -> String {
    let told = told(error);
    let mut text = format!("error: {}", told.message);
    for cause in told.causes {
        let _infallible = write!(text, "\n  because: {cause}");
    }
    if let Some(hint) = told.hint {
        let _infallible = write!(text, "\nhint: {hint}");
    }
    text
}

fn told(error: &Error) -> Told {
    let mut message = error.to_string();
    let mut hint = error.hint();
    // Messages from elsewhere may bring their hint along.
    if let Some((before, inner)) = message.split_once("\nhint: ") {
        hint = Some(inner.to_owned());
        message = before.to_owned();
    }
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push(inner.to_string());
        cause = inner.source();
    }
    Told {
        message,
        causes,
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_printed_once_and_the_hint_stands_last() {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        assert_eq!(
            super::error(&Error::file("cannot read dist")(source)),
            "error: cannot read dist\n  because: no such file"
        );
        assert_eq!(
            super::error(&Error::refused("no\nhint: inner", "outer")),
            "error: no\nhint: inner"
        );
        assert_eq!(
            json(&Error::refused("no", "yes")),
            r#"{"error":"no","exit":1,"hint":"yes"}"#
        );
    }
}
