//! What a unit wrote, from the journal: of its newest start alone.

use std::process::{Command, Stdio};

use crate::process::log::harmless;

/// The unit's own lines, and what systemd says of its start, as of a program that is not
/// there. None there is no error: there is nothing to show.
pub fn tail(invocation: &str, user: Option<u32>, lines: usize) -> Vec<String> {
    if invocation.is_empty() {
        return Vec::new();
    }
    let field = |name: &str| format!("{name}={invocation}");
    let by_systemd = match user {
        None => field("INVOCATION_ID"),
        Some(_) => field("USER_INVOCATION_ID"),
    };
    let said = Command::new("journalctl")
        .args(["--quiet", "--no-pager", "--output=cat", "--all"])
        .arg(format!("--lines={lines}"))
        .args([&field("_SYSTEMD_INVOCATION_ID"), "+", &by_systemd])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(said) = said else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&said.stdout);
    text.lines().map(harmless).collect()
}
