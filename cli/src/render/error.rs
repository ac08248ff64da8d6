//! An error, once, at the edge: what, why, and what to do.

use std::error::Error as _;
use std::fmt::Write;

use crate::error::Error;

pub fn error(error: &Error) -> String {
    let mut message = error.to_string();
    let mut hint = error.hint();
    // Messages from elsewhere may bring their hint along.
    if let Some((before, inner)) = message.split_once("\nhint: ") {
        hint = Some(inner.to_owned());
        message = before.to_owned();
    }
    let mut text = format!("error: {message}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _infallible = write!(text, "\n  because: {inner}");
        cause = inner.source();
    }
    if let Some(hint) = hint {
        let _infallible = write!(text, "\nhint: {hint}");
    }
    text
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
    }
}
