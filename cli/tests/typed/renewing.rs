//! An operator's certificate near its end.

use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::Credentials;
use serde_json::json;

use crate::coordinator::{Coordinator, Script};
use crate::support::{fleet_identities, fleetctl, transcript};
use crate::views::plan;

const LIFE: Span = Span::from_secs(3600);
/// Two thirds of its life are over.
const AGE_MS: u64 = 3_000_000;

fn use_it(renews: bool) -> (String, Credentials, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("id");
    let issued_at = Timestamp(Timestamp::now().0 - AGE_MS);
    let (authority, credentials) = fleet_identities(&directory, issued_at, LIFE);
    std::fs::write(directory.join("README"), "mine").unwrap();
    let script = Script {
        plan: plan(&json!([]), true),
        authority: renews.then_some(authority),
        ..Script::default()
    };
    let coordinator = Coordinator::start(&credentials, script);
    let mut command = fleetctl(home.path(), &["plan", "v1.2.0", "--identity", "id"]);
    command.env("FLEET_COORDINATOR", &coordinator.address);
    let text = transcript(command);
    let now_there = Credentials::read(&directory).unwrap();
    (text, now_there, home)
}

#[test]
fn it_renews_itself_in_one_step_and_leaves_nothing_behind() {
    let (text, credentials, home) = use_it(true);
    assert!(
        text.starts_with("exit 0\n") && text.ends_with("--- stderr\n"),
        "{text}"
    );
    let left = credentials.peer().unwrap().not_after.since(Timestamp::now());
    assert!(left > Span::from_secs(3000), "{left}");
    assert!(
        credentials.client_config().is_ok(),
        "the key fits the certificate"
    );
    let names: Vec<_> = home
        .path()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["id"]);
    assert_eq!(
        std::fs::read_to_string(home.path().join("id/README")).unwrap(),
        "mine"
    );
}

#[test]
fn a_renewal_that_fails_is_a_warning() {
    let (text, credentials, _home) = use_it(false);
    let warning = "warning: the operator's certificate could not be renewed: not in the script\n";
    assert!(text.starts_with("exit 0\n") && text.ends_with(warning), "{text}");
    assert!(credentials.must_be_valid_at(Timestamp::now()).is_ok());
}
