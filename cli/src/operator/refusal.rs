//! What a gRPC status means to an operator.

use std::error::Error as StdError;
use std::io;

use tonic::{Code, Status};

use crate::error::Error;

pub fn read(address: &str, status: &Status) -> Error {
    if let Some(cause) = status.source() {
        return transport(address, &root(cause));
    }
    let (message, hint) = match status.message().split_once("\nhint: ") {
        Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
        None => (status.message().to_owned(), None),
    };
    match status.code() {
        Code::Unavailable => Error::Unreachable {
            address: address.to_owned(),
            why: message,
        },
        Code::Unauthenticated | Code::PermissionDenied => Error::NotAllowed { message, hint },
        Code::Aborted => Error::NodeAway { message, hint },
        Code::InvalidArgument => Error::Usage { message, hint },
        Code::NotFound => Error::NotFound { message, hint },
        // The coordinator answered, and took too long to.
        Code::DeadlineExceeded => Error::refused(message, "try again, or look at `fleetctl status`"),
        _ => Error::Refused { message, hint },
    }
}

/// The innermost cause says it in the fewest words.
fn root(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    let mut words = None;
    loop {
        if let Some(io) = innermost.downcast_ref::<io::Error>() {
            words = match io.kind() {
                io::ErrorKind::ConnectionRefused => Some("connection refused"),
                io::ErrorKind::ConnectionReset => Some("connection reset"),
                io::ErrorKind::BrokenPipe => Some("the connection broke"),
                io::ErrorKind::UnexpectedEof => Some("the connection ended"),
                _ => words,
            };
        }
        match innermost.source() {
            Some(cause) => innermost = cause,
            None => break,
        }
    }
    let text = innermost.to_string();
    match words {
        Some(words) => words.to_owned(),
        // How TLS says that the other side was killed.
        None if text.contains("close_notify") => "the connection ended".to_owned(),
        None => text,
    }
}

/// TLS says no in alerts; a connection that broke says nothing of the kind.
fn transport(address: &str, cause: &str) -> Error {
    if let Some((_, alert)) = cause.split_once("received fatal alert: ") {
        return Error::NotAllowed {
            message: format!("the coordinator at {address} does not accept this certificate ({alert})"),
            hint: Some(
                "has it been revoked, or is it another fleet's? --identity DIR names another one".to_owned(),
            ),
        };
    }
    if cause.contains("invalid peer certificate") || cause.contains("expected a coordinator") {
        return Error::NotAllowed {
            message: format!("{address} is not a coordinator of this fleet: {cause}"),
            hint: Some("do --coordinator and --identity belong to the same fleet?".to_owned()),
        };
    }
    Error::Unreachable {
        address: address.to_owned(),
        why: cause.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn codes_become_exits() {
        for (code, exit) in [
            (Code::Unavailable, Exit::Unreachable),
            (Code::Unauthenticated, Exit::Unreachable),
            (Code::PermissionDenied, Exit::Unreachable),
            (Code::Aborted, Exit::Unreachable),
            (Code::InvalidArgument, Exit::Usage),
            (Code::NotFound, Exit::Failed),
            (Code::FailedPrecondition, Exit::Failed),
            (Code::Internal, Exit::Failed),
        ] {
            assert_eq!(
                read("https://c:1", &Status::new(code, "no")).exit(),
                exit,
                "{code:?}"
            );
        }
    }

    #[test]
    fn a_status_may_bring_its_hint() {
        let error = read(
            "https://c:1",
            &Status::not_found("no release v9\nhint: fleetctl release list"),
        );
        assert_eq!(error.to_string(), "no release v9");
        assert_eq!(error.hint().as_deref(), Some("fleetctl release list"));
    }
}
