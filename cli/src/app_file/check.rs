//! `[[component.check]]`: flat, because a tagged enum would lose the line of a key that it
//! does not know.

use std::collections::BTreeMap;

use fleet_proto::ids::CheckName;
use fleet_proto::quantity::Span;
use fleet_proto::release::{Check, Probe};
use serde::Deserialize;
use toml::Spanned;

use super::Misplaced;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckSection {
    name: Spanned<CheckName>,
    #[serde(default = "one_second")]
    interval: Span,
    timeout: Option<Span>,
    kind: CheckKind,
    url: Option<String>,
    status: Option<u16>,
    json: Option<BTreeMap<String, serde_json::Value>>,
    latency_max: Option<Span>,
    address: Option<String>,
    command: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum CheckKind {
    Http,
    Tcp,
    Exec,
    Process,
}

impl CheckKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Exec => "exec",
            Self::Process => "process",
        }
    }
}

fn one_second() -> Span {
    Span::from_secs(1)
}

/// What is asked every second answers soon.
const CHECK_TIMEOUT: Span = Span::from_secs(2);
/// What is asked once may be a whole way through the app.
const SMOKE_TIMEOUT: Span = Span::from_secs(30);

impl CheckSection {
    pub(super) fn into_check(self) -> Result<Check, Misplaced> {
        self.into_check_within(CHECK_TIMEOUT)
    }

    pub(super) fn into_smoke(self) -> Result<Check, Misplaced> {
        self.into_check_within(SMOKE_TIMEOUT)
    }

    /// Every key that is there must belong to the kind, and what the kind needs must
    /// be there.
    fn into_check_within(self, timeout: Span) -> Result<Check, Misplaced> {
        let at = self.name.span().start;
        self.no_foreign_key(at)?;
        let name = self.name.into_inner();
        let kind = self.kind.word();
        let lacks = |key: &str, example: &str| {
            Misplaced::new(
                at,
                format!("check `{name}` is of kind `{kind}` and lacks the key `{key}`"),
                example,
            )
        };
        let probe = match self.kind {
            CheckKind::Http => Probe::Http {
                url: self
                    .url
                    .ok_or_else(|| lacks("url", "url = \"http://127.0.0.1:${var.port}/health\""))?,
                status: self.status.unwrap_or(200),
                json: self.json.unwrap_or_default(),
                latency_max: self.latency_max,
            },
            CheckKind::Tcp => Probe::Tcp {
                address: self
                    .address
                    .ok_or_else(|| lacks("address", "address = \"127.0.0.1:${var.port}\""))?,
            },
            CheckKind::Exec => Probe::Exec {
                command: self
                    .command
                    .ok_or_else(|| lacks("command", "command = [\"./check\"]"))?,
            },
            CheckKind::Process => Probe::Process,
        };
        Ok(Check {
            name,
            interval: self.interval,
            timeout: self.timeout.unwrap_or(timeout),
            probe,
        })
    }

    fn no_foreign_key(&self, at: usize) -> Result<(), Misplaced> {
        let owners = [
            ("url", self.url.is_some(), CheckKind::Http),
            ("status", self.status.is_some(), CheckKind::Http),
            ("json", self.json.is_some(), CheckKind::Http),
            ("latency_max", self.latency_max.is_some(), CheckKind::Http),
            ("address", self.address.is_some(), CheckKind::Tcp),
            ("command", self.command.is_some(), CheckKind::Exec),
        ];
        match owners
            .iter()
            .find(|(_, there, owner)| *there && *owner != self.kind)
        {
            None => Ok(()),
            Some((key, _, owner)) => Err(Misplaced::new(
                at,
                format!(
                    "check `{}` is of kind `{}`, which has no key `{key}`",
                    self.name.get_ref(),
                    self.kind.word()
                ),
                format!("leave it out, or write kind = \"{}\"", owner.word()),
            )),
        }
    }
}
