//! Every script under `tests/scenarios` shows what it showed before.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test says where")]

use std::path::PathBuf;

use fleet_tests::scenario;

fn scripts() -> Vec<PathBuf> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_script_shows_what_it_showed() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let scripts = scripts();
    assert!(!scripts.is_empty());
    let mut wrong = Vec::new();
    for path in &scripts {
        let name = path.file_name().unwrap().to_string_lossy();
        let text = std::fs::read_to_string(path).unwrap();
        match scenario::run(&text) {
            Err(error) => wrong.push(format!("{name}: {error:#}")),
            Ok(played) if played == text => {}
            Ok(played) if update => std::fs::write(path, played).unwrap(),
            Ok(played) => {
                let differs = text.lines().zip(played.lines()).position(|(a, b)| a != b);
                let line = differs.unwrap_or_else(|| text.lines().count().min(played.lines().count()));
                wrong.push(format!(
                    "{name}:{}: it shows now\n{}\nUPDATE_GOLDEN=1 takes it as it is",
                    line + 1,
                    played.lines().skip(line).take(12).collect::<Vec<_>>().join("\n")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_script_that_is_wrong_says_where_and_how() {
    for (script, expected) in [
        ("flet of 3", "line 1: flet of 3: `flet` is no command"),
        (
            "fleet of 3 in zones a\nrollout v1 wave 10",
            "a rollout has no `wave`",
        ),
        (
            "fleet of 3 in zones a\nexpect rollout 1 running",
            "there is no rollout #1",
        ),
        ("settle now", "`now` is one word too many"),
        ("node n01 fails verify \"503", "a quote is not closed"),
    ] {
        let Err(error) = scenario::run(script) else {
            panic!("{script}");
        };
        let told = format!("{error:#}");
        assert!(told.contains(expected), "{told}");
    }
}
