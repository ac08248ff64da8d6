//! Verbs that need no coordinator.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;

use crate::support::{fleetctl, transcript};

#[test]
fn init_does_not_overwrite() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("package.json"), "{}").unwrap();
    assert_eq!(
        transcript(fleetctl(home.path(), &["init", "--app", "shop"])),
        "exit 0\n--- stdout\n./fleet.toml\n--- stderr\n\
         found a Node.js app (package.json); read the file, then: fleetctl release push v1.0.0\n"
    );
    assert_eq!(
        transcript(fleetctl(home.path(), &["init"])),
        "exit 1\n--- stdout\n--- stderr\nerror: ./fleet.toml exists, and is not overwritten\n\
         hint: edit it, or move it away: mv './fleet.toml' './fleet.toml.old'\n"
    );
}

#[test]
fn a_new_key_is_private_and_never_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let made = transcript(fleetctl(home.path(), &["key", "new", "release.key"]));
    assert!(
        made.starts_with("exit 0\n--- stdout\nfleet-release-key:"),
        "{made}"
    );
    let mode = home
        .path()
        .join("release.key")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = transcript(fleetctl(home.path(), &["key", "new", "release.key"]));
    assert!(
        again.starts_with("exit 1\n") && again.contains("never overwritten"),
        "{again}"
    );
    let listed = transcript(fleetctl(home.path(), &["key", "list", ".", "--output", "json"]));
    assert!(listed.contains("\"file\":\"./release.key.pub\""), "{listed}");
}

#[test]
fn completions_and_man_pages() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let text = transcript(fleetctl(home.path(), &["completions", shell]));
        assert!(
            text.starts_with("exit 0\n") && text.contains("rollout"),
            "{shell}"
        );
    }
    let text = transcript(fleetctl(home.path(), &["man", "pages"]));
    assert!(text.starts_with("exit 0\n"), "{text}");
    assert!(home.path().join("pages/fleetctl-rollout.1").exists());
    assert!(home.path().join("pages/fleetctl-release-push.1").exists());
}

#[test]
fn help_goes_to_stdout_and_ends_well() {
    let home = tempfile::tempdir().unwrap();
    let text = transcript(fleetctl(home.path(), &["rollout", "--help"]));
    assert!(
        text.starts_with("exit 0\n--- stdout\nRoll a release out"),
        "{text}"
    );
    assert!(
        text.contains("fleetctl rollout v1.0.0 --waves 10,50,100"),
        "{text}"
    );
}

/// What was asked for and did not arrive is not done, whatever the verb did before.
#[test]
fn data_that_cannot_be_written_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    for args in [
        &["key", "list", "."][..],
        &["key", "list", ".", "--output", "json"],
        &["completions", "bash"],
        &["init"],
        &["rollout", "--help"],
        &["--version"],
    ] {
        let mut command = fleetctl(home.path(), args);
        command.stdout(File::options().write(true).open("/dev/full").unwrap());
        let text = transcript(command);
        assert!(
            text.starts_with("exit 1\n")
                && text.contains("cannot write to stdout")
                && text.contains("No space left"),
            "{args:?}: {text}"
        );
    }
    let mut command = fleetctl(home.path(), &["key", "list", "."]);
    command.stdout(File::open("/dev/null").unwrap());
    let text = transcript(command);
    assert!(
        text.contains("because: Bad file descriptor"),
        "a handle that is only for reading: {text}"
    );
}

#[test]
fn a_reader_that_went_away_is_none() {
    let home = tempfile::tempdir().unwrap();
    for args in [
        &["key", "list", "."][..],
        &["completions", "bash"],
        &["rollout", "--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = fleetctl(home.path(), args);
        command.stdout(writer);
        assert_eq!(
            transcript(command),
            "exit 0\n--- stdout\n--- stderr\n",
            "{args:?}"
        );
    }
}
