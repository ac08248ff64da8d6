//! What people get wrong: each with its own message, its exit code, and a way out.

use crate::support::{NOBODY, fleetctl, identity, transcript};
use fleet_proto::quantity::Span;
use fleet_proto::time::Timestamp;

fn check(args: &[&str], expected: &str) {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(transcript(fleetctl(home.path(), args)), expected, "{args:?}");
}

/// Found before anything is sent, so none of these needs a coordinator.
#[test]
fn waves_that_make_no_sense() {
    for (waves, why) in [
        (
            "5n,3n",
            "waves are cumulative and must increase: `3n` follows `5n`; write them as 10,50,100",
        ),
        ("0", "a wave of `0` reaches nobody; the smallest are 1% and 1n"),
        (
            "101",
            "a wave of `101` is more than everybody; the largest is 100%",
        ),
        (
            "10,10",
            "waves are cumulative and must increase: `10%` follows `10%`; write them as 10,50,100",
        ),
        (
            "50,10",
            "waves are cumulative and must increase: `10%` follows `50%`; write them as 10,50,100",
        ),
        ("", "the list of waves is empty; write it as 10,50,100"),
        (
            "-5",
            "`-5` is not a wave; write a percentage (10 or 10%) or a number of nodes (1n)",
        ),
        (
            "ten",
            "`ten` is not a wave; write a percentage (10 or 10%) or a number of nodes (1n)",
        ),
    ] {
        for verb in ["rollout", "plan"] {
            check(
                &[verb, "v1.0.0", "--waves", waves],
                &format!(
                    "exit 2\n--- stdout\n--- stderr\nerror: invalid value '{waves}' for '--waves <LIST>': {why}\n\n\
                     For more information, try '--help'.\n"
                ),
            );
        }
    }
}

#[test]
fn a_flag_that_is_not_one() {
    check(
        &["rollout", "v1.0.0", "--wave", "10"],
        "exit 2\n--- stdout\n--- stderr\nerror: unexpected argument '--wave' found\n\n  \
         tip: a similar argument exists: '--waves'\n\n\
         Usage: fleetctl rollout --waves <LIST> <VERSION>\n\nFor more information, try '--help'.\n",
    );
}

#[test]
fn quantities_and_names_that_are_none() {
    for (args, why) in [
        (
            &["rollout", "v1", "--bake", "5"][..],
            "`5` is not a duration; write it as 500ms, 30s, 5m, 1h30m or 7d",
        ),
        (
            &["rollout", "v1", "--max-failures", "101%"],
            "`101%` is not an amount; write a count such as 3, or a share such as 25%",
        ),
        (
            &["rollout", "v1", "--on-failure", "panic"],
            "`panic` is neither rollback nor pause",
        ),
        (&["rollout", "v/1"], "`v/1` is not a version"),
        (
            &["abort", "all"],
            "`all` is not a rollout's number; type it as 42",
        ),
        (&["node", "show", "N1"], "node `N1` is not a name"),
    ] {
        let home = tempfile::tempdir().unwrap();
        let text = transcript(fleetctl(home.path(), args));
        assert!(text.starts_with("exit 2\n") && text.contains(why), "{text}");
    }
}

#[test]
fn no_coordinator_is_named() {
    check(
        &["status"],
        "exit 2\n--- stdout\n--- stderr\nerror: which coordinator? none is named\n\
         hint: `fleetctl dev` starts a fleet on this machine; otherwise give --coordinator https://host:7443, \
         set FLEET_COORDINATOR, or write `coordinator = \"https://host:7443\"` to ~/.config/fleet/config.toml\n",
    );
}

#[test]
fn the_coordinator_is_down() {
    let home = tempfile::tempdir().unwrap();
    identity(&home.path().join("id"), Timestamp::now(), Span::from_secs(3600));
    for args in [
        &["status"][..],
        &["rollout", "v1.0.0"],
        &["abort", "1"],
        &["events", "--follow"],
    ] {
        let mut command = fleetctl(home.path(), args);
        command
            .env("FLEET_COORDINATOR", NOBODY)
            .env("FLEET_IDENTITY", "id");
        assert_eq!(
            transcript(command),
            "exit 3\n--- stdout\n--- stderr\n\
             error: cannot reach the coordinator at https://127.0.0.1:1: connection refused\n\
             hint: is it running? `fleet-coordinator run --config /etc/fleet/coordinator.toml` starts it; \
             --coordinator https://host:7443 names another one\n"
        );
    }
}

#[test]
fn the_certificate_has_expired() {
    let home = tempfile::tempdir().unwrap();
    identity(
        &home.path().join("id"),
        Timestamp(1_770_897_600_000),
        Span::from_secs(3600),
    );
    let mut command = fleetctl(home.path(), &["status", "--identity", "id"]);
    command.env("FLEET_COORDINATOR", NOBODY);
    let text = transcript(command);
    assert!(
        text.starts_with(
            "exit 3\n--- stdout\n--- stderr\nerror: cannot use the operator's certificate in id\n  \
             because: the certificate of operator/admin expired at 2026-02-12T13:00:00.000Z\nhint: "
        ),
        "{text}"
    );
}

#[test]
fn a_malformed_fleet_toml_names_the_line_and_what_was_meant() {
    let home = tempfile::tempdir().unwrap();
    let text = "[app]\nname = \"shop\"\n\n[[component]]\nname = \"web\"\npth = \"dist\"\n";
    std::fs::write(home.path().join("fleet.toml"), text).unwrap();
    assert_eq!(
        transcript(fleetctl(
            home.path(),
            &["release", "push", "v1.0.0", "--file", "fleet.toml"]
        )),
        "exit 2\n--- stdout\n--- stderr\nerror: fleet.toml:6:1: unknown key `pth`\nhint: did you mean `path`?\n"
    );
}

#[test]
fn a_malformed_config_toml_names_the_line_too() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join(".config/fleet");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("config.toml"), "\ncoordinater = \"https://c\"\n").unwrap();
    let text = transcript(fleetctl(home.path(), &["status"]));
    assert!(
        text.contains("config.toml:2:1: unknown key `coordinater`\nhint: did you mean `coordinator`?"),
        "{text}"
    );
}

#[test]
fn a_release_without_a_key_or_a_file() {
    check(
        &["release", "push", "v1.0.0"],
        "exit 2\n--- stdout\n--- stderr\nerror: there is no fleet.toml\n\
         hint: `fleetctl init` writes one; --file FILE names another\n",
    );
    let home = tempfile::tempdir().unwrap();
    assert!(transcript(fleetctl(home.path(), &["init", "--app", "shop"])).starts_with("exit 0\n"));
    assert_eq!(
        transcript(fleetctl(home.path(), &["release", "push", "v1.0.0"])),
        "exit 2\n--- stdout\n--- stderr\nerror: which release key signs it? none is named\n\
         hint: give --key FILE or set FLEET_RELEASE_KEY; `fleetctl key new release.key` makes one\n"
    );
}

/// As of a variable of a script that is not set.
#[test]
fn an_empty_selector_is_not_everybody() {
    for option in ["--select", "--canary"] {
        let home = tempfile::tempdir().unwrap();
        let text = transcript(fleetctl(home.path(), &["rollout", "v1.0.0", option, ""]));
        assert!(text.starts_with("exit 2\n"), "{text}");
        assert!(text.contains("an empty selector names no node"), "{text}");
    }
}

/// One object, in one line, on stderr.
#[test]
fn errors_for_programs() {
    for (args, expected) in [
        (
            &["status", "--output", "json"][..],
            serde_json::json!({ "error": "which coordinator? none is named", "exit": 2,
                "hint": "`fleetctl dev` starts a fleet on this machine; otherwise give --coordinator \
                https://host:7443, set FLEET_COORDINATOR, or write `coordinator = \"https://host:7443\"` to \
                ~/.config/fleet/config.toml" }),
        ),
        (
            &["--output=json", "rollout", "v1.0.0", "--wave", "10"],
            serde_json::json!({ "error": "unexpected argument '--wave' found", "exit": 2,
                "hint": "a similar argument exists: '--waves'" }),
        ),
        (
            &["rollout", "--output", "json"],
            serde_json::json!({ "error": "the following required arguments were not provided: <VERSION>",
                "exit": 2, "hint": "usage: fleetctl rollout --output <FORMAT> <VERSION>" }),
        ),
        (
            &["rollout", "v1", "--waves", "50,10", "--output", "json"],
            serde_json::json!({ "error": "invalid value '50,10' for '--waves <LIST>': waves are cumulative and \
                must increase: `10%` follows `50%`; write them as 10,50,100", "exit": 2 }),
        ),
        (
            &["--output", "json"],
            serde_json::json!({ "error": "no verb is named", "exit": 2,
                "hint": "`fleetctl --help` lists the verbs" }),
        ),
        (
            &["man", "/dev/null/here", "--output", "json"],
            serde_json::json!({ "error": "cannot write man pages to /dev/null/here: Not a directory (os error 20)",
                "exit": 1 }),
        ),
    ] {
        let home = tempfile::tempdir().unwrap();
        let text = transcript(fleetctl(home.path(), args));
        let (head, stderr) = text.split_once("--- stderr\n").unwrap();
        assert_eq!(head, format!("exit {}\n--- stdout\n", expected["exit"]), "{text}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        let told: serde_json::Value = serde_json::from_str(stderr).unwrap();
        assert_eq!(told, expected, "{args:?}");
    }
}

/// Said before anything is made or started.
#[test]
fn directories_that_cannot_hold_a_development_fleet() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("file"), "").unwrap();
    for args in [
        &["dev", "--dir", "file"][..],
        &["dev", "--dir", "file/fleet"],
        &["dev", "--stop", "--dir", "file"],
        &["dev", "--stop", "--dir", "file/fleet"],
    ] {
        let text = transcript(fleetctl(home.path(), args));
        assert!(
            text.starts_with("exit 2\n")
                && text.contains("is not a directory")
                && text.contains("\nhint: name a"),
            "{args:?}: {text}"
        );
    }
    // Not there, or empty: nothing runs in it. Something else's: not ours to end.
    std::fs::create_dir(home.path().join("empty")).unwrap();
    for directory in ["nowhere", "empty"] {
        let text = transcript(fleetctl(home.path(), &["dev", "--stop", "--dir", directory]));
        assert!(text.starts_with("exit 0\n--- stdout\nnothing runs in "), "{text}");
    }
    let text = transcript(fleetctl(home.path(), &["dev", "--stop", "--dir", "."]));
    assert!(text.contains("holds something else"), "{text}");
}
