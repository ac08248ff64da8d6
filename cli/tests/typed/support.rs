//! Runs `fleetctl` as a shell would, with nothing of this machine's settings.

use std::path::Path;
use std::process::Command;

use fleet_proto::authority::{Authority, KeyAndRequest};
use fleet_proto::identity::Who;
use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::{self, Credentials};

/// An address at which nobody listens.
pub const NOBODY: &str = "https://127.0.0.1:1";

pub fn fleetctl(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleetctl"));
    command
        .args(args)
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
        .current_dir(home);
    command
}

/// Exit code, stdout and stderr together, as one text to compare.
pub fn transcript(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let text = format!(
        "exit {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr)
    );
    assert!(!text.contains('\x1b'), "an escape code in a pipe: {text:?}");
    text
}

/// An operator's certificate that is good for so long from `issued_at` on.
pub fn identity(directory: &Path, issued_at: Timestamp, life: Span) {
    fleet_identities(directory, issued_at, life);
}

/// The same, and what the coordinator of that fleet has.
pub fn fleet_identities(directory: &Path, issued_at: Timestamp, life: Span) -> (Authority, Credentials) {
    let (certificate, key) = Authority::create("fleet.test", issued_at).unwrap();
    let authority = Authority::load("fleet.test", &certificate, &key).unwrap();
    let issue = |who: &Who| {
        let fresh = KeyAndRequest::generate().unwrap();
        let issued = authority.issue(&fresh.request_der, who, life, issued_at).unwrap();
        (issued.chain_pem, fresh.key_pem)
    };
    let (chain, operator_key) = issue(&admin());
    std::fs::create_dir_all(directory).unwrap();
    for (name, text) in [
        (tls::CERTIFICATE_FILE, &chain),
        (tls::KEY_FILE, &operator_key),
        (tls::AUTHORITY_FILE, &certificate),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
    }
    let (chain, coordinator_key) = issue(&Who::Coordinator("c1".parse().unwrap()));
    let coordinator = Credentials::from_pem(&chain, &coordinator_key, &certificate).unwrap();
    (authority, coordinator)
}

pub fn admin() -> Who {
    Who::Operator("admin".parse().unwrap())
}
