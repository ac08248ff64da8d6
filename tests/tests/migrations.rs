//! Migrations on real agents. The database is a directory: each command writes a line of
//! what it did, and says how it stands by what is there.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::path::{Path, PathBuf};

use fleet_proto::view::BackupView;
use fleet_tests::fleet::{Ended, Fleet, PATIENCE};
use fleet_tests::hosts::pieces::{Piece, push};
use fleet_tests::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Bench {
    fleet: Fleet,
    database: PathBuf,
}

impl Bench {
    fn new(nodes: usize) -> Self {
        let fleet = Fleet::start(nodes).unwrap();
        let database = fleet.root().join("database");
        std::fs::create_dir(&database).unwrap();
        let bench = Self { fleet, database };
        bench.push("v1.0.0", "");
        bench.ends(&["rollout", "v1.0.0"], 0);
        bench
    }

    fn push(&self, version: &str, migrations: &str) {
        let run = format!(
            "kind = \"supervise\"\ncommand = [\"sleep\", \"1000\"]\nenv = {{ DB = \"{}\", RELEASE = \"{version}\" }}\n{migrations}",
            self.database.display()
        );
        let piece = Piece::new("web", run).with("version", version);
        push(&self.fleet, version, "30s", &[piece]).unwrap();
    }

    /// A command that notes that it was run, and then does what is said.
    fn does(name: &str, script: &str) -> String {
        // A dollar sign is the shell's, and `${…}` is filled in by the agent.
        let script = script.replace('$', "$$");
        format!("{name} = [\"sh\", \"-c\", \"echo {name} $$RELEASE ${{node}} >>$$DB/log; {script}\"]\n")
    }

    fn ends(&self, arguments: &[&str], code: i32) -> String {
        let Ended {
            stdout,
            stderr,
            code: found,
        } = self.fleet.ctl(arguments).unwrap();
        let said = format!("{stdout}{stderr}");
        assert_eq!(found, code, "{arguments:?}: {said}");
        said
    }

    /// What was run, in order, without who did it.
    fn log(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.database.join("log")).unwrap_or_default();
        let what = |line: &str| line.split(" v").next().unwrap_or_default().to_owned();
        log.lines().map(what).collect()
    }

    fn is_applied(&self) -> bool {
        self.database.join("applied").exists()
    }

    /// The node that did it.
    fn migrator(&self) -> String {
        let log = std::fs::read_to_string(self.database.join("log")).unwrap();
        let up = log.lines().find(|line| line.starts_with("up ")).unwrap();
        up.rsplit(' ').next().unwrap().to_owned()
    }

    fn backups(&self, node: &str) -> Vec<PathBuf> {
        let state = &self.fleet.node(node).unwrap().state;
        let entries = std::fs::read_dir(state.join("apps/shop/backups"));
        let mut all: Vec<PathBuf> = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect();
        all.sort();
        all
    }
}

const STATUS: &str = "test -e $DB/applied";
const UP: &str = "touch $DB/applied";
const DOWN: &str = "rm $DB/applied";

fn whole() -> String {
    let backup = "\n[migrations.backup]\nkeep = 2\nupload = true\ncommand = [\"sh\", \"-c\", \"echo backup v >>$$DB/log; ls $$DB >${backup}\"]\n";
    let acts = [
        Bench::does("status", STATUS),
        Bench::does("up", UP),
        Bench::does("verify", STATUS),
        Bench::does("down", DOWN),
        Bench::does("contract", "true"),
    ];
    format!("[migrations]\n{}{backup}", acts.concat())
}

#[test]
fn it_is_prepared_done_verified_contracted_and_taken_back_once_each() {
    let bench = Bench::new(3);
    bench.push("v1.1.0", &whole());
    bench.ends(&["rollout", "v1.1.0", "--waves", "34,100"], 0);
    assert_eq!(bench.log(), ["status", "backup", "up", "verify", "contract"]);
    let node = bench.migrator();
    let backups = bench.backups(&node);
    assert_eq!(backups.len(), 1);
    assert_eq!(std::fs::read_to_string(&backups[0]).unwrap(), "log\n");
    assert!(backups[0].to_string_lossy().ends_with("-v1.1.0"));

    // The coordinator keeps it too.
    let listed = bench.ends(&["backups", "--app", "shop", "--output", "json"], 0);
    let listed: Vec<BackupView> = serde_json::from_str(&listed).unwrap();
    assert_eq!((listed.len(), listed[0].rollout.0, listed[0].bytes), (1, 2, 4));
    assert_eq!(listed[0].node.as_str(), node);
    let to = bench.fleet.root().join("fetched").display().to_string();
    bench.ends(&["backups", "fetch", "2", "--to", &to], 0);
    assert_eq!(std::fs::read_to_string(&to).unwrap(), "log\n");
    let said = bench.ends(&["backups", "fetch", "2", "--to", &to], 2);
    assert!(said.contains("--to names a new file"), "{said}");
    let said = bench.ends(&["backups", "fetch", "1", "--to", &format!("{to}2")], 1);
    assert!(
        said.contains("no backup is kept of the migration of rollout #1"),
        "{said}"
    );
    assert!(!std::path::Path::new(&format!("{to}2")).exists());

    // A release whose migration was contracted is not left behind unasked; a new one that
    // finds its migration applied does nothing.
    bench.push("v1.2.0", &whole());
    bench.ends(&["rollout", "v1.2.0"], 0);
    assert_eq!(bench.log()[5..], ["status", "contract"]);
}

#[test]
fn a_rollback_takes_it_back_when_nobody_runs_on_it() {
    let bench = Bench::new(2);
    let section = whole().replace("contract = ", "# contract = ");
    bench.push("v1.1.0", &section);
    bench.ends(&["rollout", "v1.1.0"], 0);
    assert!(bench.is_applied());
    bench.ends(&["rollback"], 0);
    assert_eq!(bench.log(), ["status", "backup", "up", "verify", "down"]);
    assert!(!bench.is_applied());
}

#[test]
fn one_that_fails_or_does_not_verify_moves_nobody() {
    let bench = Bench::new(2);
    let failing = whole().replace(
        &Bench::does("up", UP),
        &Bench::does("up", "echo no such table >&2; echo '  see the manual'; exit 3"),
    );
    bench.push("v1.1.0", &failing);
    let said = bench.ends(&["rollout", "v1.1.0"], 1);
    assert!(said.contains("up exited with code 3: see the manual"), "{said}");
    assert!(
        said.contains("    | no such table\n    |   see the manual"),
        "{said}"
    );
    assert_eq!(bench.log(), ["status", "backup", "up"]);

    let unsound = whole().replace(&Bench::does("verify", STATUS), &Bench::does("verify", "exit 1"));
    bench.push("v1.2.0", &unsound);
    let said = bench.ends(&["rollout", "v1.2.0"], 1);
    assert!(
        said.contains("verify exited with code 1; `down` took it back"),
        "{said}"
    );
    assert_eq!(bench.log()[3..], ["status", "backup", "up", "verify", "down"]);
    assert!(!bench.is_applied());
    let status = bench.fleet.status().unwrap();
    let text = serde_json::to_string(&status.nodes).unwrap();
    assert!(!text.contains("v1.2.0") && !text.contains("v1.1.0"), "{text}");
}

#[test]
fn without_a_backup_nothing_is_changed() {
    let bench = Bench::new(1);
    for (version, command, why) in [
        ("v1.1.0", "exit 4", "backup exited with code 4"),
        ("v1.2.0", "true", "there is nothing in ${backup}"),
    ] {
        let section = whole().replace("ls $$DB >${backup}", command);
        bench.push(version, &section);
        let rollout = bench.fleet.ctl(&["rollout", version]).unwrap();
        assert_eq!(rollout.code, 1);
        let said = format!("{}{}", rollout.stdout, rollout.stderr);
        assert!(said.contains(why), "{said}");
        assert!(!bench.log().contains(&"up".to_owned()), "{:?}", bench.log());
        let _it_may_have_ended = bench.fleet.ctl(&["abort"]).unwrap();
    }
    assert_eq!(bench.backups("n01"), Vec::<PathBuf>::new());
}

fn pids_of(marker: &Path) -> Option<String> {
    let found = std::process::Command::new("pgrep")
        .arg("--full")
        .arg(marker)
        .output()
        .unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    (!text.trim().is_empty()).then_some(text)
}

fn kill_all(pids: &str) {
    for pid in pids.lines() {
        let pid = Pid::from_raw(pid.parse().unwrap());
        kill(pid, Signal::SIGKILL).unwrap();
    }
}

/// It has processes of its own, one of which has left its group.
fn slow(bench: &Bench) -> (String, PathBuf) {
    let marker = bench.database.join("slow");
    let script = format!(
        "setsid tail -F {0} >/dev/null 2>&1 & touch {0}; while [ -e {0} ]; do sleep 0.05; done; touch $DB/applied; echo done >>$DB/log",
        marker.display()
    );
    let section = whole().replace(&Bench::does("up", UP), &Bench::does("up", &script));
    (section, marker)
}

#[test]
fn one_that_hangs_is_ended_with_all_it_has_and_its_status_says_how_it_stands() {
    let bench = Bench::new(1);
    let (section, marker) = slow(&bench);
    let section = section.replacen("[migrations]\n", "[migrations]\ntimeout = \"2s\"\n", 1);
    bench.push("v1.1.0", &section);
    let said = bench.ends(&["rollout", "v1.1.0"], 1);
    let why = "up did not end within 2s and was ended; its status says that it is not applied";
    assert!(said.contains(why), "{said}");
    assert_eq!(pids_of(&marker), None);
    assert_eq!(bench.log(), ["status", "backup", "up", "status"]);
}

#[test]
fn an_agent_that_is_killed_meanwhile_finds_its_end_and_does_nothing_twice() {
    let mut bench = Bench::new(1);
    let (section, marker) = slow(&bench);
    bench.push("v1.1.0", &section);
    let rollout = bench.fleet.ctl_beside(&["rollout", "v1.1.0"]).unwrap();
    wait_for("up to be at it", PATIENCE, || marker.exists().then_some(())).unwrap();
    bench.fleet.kill_agent("n01").unwrap();
    bench.fleet.start_agent("n01").unwrap();
    bench.fleet.wait_until_connected().unwrap();
    std::fs::remove_file(&marker).unwrap();
    let rollout = rollout.wait_with_output().unwrap();
    assert_eq!(rollout.status.code(), Some(0));
    assert_eq!(
        bench.log(),
        ["status", "backup", "up", "done", "verify", "contract"]
    );

    // With nobody left to say how it ended, its status is asked.
    std::fs::remove_file(bench.database.join("applied")).unwrap();
    let (section, marker) = slow(&bench);
    let section = section.replacen("[migrations]\n", "[migrations]\ntimeout = \"5s\"\n", 1);
    bench.push("v1.2.0", &section);
    let rollout = bench.fleet.ctl_beside(&["rollout", "v1.2.0"]).unwrap();
    wait_for("up to be at it", PATIENCE, || marker.exists().then_some(())).unwrap();
    bench.fleet.kill_agent("n01").unwrap();
    let errand = pids_of(
        &bench
            .fleet
            .node("n01")
            .unwrap()
            .state
            .join("apps/shop/migration/up"),
    )
    .unwrap();
    kill_all(&errand);
    std::fs::remove_file(&marker).unwrap();
    wait_for("what it left to end", PATIENCE, || {
        bench.is_applied().then_some(())
    })
    .unwrap();
    bench.fleet.start_agent("n01").unwrap();
    let rollout = rollout.wait_with_output().unwrap();
    assert_eq!(rollout.status.code(), Some(0));
    let said = ["status", "backup", "up", "done", "status", "verify", "contract"];
    assert_eq!(bench.log()[6..], said);
}

#[test]
fn a_keeper_that_dies_meanwhile_begins_nothing_again() {
    let bench = Bench::new(1);
    let (section, marker) = slow(&bench);
    bench.push("v1.1.0", &section);
    let rollout = bench.fleet.ctl_beside(&["rollout", "v1.1.0"]).unwrap();
    wait_for("up to be at it", PATIENCE, || marker.exists().then_some(())).unwrap();
    let run = bench.fleet.node("n01").unwrap().state.join("apps/shop/run/web");
    let keeper = pids_of(&run).unwrap();
    kill_all(&keeper);
    wait_for("another keeper", PATIENCE, || {
        pids_of(&run).filter(|pids| *pids != keeper)
    })
    .unwrap();
    std::fs::remove_file(&marker).unwrap();
    let rollout = rollout.wait_with_output().unwrap();
    assert_eq!(rollout.status.code(), Some(0));
    assert_eq!(
        bench.log(),
        ["status", "backup", "up", "done", "verify", "contract"]
    );
}

/// What is to mend the app cannot wait for the app.
#[test]
fn where_the_app_cannot_run_the_next_release_is_migrated_all_the_same() {
    let mut bench = Bench::new(1);
    bench.fleet.kill_agent("n01").unwrap();
    let stopped = bench.fleet.agent("n01", &["stop"]).unwrap();
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    let app = bench.fleet.node("n01").unwrap().state.join("apps/shop");
    let file = app.join("current/files/web/version");
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "another").unwrap();
    bench.fleet.start_agent("n01").unwrap();
    wait_for("the agent to see it", PATIENCE, || {
        let log = bench.fleet.log("n01");
        log.contains("are not as they were laid out").then_some(())
    })
    .unwrap();
    bench.push("v1.1.0", &whole());
    bench.ends(&["rollout", "v1.1.0"], 0);
    assert_eq!(bench.log(), ["status", "backup", "up", "verify", "contract"]);
}
