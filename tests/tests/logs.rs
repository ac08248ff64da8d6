//! Logs of components, from nodes of real processes: what there is, what comes, and how it ends.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex};

use fleet_tests::fleet::{APP, Ended, Fleet, PATIENCE};
use fleet_tests::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const NODE: &str = "n01";

/// A fleet whose components say what they are told to say.
struct Parrots {
    fleet: Fleet,
}

impl Parrots {
    fn start() -> Self {
        let fleet = Fleet::start(1).unwrap();
        let parrots = Self { fleet };
        for component in ["web", "worker"] {
            File::create(parrots.ear(component)).unwrap();
        }
        parrots.roll_out("v1.0.0");
        parrots
    }

    fn ear(&self, component: &str) -> PathBuf {
        self.fleet.root().join(format!("{component}.say"))
    }

    fn say(&self, component: &str, text: &str) {
        let file = File::options().append(true).open(self.ear(component));
        writeln!(file.unwrap(), "{text}").unwrap();
    }

    fn roll_out(&self, version: &str) {
        let directory = self.fleet.root().join("app").join(version);
        let mut toml = format!("[app]\nname = \"{APP}\"\n[health]\nmin_healthy = \"100ms\"\n");
        for component in ["web", "worker"] {
            std::fs::create_dir_all(directory.join(component)).unwrap();
            std::fs::write(directory.join(component).join("file"), version).unwrap();
            let ear = self.ear(component);
            toml.push_str(&format!(
                "[[component]]\nname = \"{component}\"\npath = \"{component}\"\n[component.run]\n\
                 kind = \"supervise\"\ncommand = [\"sh\", \"-c\", \"echo {component} ${{version}} is up; \
                 exec tail -n 0 -F {}\"]\n\
                 [[component.check]]\nname = \"ok\"\ninterval = \"100ms\"\nkind = \"exec\"\ncommand = [\"true\"]\n",
                ear.display()
            ));
        }
        let file = directory.join("fleet.toml");
        std::fs::write(&file, toml).unwrap();
        let file = file.display().to_string();
        self.done(&["release", "push", version, "--file", &file]);
        self.done(&["rollout", version]);
    }

    fn done(&self, arguments: &[&str]) -> String {
        let ended = self.fleet.ctl(arguments).unwrap();
        assert_eq!(ended.code, 0, "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        ended.stdout
    }

    fn logs(&self, arguments: &[&str]) -> String {
        self.done(&[&["logs", NODE], arguments].concat())
    }

    /// Until the logs say so, which takes the app a moment.
    fn until_logged(&self, words: &str) {
        let look = || self.logs(&["--lines", "10000"]).contains(words).then_some(());
        wait_for(words, PATIENCE, look).unwrap();
    }

    fn follow(&self, arguments: &[&str]) -> Following {
        let arguments = [&["logs", NODE, "--follow"], arguments].concat();
        Following::begin(self.fleet.ctl_beside(&arguments).unwrap())
    }
}

/// A `fleetctl logs --follow`, and what it has said.
struct Following {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Following {
    fn begin(mut child: Child) -> Self {
        let output = BufReader::new(child.stdout.take().unwrap());
        let said = Arc::<Mutex<String>>::default();
        let lines = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let mut said = lines.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        Self { child, said }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn until_it_says(&self, words: &str) {
        let look = || self.said().contains(words).then_some(());
        wait_for(words, PATIENCE, look).unwrap();
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, signal).unwrap();
    }

    fn end(mut self) -> Ended {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let mut stderr = String::new();
        let errors = self.child.stderr.take().unwrap().read_to_string(&mut stderr);
        errors.unwrap();
        Ended {
            code,
            stdout: self.said(),
            stderr,
        }
    }
}

impl Drop for Parrots {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.fleet.log(NODE);
            let _nobody = std::io::stderr().write_all(log.as_bytes());
        }
    }
}

#[test]
fn what_there_is_is_told_by_component_by_time_and_by_line() {
    let parrots = Parrots::start();
    parrots.say("web", "hello");
    parrots.say("worker", "at \x1b[31mwork");
    parrots.until_logged("hello");
    parrots.until_logged("at \\u{1b}[31mwork");
    let all = parrots.logs(&[]);
    let told = |line: &str, component: &str, words: &str| {
        line.starts_with(&format!("{component} | 2")) && line.ends_with(&format!("Z {words}"))
    };
    for (component, words) in [
        ("web", "web v1.0.0 is up"),
        ("web", "hello"),
        ("worker", "worker v1.0.0 is up"),
    ] {
        assert!(
            all.lines().any(|line| told(line, component, words)),
            "{words}: {all}"
        );
    }
    let web = parrots.logs(&["web", "--lines", "1", "--output", "json"]);
    let web: Value = serde_json::from_str(&web).unwrap();
    assert_eq!((&web["line"], &web["node"]), (&"hello".into(), &NODE.into()));
    assert!(web["at"].as_u64().unwrap() > 1_700_000_000_000);

    // What has grown older than that is left out, and not forgotten.
    let is_old = || (!parrots.logs(&["web", "--since", "1s"]).contains("hello")).then_some(());
    wait_for("the line to grow old", PATIENCE, is_old).unwrap();
    assert!(parrots.logs(&["web", "--since", "10m"]).contains("hello"));

    for (arguments, code, says) in [
        (&["logs", NODE, "db"][..], 1, "it has: web, worker"),
        (
            &["logs", NODE, "--app", "till"],
            1,
            "no release of till is on this node",
        ),
        (&["logs", "n99"], 1, "there is no node n99"),
    ] {
        let ended = parrots.fleet.ctl(arguments).unwrap();
        assert_eq!(ended.code, code, "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(says), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn what_comes_is_followed_through_rotation_and_into_the_next_release() {
    let mut parrots = Parrots::start();
    let following = parrots.follow(&[]);
    following.until_it_says("worker v1.0.0 is up");
    parrots.say("web", "live");
    following.until_it_says("live");

    // More than the log holds: it is begun anew on the way.
    let log = parrots
        .fleet
        .node(NODE)
        .unwrap()
        .state
        .join(format!("apps/{APP}/run/web/log"));
    const LINES: usize = 6000;
    for number in 0..LINES {
        parrots.say("web", &format!("number {number} {}", "x".repeat(1000)));
    }
    // Whoever follows may be too slow for that many; what is missing is counted then.
    let mut overs = 0..;
    let over = wait_for("the end of it", PATIENCE, || {
        parrots.say("web", &format!("{} over", overs.next()?));
        let said = following.said();
        let end = said.find(" over\n")? + " over\n".len();
        Some(said[..end].to_owned())
    });
    let (told, skipped, first_over) = count(&over.unwrap());
    assert_eq!(told + skipped, LINES + first_over, "{skipped} skipped");
    assert!(std::fs::metadata(&log).unwrap().len() < 4 << 20);

    parrots.roll_out("v2.0.0");
    following.until_it_says("web v2.0.0 is up");
    parrots.say("web", "as new");
    following.until_it_says("as new");

    following.signal(Signal::SIGINT);
    assert_eq!(following.end().code, 0);
    let has_ended = || {
        parrots
            .fleet
            .log(NODE)
            .contains("the answer broke off")
            .then_some(())
    };
    wait_for("the node to stop reading", PATIENCE, has_ended).unwrap();

    let following = parrots.follow(&["web"]);
    following.until_it_says("as new");
    parrots.fleet.kill_agent(NODE).unwrap();
    let ended = following.end();
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("n01 went away before its answer was complete"),
        "{}",
        ended.stderr
    );
    let ended = parrots.fleet.ctl(&["logs", NODE]).unwrap();
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("n01 is not connected; it was last seen at"),
        "{}",
        ended.stderr
    );
}

/// Lines that were told, those that were passed over, and the number of the last line.
fn count(said: &str) -> (usize, usize, usize) {
    assert!(!said.contains("begun anew more than once"), "lines are missing");
    let told = said.lines().filter(|line| line.contains("Z number ")).count();
    let skipped = said.lines().filter_map(|line| {
        let count = line.split_once("… ")?.1.strip_suffix(" lines skipped")?;
        count.replace(',', "").parse::<usize>().ok()
    });
    let last = said.lines().next_back().unwrap().strip_suffix(" over").unwrap();
    let last = last.rsplit(' ').next().unwrap().parse().unwrap();
    (told, skipped.sum(), last)
}

#[test]
fn a_reader_who_is_slow_misses_lines_and_is_told_how_many() {
    let parrots = Parrots::start();
    let mut child = parrots
        .fleet
        .ctl_beside(&["logs", NODE, "web", "--follow"])
        .unwrap();
    // One line is read, so that it is known to follow; then nobody reads.
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    output.read_line(&mut first).unwrap();
    assert!(first.contains("is up"), "{first}");
    // A few at a time, for the log of the app is bounded as well.
    const LINES: usize = 30_000;
    let log = parrots
        .fleet
        .node(NODE)
        .unwrap()
        .state
        .join(format!("apps/{APP}/run/web/log"));
    for number in 0..LINES {
        parrots.say("web", &format!("number {number} {}", "x".repeat(1000)));
        if number % 1000 == 999 {
            let last = format!("number {number} x");
            let is_written = || std::fs::read_to_string(&log).ok()?.contains(&last).then_some(());
            wait_for(&last, PATIENCE, is_written).unwrap();
        }
    }
    // It reads again, and is told how much it has missed before anything new.
    let (mut said, mut overs, mut has_missed) = (String::new(), 0, false);
    while !said.ends_with(" over\n") {
        if has_missed || overs == 0 {
            parrots.say("web", &format!("{overs} over"));
            overs += 1;
        }
        let before = said.len();
        assert!(output.read_line(&mut said).unwrap() > 0);
        has_missed |= said[before..].contains(" skipped");
    }
    let (told, skipped, first) = count(&said);
    assert!(told > 0 && skipped > 0, "{told} told, {skipped} skipped");
    assert_eq!(told + skipped, LINES + first);
    child.kill().unwrap();
    child.wait().unwrap();
}
