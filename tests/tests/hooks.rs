//! Hooks on real agents: each, and the process itself, writes a line of what it did.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use fleet_tests::fleet::{Ended, Fleet, PATIENCE};
use fleet_tests::hosts::can_boot;
use fleet_tests::hosts::fleet::{HostFleet, agent_log};
use fleet_tests::hosts::pieces::{Piece, push, service};
use fleet_tests::wait::wait_for;

const NODE: &str = "n01";

/// Says when it starts and when it is told to stop.
const PROCESS: &str = "echo start ${version} >>$LOG; trap 'echo stop ${version} >>$LOG; exit 0' TERM; \
                       while :; do sleep 0.05; done";
/// Comes after the process, which needs a moment to say anything.
const POST_START: &str = "until grep -q \"start ${version}\" $LOG; do sleep 0.05; done; ";

struct Bench {
    fleet: Fleet,
    log: PathBuf,
    seen: usize,
}

/// A hook of the component: its name, what it does besides saying so, its time limit.
type Hook = (&'static str, &'static str, &'static str);

const GOOD: [Hook; 4] = [
    ("drain", "true", "30s"),
    ("pre_stop", "true", "30s"),
    ("post_start", "true", "30s"),
    ("undrain", "true", "30s"),
];

fn with(changed: &[Hook]) -> Vec<Hook> {
    let mut hooks = GOOD.to_vec();
    for hook in &mut hooks {
        if let Some(other) = changed.iter().find(|other| other.0 == hook.0) {
            *hook = *other;
        }
    }
    hooks
}

impl Bench {
    /// The first release is there, and what it ran is past.
    fn new(hooks: &[Hook]) -> Self {
        let fleet = Fleet::start(1).unwrap();
        let mut bench = Self {
            log: fleet.root().join("log"),
            fleet,
            seen: 0,
        };
        bench.push("v1.0.0", hooks);
        bench.ends(&["rollout", "v1.0.0"], 0);
        bench.says(&["start v1.0.0", "post_start v1.0.0", "undrain v1.0.0"]);
        bench
    }

    /// Beside it lies a component that no release changes, with hooks that nobody may run.
    fn push(&self, version: &str, hooks: &[Hook]) {
        let web = self.piece("web", PROCESS, hooks).with("version", version);
        // A dollar sign that is the shell's, in a component that is the same in each release.
        let db = self.piece("db", "exec sleep 1000", &[]);
        let named = "[component.hooks]\ndrain = { command = [\"sh\", \"-c\", \"echo drain of db >>$$LOG\"] }\n\
            pre_stop = { command = [\"sh\", \"-c\", \"echo pre_stop of db >>$$LOG\"] }\n";
        let db = Piece {
            run: format!("{}{named}", db.run),
            ..db
        };
        push(&self.fleet, version, "30s", &[db, web]).unwrap();
    }

    fn piece(&self, name: &'static str, process: &str, hooks: &[Hook]) -> Piece {
        // `${…}` is filled in by the agent; any other dollar sign is the shell's.
        let quoted = |script: &str| {
            let script = script.replace('$', "$$").replace("$${", "${");
            format!("[\"sh\", \"-c\", {}]", toml_string(&script))
        };
        let mut run = format!(
            "kind = \"supervise\"\ncommand = {}\nenv = {{ LOG = \"{}\", DIR = \"{}\" }}\n",
            quoted(process),
            self.log.display(),
            self.fleet.root().display(),
        );
        if !hooks.is_empty() {
            run.push_str("[component.hooks]\n");
        }
        for (hook, script, timeout) in hooks {
            let first = if *hook == "post_start" { POST_START } else { "" };
            let script = format!("{first}echo {hook} ${{version}} >>$LOG; {script}");
            run.push_str(&format!(
                "{hook} = {{ command = {}, timeout = \"{timeout}\" }}\n",
                quoted(&script)
            ));
        }
        Piece::new(name, run).with("name", name)
    }

    fn ends(&self, arguments: &[&str], code: i32) -> String {
        let Ended {
            stdout,
            stderr,
            code: found,
        } = self.fleet.ctl(arguments).unwrap();
        let said = format!("{stdout}{stderr}");
        assert_eq!(found, code, "{arguments:?}: {said}\n{}", self.fleet.log(NODE));
        said
    }

    fn lines(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().skip(self.seen).map(str::to_owned).collect()
    }

    /// All that was said since the last time, in this order.
    fn says(&mut self, expected: &[&str]) {
        let _fewer = wait_for("so many lines", PATIENCE, || {
            (self.lines().len() >= expected.len()).then_some(())
        });
        let lines = self.lines();
        assert_eq!(lines, expected, "{}", self.fleet.log(NODE));
        self.seen += lines.len();
    }

    fn says_at_last(&self, line: &str) {
        wait_for(line, PATIENCE, || {
            (self.lines().last().map(String::as_str) == Some(line)).then_some(())
        })
        .unwrap();
    }

    fn pid(&self) -> Option<i64> {
        let shown = self.fleet.agent(NODE, &["status", "--output", "json"]).ok()?;
        let status: serde_json::Value = serde_json::from_str(&shown.stdout).ok()?;
        let components = status["apps"][0]["components"].as_array()?;
        let web = components.iter().find(|known| known["component"] == "web")?;
        web["pid"].as_i64()
    }

    /// For hooks that ask whether it is there.
    fn mark(&self, name: &str) -> PathBuf {
        let path = self.fleet.root().join(name);
        std::fs::write(&path, "").unwrap();
        path
    }
}

fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn code(child: Child) -> Option<i32> {
    child.wait_with_output().unwrap().status.code()
}

fn pids_of(marker: &str) -> Vec<String> {
    let found = std::process::Command::new("pgrep")
        .args(["--full", marker])
        .output()
        .unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

const FORWARD: [&str; 6] = [
    "drain v1.0.0",
    "pre_stop v1.0.0",
    "stop v1.0.0",
    "start v1.1.0",
    "post_start v1.1.0",
    "undrain v1.1.0",
];

/// After the new release was started and has failed.
const THERE_AND_BACK: [&str; 11] = [
    "drain v1.0.0",
    "pre_stop v1.0.0",
    "stop v1.0.0",
    "start v1.1.0",
    "post_start v1.1.0",
    "drain v1.1.0",
    "pre_stop v1.1.0",
    "stop v1.1.0",
    "start v1.0.0",
    "post_start v1.0.0",
    "undrain v1.0.0",
];

/// All of it, last first.
const STOPPED: [&str; 5] = [
    "drain v1.0.0",
    "pre_stop v1.0.0",
    "stop v1.0.0",
    "drain of db",
    "pre_stop of db",
];

#[test]
fn an_upgrade_runs_them_in_order_and_leaves_alone_what_is_unchanged() {
    let mut bench = Bench::new(&GOOD);
    bench.push("v1.1.0", &GOOD);
    bench.ends(&["rollout", "v1.1.0"], 0);
    bench.says(&FORWARD);
    // Other hooks make no other process.
    let before = bench.pid();
    assert!(before.is_some());
    bench.ends(&["rollback"], 0);
    bench.says(&THERE_AND_BACK[5..]);
    let before = bench.pid();
    let other = with(&[("drain", "exit 9", "1s")]);
    let web = bench.piece("web", PROCESS, &other).with("version", "v1.0.0");
    let db = bench.piece("db", "exec sleep 1000", &[]);
    let web = Piece {
        run: web.run.replace("${version}", "v1.0.0"),
        ..web
    };
    push(&bench.fleet, "v1.2.0", "30s", &[db, web]).unwrap();
    bench.ends(&["rollout", "v1.2.0"], 0);
    assert_eq!(bench.pid(), before);
    bench.says(&[]);
}

#[test]
fn what_is_left_cannot_hold_a_node_back() {
    let mut bench = Bench::new(&with(&[
        ("drain", "echo no balancer >&2; exit 7", "30s"),
        ("pre_stop", "kill -9 $$", "30s"),
    ]));
    bench.push("v1.1.0", &GOOD);
    bench.ends(&["rollout", "v1.1.0"], 0);
    bench.says(&FORWARD);
    let log = bench.fleet.log(NODE);
    assert!(log.contains("it exited with code 7: no balancer"), "{log}");
    assert!(log.contains("it was killed by SIGKILL"), "{log}");
}

#[test]
fn a_release_whose_post_start_fails_is_put_back() {
    let mut bench = Bench::new(&GOOD);
    let script = "echo warming up; echo the cache is cold >&2; exit 3";
    bench.push("v1.1.0", &with(&[("post_start", script, "30s")]));
    let said = bench.ends(&["rollout", "v1.1.0"], 1);
    let why = "hook post_start of component web failed: it exited with code 3: the cache is cold";
    assert!(said.contains(why) && said.contains("| warming up"), "{said}");
    bench.says(&THERE_AND_BACK);
    assert!(bench.pid().is_some());
}

#[test]
fn a_release_that_cannot_be_undrained_is_put_back() {
    let mut bench = Bench::new(&GOOD);
    bench.push("v1.1.0", &with(&[("undrain", "exit 4", "30s")]));
    let said = bench.ends(&["rollout", "v1.1.0"], 1);
    let why = "hook undrain of component web failed: it exited with code 4";
    assert!(said.contains(why), "{said}");
    let mut expected = THERE_AND_BACK.to_vec();
    expected.insert(5, "undrain v1.1.0");
    bench.says(&expected);
}

/// One of its children has left its group, another its session.
#[test]
fn a_hook_that_hangs_is_ended_with_all_that_it_started() {
    let script =
        "setsid tail -F $DIR/hanging & tail -F $DIR/hanging & trap '' TERM; while :; do sleep 0.1; done";
    let mut bench = Bench::new(&with(&[("drain", script, "1s")]));
    let marker = format!("{}/hanging", bench.fleet.root().display());
    bench.push("v1.1.0", &GOOD);
    bench.ends(&["rollout", "v1.1.0"], 0);
    bench.says(&FORWARD);
    assert_eq!(pids_of(&marker), Vec::<String>::new());
    let log = bench.fleet.log(NODE);
    assert!(log.contains("it did not end within 1s and was ended"), "{log}");
}

/// Of the release that is left and of the one that comes; with the agent, and without it.
#[test]
fn a_rollback_needs_no_hook() {
    let fails = "test ! -e $DIR/broken";
    let all = GOOD.map(|(name, _, timeout)| (name, fails, timeout));
    let mut bench = Bench::new(&all);
    bench.push("v1.1.0", &all);
    bench.ends(&["rollout", "v1.1.0"], 0);
    bench.says(&FORWARD);
    let broken = bench.mark("broken");
    bench.ends(&["rollback"], 0);
    bench.says(&THERE_AND_BACK[5..]);

    std::fs::remove_file(&broken).unwrap();
    bench.ends(&["rollout", "v1.1.0"], 0);
    bench.says(&FORWARD);
    bench.mark("broken");
    bench.fleet.kill_agent(NODE).unwrap();
    let ended = bench.fleet.agent(NODE, &["rollback"]).unwrap();
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    bench.says(&THERE_AND_BACK[5..]);
    // The agent that comes back finds nothing more to do.
    let before = bench.pid();
    bench.fleet.start_agent(NODE).unwrap();
    bench.fleet.wait_until_connected().unwrap();
    assert_eq!(bench.pid(), before);
    bench.says(&[]);
}

#[test]
fn on_the_way_back_nobody_waits_long_for_what_is_left() {
    let mut bench = Bench::new(&GOOD);
    bench.push("v1.1.0", &with(&[("drain", "exec sleep 1000", "10m")]));
    bench.ends(&["rollout", "v1.1.0"], 0);
    bench.says(&FORWARD);
    let began = Instant::now();
    bench.ends(&["rollback"], 0);
    assert!(began.elapsed() >= Duration::from_secs(10) && began.elapsed() < PATIENCE);
    bench.says(&THERE_AND_BACK[5..]);
    let log = bench.fleet.log(NODE);
    assert!(log.contains("it did not end within 10s and was ended"), "{log}");
}

#[test]
fn an_agent_that_is_killed_runs_them_again() {
    let mut bench = Bench::new(&GOOD);
    let waits = "while [ -e $DIR/wait ]; do sleep 0.05; done";
    bench.push(
        "v1.1.0",
        &with(&[("post_start", waits, "5s"), ("undrain", waits, "5s")]),
    );
    let wait = bench.mark("wait");
    let rollout = bench.fleet.ctl_beside(&["rollout", "v1.1.0"]).unwrap();
    bench.says_at_last("post_start v1.1.0");
    bench.fleet.kill_agent(NODE).unwrap();
    std::fs::remove_file(&wait).unwrap();
    bench.fleet.start_agent(NODE).unwrap();
    assert_eq!(code(rollout), Some(0), "{}", bench.fleet.log(NODE));
    let mut expected = FORWARD.to_vec();
    expected.insert(5, "post_start v1.1.0");
    bench.says(&expected);
}

/// It was drained for a release that did not come.
#[test]
fn what_was_drained_and_not_stopped_is_undrained() {
    let waits = "while [ -e $DIR/wait ]; do sleep 0.05; done";
    let mut bench = Bench::new(&with(&[("drain", waits, "10m")]));
    let before = bench.pid();
    bench.push("v1.1.0", &GOOD);
    let wait = bench.mark("wait");
    let rollout = bench.fleet.ctl_beside(&["rollout", "v1.1.0"]).unwrap();
    bench.says_at_last("drain v1.0.0");
    bench.ends(&["abort", "2"], 0);
    assert_eq!(code(rollout), Some(1));
    bench.says(&["drain v1.0.0", "undrain v1.0.0"]);
    assert_eq!(bench.pid(), before);
    // Nobody has to wait for it when the node ends.
    std::fs::remove_file(wait).unwrap();
}

#[test]
fn a_node_that_is_drained_says_goodbye_and_comes_back() {
    // What fails is said, and holds nothing up.
    let mut bench = Bench::new(&with(&[("pre_stop", "exit 1", "30s")]));
    bench.ends(&["node", "drain", NODE], 0);
    bench.says(&STOPPED);
    bench.ends(&["node", "undrain", NODE], 0);
    bench.says(&THERE_AND_BACK[8..]);
}

/// As after a boot: all that ran is gone.
#[test]
fn what_is_current_is_started_with_its_hooks_and_without_a_word_from_them() {
    let fails = "test ! -e $DIR/broken";
    let mut bench = Bench::new(&with(&[("post_start", fails, "30s"), ("undrain", fails, "30s")]));
    bench.fleet.kill_agent(NODE).unwrap();
    bench.mark("broken");
    assert_eq!(bench.fleet.agent(NODE, &["stop"]).unwrap().code, 0);
    bench.says(&STOPPED);
    bench.fleet.start_agent(NODE).unwrap();
    bench.says(&THERE_AND_BACK[8..]);
    assert!(bench.pid().is_some());
}

/// What systemd starts again by itself is not started by the agent, and has its hooks.
#[test]
fn a_unit_has_its_hooks_also_after_a_boot() {
    if !can_boot() {
        return;
    }
    let mut fleet = HostFleet::start(1).unwrap();
    let rollout = |fleet: &HostFleet, version: &str| {
        let mut piece = service(version, "health = \"healthy\"\n", "");
        piece.run.push_str("[component.hooks]\n");
        for (hook, _, _) in GOOD {
            let script = format!("echo {hook} ${{version}} >>/root/hooks; sync");
            piece.run.push_str(&format!(
                "{hook} = {{ command = [\"sh\", \"-c\", \"{script}\"] }}\n"
            ));
        }
        push(&fleet.fleet, version, "20s", &[piece]).unwrap();
        let ended = fleet.fleet.ctl(&["rollout", version]).unwrap();
        let log = agent_log(fleet.hosts.host("n01").unwrap());
        assert_eq!(ended.code, 0, "{}{}\n{log}", ended.stdout, ended.stderr);
    };
    let says = |fleet: &HostFleet, expected: &str| {
        let host = fleet.hosts.host("n01").unwrap();
        let read = || {
            host.run(&["cat", "/root/hooks"])
                .map(|ended| ended.stdout)
                .unwrap_or_default()
        };
        let lines = |text: &str| text.lines().count();
        let _fewer = wait_for("so many hooks", PATIENCE, || {
            (lines(&read()) >= lines(expected)).then_some(())
        });
        assert_eq!(read(), expected, "{}", agent_log(host));
    };
    rollout(&fleet, "v1.0.0");
    rollout(&fleet, "v1.1.0");
    let mut expected = "post_start v1.0.0\nundrain v1.0.0\ndrain v1.0.0\npre_stop v1.0.0\n\
                        post_start v1.1.0\nundrain v1.1.0\n"
        .to_owned();
    says(&fleet, &expected);
    let host = fleet.hosts.host_mut("n01").unwrap();
    host.pull_the_plug().unwrap();
    host.boot().unwrap();
    expected.push_str("post_start v1.1.0\nundrain v1.1.0\n");
    says(&fleet, &expected);
}
