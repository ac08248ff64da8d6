//! Keepers with real processes.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

mod keeping;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fleet_agent::process::log;
use fleet_agent::process::proc::{self, ProcessId};
use fleet_agent::process::run_directory::{KeeperState, RUN_VARIABLE, RunDirectory};
use fleet_agent::process::spec::Spec;
use fleet_agent::process::supervise::glance;
use fleet_proto::digest::Digest;
use fleet_proto::quantity::Span;
use fleet_proto::release::StopSignal;
use nix::sys::signal::Signal;

use keeping::{Bench, supervised, wait_for};

impl Bench {
    fn start(&self, script: &str) -> KeeperState {
        self.supervisor.start(&self.run, &self.spec(script)).unwrap()
    }

    fn until<T>(&self, what: &str, mut look: impl FnMut(&KeeperState) -> Option<T>) -> T {
        wait_for(what, || glance(&self.run).and_then(|state| look(&state)))
    }

    fn running(&self) -> Vec<i32> {
        running(self.run.path())
    }
}

fn running(run: &Path) -> Vec<i32> {
    let all = proc::all().into_iter().filter(proc::Stat::is_alive);
    all.map(|stat| stat.id.pid)
        .filter(|pid| proc::has_variable(*pid, RUN_VARIABLE, run))
        .collect()
}

#[test]
fn an_app_runs_in_a_clean_environment_and_its_output_is_kept() {
    let bench = Bench::new();
    bench.start("env | cut -d= -f1 | sort; pwd; echo oops >&2; exec sleep 1000");
    let lines = wait_for("the output", || {
        let lines = log::tail(&bench.run.log(), 20);
        lines.contains(&"oops".to_owned()).then_some(lines)
    });
    assert!(
        lines.contains(&"PATH".to_owned()) && lines.contains(&RUN_VARIABLE.to_owned()),
        "{lines:?}"
    );
    assert!(!lines.contains(&"CARGO_MANIFEST_DIR".to_owned()), "{lines:?}");
    assert!(
        lines.contains(&bench.directory.path().display().to_string()),
        "{lines:?}"
    );
}

#[test]
fn who_ignores_the_stop_signal_is_killed_after_the_grace() {
    let bench = Bench::new();
    bench.start("trap '' TERM; echo up; while :; do sleep 0.05; done");
    wait_for("the app", || log::tail(&bench.run.log(), 1).first().cloned());
    let began = Instant::now();
    bench.supervisor.stop(&bench.run).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(bench.running(), Vec::<i32>::new());
    assert_eq!(glance(&bench.run), None);
}

#[test]
fn the_stop_signal_is_the_one_asked_for_and_reaches_the_app() {
    let bench = Bench::new();
    let mut spec = bench.spec("trap 'echo bye; exit 0' USR1; echo up; while :; do sleep 0.02; done");
    supervised(&mut spec).stop_signal = StopSignal::User1;
    supervised(&mut spec).grace = Span::from_secs(10);
    bench.supervisor.start(&bench.run, &spec).unwrap();
    wait_for("the app", || log::tail(&bench.run.log(), 1).first().cloned());
    bench.supervisor.stop(&bench.run).unwrap();
    assert_eq!(log::tail(&bench.run.log(), 1), ["bye"]);
}

#[test]
fn an_app_that_ends_is_started_again_with_longer_and_longer_pauses() {
    let bench = Bench::new();
    bench.start("echo started; exit 3");
    let began = Instant::now();
    let state = bench.until("a restart loop", |state| {
        (state.restarts >= 3).then(|| state.clone())
    });
    // 100, 200 and 400 ms.
    assert!(began.elapsed() >= Duration::from_millis(600));
    assert_eq!(state.last_exit.as_deref(), Some("exited with code 3"));
}

#[test]
fn a_command_that_is_not_there_says_so_in_the_log() {
    let bench = Bench::new();
    let mut spec = bench.spec("");
    supervised(&mut spec).command = vec!["./nothing-here".to_owned()];
    bench.supervisor.start(&bench.run, &spec).unwrap();
    let exit = bench.until("its end", |state| state.last_exit.clone());
    assert_eq!(exit, "exited with code 127");
    let line = wait_for("the line", || log::tail(&bench.run.log(), 1).pop());
    assert!(line.contains("cannot run `./nothing-here`"), "{line}");
}

#[test]
fn a_keeper_is_adopted_and_never_doubled() {
    let bench = Bench::new();
    let first = bench.start("exec sleep 1000");
    let second = bench.start("exec sleep 1000");
    assert_eq!((first.keeper, first.app), (second.keeper, second.app));
    let other = bench.start("exec sleep 1001");
    assert_ne!(other.keeper, first.keeper);
    assert!(!first.keeper.is_alive());
    // One that only just becomes another program shows no variables for an instant.
    wait_for("exactly one app", || (bench.running().len() == 1).then_some(()));
}

/// The same process in another release: it goes on where it was started.
#[test]
fn a_keeper_is_adopted_from_the_slot_of_an_earlier_release() {
    let bench = Bench::new();
    let first = bench.start("exec sleep 1000");
    let later = bench.directory.path().join("later");
    std::fs::create_dir(&later).unwrap();
    let mut spec = bench.spec("exec sleep 1000");
    spec.release = Digest::of(b"another release");
    spec.directory = later;
    spec.home = "/root".to_owned();
    let second = bench.supervisor.start(&bench.run, &spec).unwrap();
    assert_eq!((first.keeper, first.app), (second.keeper, second.app));
    assert_eq!(bench.run.spec(), Some(bench.spec("exec sleep 1000")));
    // Whatever else defines it makes it another one.
    let mut known = first.keeper;
    let changes: [fn(&mut Spec); 8] = [
        |spec| spec.tree = Digest::of(b"other files"),
        |spec| supervised(spec).command[2] = "exec sleep 1001".to_owned(),
        |spec| drop(spec.env.insert("LEVEL".to_owned(), "2".to_owned())),
        |spec| supervised(spec).stop_signal = StopSignal::Interrupt,
        |spec| supervised(spec).grace = Span::from_millis(301),
        |spec| supervised(spec).user = Some(oneself()),
        |spec| supervised(spec).directory = Some("/".into()),
        |spec| supervised(spec).limits.open_files = Some(64),
    ];
    for change in changes {
        change(&mut spec);
        let anew = bench.supervisor.start(&bench.run, &spec).unwrap();
        assert_ne!(anew.keeper, known, "{spec:?}");
        known = anew.keeper;
    }
    assert_eq!(bench.run.spec(), Some(spec));
}

#[test]
fn a_keeper_outlives_whoever_started_it() {
    let bench = Bench::new();
    bench.run.create().unwrap();
    bench.run.write_spec(&bench.spec("exec sleep 1000")).unwrap();
    // A shell that ends at once stands for an agent that is killed.
    let script = format!(
        "{} keep {} & sleep 0",
        env!("CARGO_BIN_EXE_fleet-agent"),
        bench.run.path().display()
    );
    assert!(
        Command::new("sh")
            .args(["-c", &script])
            .status()
            .unwrap()
            .success()
    );
    let app = bench.until("the app", |state| state.app);
    let adopted = bench.start("exec sleep 1000");
    assert_eq!(adopted.app, Some(app));
}

#[test]
fn what_a_killed_keeper_left_behind_is_found_and_replaced() {
    let bench = Bench::new();
    let state = bench.start("echo $$; exec sleep 1000");
    let app = wait_for("the app", || {
        log::tail(&bench.run.log(), 1)
            .first()?
            .parse()
            .ok()
            .and_then(ProcessId::of)
    });
    state.keeper.signal(Signal::SIGKILL);
    wait_for("the keeper's end", || (!state.keeper.is_alive()).then_some(()));
    assert!(app.is_alive(), "an app does not end with its keeper");
    let anew = bench.start("echo $$; exec sleep 1000");
    assert_ne!(anew.keeper, state.keeper);
    assert!(!app.is_alive());
    assert_eq!(bench.running().len(), 1);
}

#[test]
fn children_that_went_their_own_way_are_stopped_too() {
    let bench = Bench::new();
    bench.start(
        "setsid sh -c 'trap \"\" TERM; sleep 1000 & wait' & setsid -f sleep 1001; echo up; exec sleep 1002",
    );
    wait_for("the whole family", || (bench.running().len() >= 4).then_some(()));
    bench.supervisor.stop(&bench.run).unwrap();
    assert_eq!(bench.running(), Vec::<i32>::new());
}

#[test]
fn children_of_a_killed_keeper_are_stopped_too() {
    let bench = Bench::new();
    let state = bench.start("setsid -f sleep 1001; exec sleep 1002");
    wait_for("the family", || (bench.running().len() >= 2).then_some(()));
    state.keeper.signal(Signal::SIGKILL);
    wait_for("the keeper's end", || (!state.keeper.is_alive()).then_some(()));
    bench.supervisor.stop(&bench.run).unwrap();
    assert_eq!(bench.running(), Vec::<i32>::new());
}

/// A shell ends at once when it is told to; what it started may still be answering.
#[test]
fn the_grace_is_for_the_whole_family() {
    let bench = Bench::new();
    let work = "trap 'sleep 0.3; echo finished; exit 0' TERM; echo up; while :; do sleep 0.02; done";
    for script in [
        format!("({work}) & exec sleep 1000"),
        format!("setsid sh -c \"{}\" & exec sleep 1000", work.replace('"', "\\\"")),
    ] {
        let mut spec = bench.spec(&script);
        supervised(&mut spec).grace = Span::from_secs(10);
        bench.supervisor.start(&bench.run, &spec).unwrap();
        wait_for("the worker", || {
            log::tail(&bench.run.log(), 1)
                .contains(&"up".to_owned())
                .then_some(())
        });
        let began = Instant::now();
        bench.supervisor.stop(&bench.run).unwrap();
        assert_eq!(log::tail(&bench.run.log(), 1), ["finished"], "{script}");
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(bench.running(), Vec::<i32>::new());
    }
}

#[test]
fn an_app_that_puts_itself_into_the_background_is_in_a_restart_loop_and_leaves_nothing() {
    let bench = Bench::new();
    bench.start("setsid -f sleep 1001; setsid -f setsid -f sleep 1002; exit 0");
    let exit = bench.until("a restart loop", |state| {
        (state.restarts >= 3).then(|| state.last_exit.clone())
    });
    assert_eq!(exit.as_deref(), Some("exited with code 0"));
    // Never more than one generation of them.
    assert!(bench.running().len() <= 4, "{:?}", bench.running());
    bench.supervisor.stop(&bench.run).unwrap();
    assert_eq!(bench.running(), Vec::<i32>::new());
}

#[test]
fn an_app_that_talks_without_end_neither_waits_nor_fills_the_disk() {
    let bench = Bench::new();
    bench.start("head -c 100000000 /dev/zero | tr '\\0' 'y'; echo; echo done; exec sleep 1000");
    wait_for("the end of it", || {
        log::tail(&bench.run.log(), 1)
            .contains(&"done".to_owned())
            .then_some(())
    });
    let entries = std::fs::read_dir(bench.run.path()).unwrap();
    let bytes: u64 = entries
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < 9 << 20, "{bytes}");
}

/// A directory in the place of a file stands for a disk that takes nothing.
fn obstruct(run: &RunDirectory, name: &str) -> std::path::PathBuf {
    let place = run.path().join(name);
    let _none = std::fs::remove_file(&place);
    std::fs::create_dir(&place).unwrap();
    place
}

#[test]
fn a_keeper_goes_on_while_the_disk_takes_nothing() {
    let bench = Bench::new();
    let state = bench.start("echo $$; exec sleep 1000");
    let app = || {
        log::tail(&bench.run.log(), 1)
            .pop()?
            .parse()
            .ok()
            .and_then(ProcessId::of)
    };
    let first = wait_for("the app", app);
    let obstacle = obstruct(&bench.run, "state.json.new");
    first.signal(Signal::SIGKILL);
    let second = wait_for("the app again", || app().filter(|app| *app != first));
    assert!(second.is_alive() && state.keeper.is_alive());
    // As soon as there is room the agent is told.
    std::fs::remove_dir(obstacle).unwrap();
    let told = bench.until("the state", |state| state.app.filter(|_| state.restarts == 1));
    assert_eq!(told, second);
}

#[test]
fn a_keeper_goes_on_when_its_app_cannot_be_started() {
    let bench = Bench::new();
    let mut spec = bench.spec("exec sleep 1000");
    spec.directory = bench.directory.path().join("files");
    std::fs::create_dir(&spec.directory).unwrap();
    let state = bench.supervisor.start(&bench.run, &spec).unwrap();
    std::fs::remove_dir(&spec.directory).unwrap();
    state.app.unwrap().signal(Signal::SIGKILL);
    let exit = bench.until("its failure", |state| {
        state
            .last_exit
            .clone()
            .filter(|exit| exit.starts_with("could not"))
    });
    assert!(exit.contains("cannot start the app"), "{exit}");
    std::fs::create_dir(&spec.directory).unwrap();
    let again = bench.until("the app again", |state| state.app);
    assert_ne!(Some(again), state.app);
    assert!(state.keeper.is_alive());
}

#[test]
fn a_disk_that_takes_nothing_does_not_take_down_what_runs() {
    let bench = Bench::new();
    let state = bench.start("exec sleep 1000");
    obstruct(&bench.run, "spec.json.new");
    let other = bench.spec("exec sleep 1001");
    assert!(bench.supervisor.start(&bench.run, &other).is_err());
    assert_eq!(glance(&bench.run).unwrap().app, state.app);
    assert!(state.keeper.is_alive());
}

fn oneself() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap();
    user.unwrap().name
}
