//! A release that changes one component leaves the processes of the others alone.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use fleet_agent::process::proc;
use fleet_agent::process::run_directory::RUN_VARIABLE;
use fleet_proto::view::RolloutStateView;
use fleet_tests::fleet::{APP, Ended, Fleet, PATIENCE};
use fleet_tests::port::Port;
use fleet_tests::process::program;
use fleet_tests::wait::wait_for;
use serde_json::Value;

const NODE: &str = "n01";
/// In the order of the manifest.
const COMPONENTS: [&str; 3] = ["backend", "worker", "frontend"];

/// What tells one release from another, by component.
#[derive(Debug, Clone, Copy)]
struct Release {
    files: [&'static str; 3],
    config: [&'static str; 3],
    /// Of the backend's second check.
    ready: &'static str,
}

const FIRST: Release = Release {
    files: ["1", "1", "1"],
    config: ["1", "1", "1"],
    ready: "true",
};

/// A fleet of one node that runs three components.
struct Shop {
    fleet: Fleet,
    ports: [Port; 3],
    grace: &'static str,
}

type Pids = BTreeMap<String, i32>;

impl Shop {
    fn start(grace: &'static str) -> Self {
        let mut fleet = Fleet::start(1).unwrap();
        let config = fleet.node(NODE).unwrap().config.clone();
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replace("[limits]\n", "[limits]\nkeep_releases = 2\n");
        std::fs::write(&config, text).unwrap();
        fleet.stop_agent(NODE).unwrap();
        fleet.start_agent(NODE).unwrap();
        fleet.wait_until_connected().unwrap();
        Self {
            fleet,
            ports: [0; 3].map(|_| Port::reserve().unwrap()),
            grace,
        }
    }

    /// The worker does not stop before its grace is over.
    fn command(&self, component: usize) -> String {
        let port = &self.ports[component];
        let sample = format!("./fleet-sample --port {port} --settings settings.toml");
        let script = if COMPONENTS[component] == "worker" {
            format!("trap '' TERM; exec {sample}")
        } else {
            format!("exec {sample}")
        };
        format!("[\"sh\", \"-c\", \"{script}\"]")
    }

    fn push(&self, version: &str, release: Release) {
        let directory = self.fleet.root().join("app").join(version);
        // What is good has all the time that a busy machine may take; what is ill is waited for.
        let deadline = if release.ready == "true" { "60s" } else { "5s" };
        let mut toml = format!(
            "[app]\nname = \"{APP}\"\n[health]\nmin_healthy = \"300ms\"\nhealthy_deadline = \"{deadline}\"\nresponse_time = \"20s\"\n"
        );
        for (i, name) in COMPONENTS.into_iter().enumerate() {
            let files = directory.join(name);
            std::fs::create_dir_all(&files).unwrap();
            std::fs::copy(program("fleet-sample").unwrap(), files.join("fleet-sample")).unwrap();
            let settings = format!("health = \"healthy\"\ngreeting = \"{}\"\n", release.files[i]);
            std::fs::write(files.join("settings.toml"), settings).unwrap();
            toml.push_str(&format!(
                "[[component]]\nname = \"{name}\"\npath = \"{name}\"\n[component.run]\nkind = \"supervise\"\n\
                 command = {}\nenv = {{ LEVEL = \"{}\" }}\ngrace = \"{}\"\n\
                 [[component.check]]\nname = \"health\"\ninterval = \"100ms\"\ntimeout = \"3s\"\nkind = \"http\"\n\
                 url = \"http://127.0.0.1:{}/health\"\n",
                self.command(i),
                release.config[i],
                self.grace,
                self.ports[i],
            ));
            if name == "backend" {
                toml.push_str(&format!(
                    "[[component.check]]\nname = \"ready\"\ninterval = \"100ms\"\nkind = \"exec\"\ncommand = [\"{}\"]\n",
                    release.ready
                ));
            }
        }
        toml.push_str("[strategy]\nmax_unreachable = 1\n");
        let file = directory.join("fleet.toml");
        std::fs::write(&file, toml).unwrap();
        let file = file.display().to_string();
        self.done(&["release", "push", version, "--file", &file]);
    }

    fn done(&self, arguments: &[&str]) {
        let ended = self.fleet.ctl(arguments).unwrap();
        assert_eq!(ended.code, 0, "{arguments:?}: {}{}", ended.stdout, ended.stderr);
    }

    fn agent(&self, arguments: &[&str]) -> Ended {
        let ended = self.fleet.agent(NODE, arguments).unwrap();
        assert_eq!(ended.code, 0, "{arguments:?}: {}{}", ended.stdout, ended.stderr);
        ended
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.agent(&["status", "--output", "json"]).stdout).unwrap()
    }

    fn look_at_pids(&self) -> Option<Pids> {
        let status = self.status();
        let components = status["apps"][0]["components"].as_array()?;
        let pids: Option<Pids> = components
            .iter()
            .map(|component| {
                let pid = i32::try_from(component["pid"].as_i64()?).ok()?;
                Some((component["component"].as_str()?.to_owned(), pid))
            })
            .collect();
        pids.filter(|pids| pids.len() == COMPONENTS.len())
    }

    fn pids(&self) -> Pids {
        wait_for("all components to run", PATIENCE, || self.look_at_pids()).unwrap()
    }

    /// The components whose process is another one than before.
    fn restarted_since(&self, before: &mut Pids) -> Vec<String> {
        let now = self.pids();
        let restarted = now.iter().filter(|(name, pid)| before.get(*name) != Some(*pid));
        let restarted = restarted.map(|(name, _)| name.clone()).collect();
        *before = now;
        restarted
    }

    fn run_directory(&self, component: &str) -> PathBuf {
        let state = &self.fleet.node(NODE).unwrap().state;
        state.join("apps").join(APP).join("run").join(component)
    }

    /// Every process that anybody has started for the component.
    fn processes_of(&self, component: &str) -> Vec<i32> {
        let run = self.run_directory(component);
        let all = proc::all().into_iter().filter(proc::Stat::is_alive);
        all.map(|stat| stat.id.pid)
            .filter(|pid| proc::has_variable(*pid, RUN_VARIABLE, &run))
            .collect()
    }

    /// The versions on the node's disk, and which components live in each.
    fn releases(&self) -> BTreeMap<String, Vec<String>> {
        let told = self.agent(&["releases", "--output", "json"]).stdout;
        let told: Value = serde_json::from_str(&told).unwrap();
        let releases = told.as_array().unwrap().iter();
        releases
            .map(|release| {
                let version = release["release"]["version"].as_str().unwrap().to_owned();
                let lives = release["in_use_by"].as_array().unwrap().iter();
                (
                    version,
                    lives.map(|name| name.as_str().unwrap().to_owned()).collect(),
                )
            })
            .collect()
    }

    fn wait_for_releases(&self, expected: &[(&str, &[&str])]) {
        let expected: BTreeMap<String, Vec<String>> = expected
            .iter()
            .map(|(version, names)| {
                let names = names.iter().map(|name| (*name).to_owned());
                ((*version).to_owned(), names.collect())
            })
            .collect();
        let seen = wait_for("the slots", PATIENCE, || {
            (self.releases() == expected).then_some(())
        });
        assert!(seen.is_ok(), "{:?}, expected {expected:?}", self.releases());
    }
}

#[test]
fn only_what_a_release_changes_is_restarted_on_the_way_out_and_back() {
    let shop = Shop::start("500ms");
    let second = Release {
        files: ["1", "2", "1"],
        ..FIRST
    };
    let third = Release {
        config: ["1", "1", "2"],
        ..second
    };
    shop.push("v1.0.0", FIRST);
    shop.push("v2.0.0", second);
    shop.push("v3.0.0", third);
    shop.done(&["rollout", "v1.0.0"]);
    let mut pids = shop.pids();

    shop.done(&["rollout", "v2.0.0"]);
    assert_eq!(shop.restarted_since(&mut pids), ["worker"], "other files");
    shop.done(&["rollout", "v3.0.0"]);
    assert_eq!(
        shop.restarted_since(&mut pids),
        ["frontend"],
        "other configuration"
    );
    shop.done(&["rollback"]);
    assert_eq!(
        shop.restarted_since(&mut pids),
        ["frontend"],
        "the configuration as before"
    );

    // What is kept is looked at as all the rest is.
    let ill = Release {
        config: ["1", "3", "1"],
        ready: "false",
        ..second
    };
    shop.push("v4.0.0", ill);
    let bad = shop.fleet.ctl(&["rollout", "v4.0.0"]).unwrap();
    assert_eq!(bad.code, 1, "{}", bad.stderr);
    assert!(bad.stderr.contains("backend/ready"), "{}", bad.stderr);
    assert_eq!(shop.restarted_since(&mut pids), ["worker"]);

    // Nor does a person who takes the agent's place restart more than that.
    let mut shop = shop;
    shop.done(&["rollout", "v3.0.0"]);
    assert_eq!(shop.restarted_since(&mut pids), ["frontend"]);
    shop.fleet.kill_agent(NODE).unwrap();
    shop.agent(&["rollback"]);
    assert_eq!(shop.restarted_since(&mut pids), ["frontend"]);
    shop.fleet.start_agent(NODE).unwrap();
    shop.fleet.wait_until_connected().unwrap();
    assert_eq!(shop.restarted_since(&mut pids), [""; 0]);
}

#[test]
fn an_agent_that_is_killed_in_the_middle_starts_nothing_twice() {
    let mut shop = Shop::start("3s");
    shop.push("v1.0.0", FIRST);
    shop.done(&["rollout", "v1.0.0"]);
    let mut pids = shop.pids();

    for (number, (version, level)) in [("v2.0.0", "2"), ("v3.0.0", "3")].into_iter().enumerate() {
        let next = Release {
            config: ["1", level, "1"],
            ..FIRST
        };
        shop.push(version, next);
        let current = shop.run_directory("../current");
        let before = std::fs::read_link(&current).unwrap();
        shop.done(&["rollout", version, "--detach"]);
        let spec = shop.run_directory("worker").join("spec.json");
        wait_for("the middle of it", PATIENCE, || {
            let is_there = match version {
                // The worker has been told to stop, and takes its time.
                "v2.0.0" => !spec.exists(),
                // It has stopped, and nothing or all has been started.
                _ => std::fs::read_link(&current).is_ok_and(|now| now != before),
            };
            is_there.then_some(())
        })
        .unwrap();
        shop.fleet.kill_agent(NODE).unwrap();
        shop.fleet.start_agent(NODE).unwrap();
        let number = u64::try_from(number + 2).unwrap();
        let ended = wait_for("the rollout to end", PATIENCE, || {
            let rollout = shop.fleet.rollout(number).ok()?;
            rollout.state.is_ended().then_some(rollout.state)
        });
        assert_eq!(
            ended.unwrap(),
            RolloutStateView::Succeeded,
            "{}",
            shop.fleet.log(NODE)
        );
        assert_eq!(shop.restarted_since(&mut pids), ["worker"], "{version}");
        for component in COMPONENTS {
            assert_eq!(
                shop.processes_of(component),
                [pids[component]],
                "{version}: {component}"
            );
        }
    }
}

#[test]
fn the_slot_in_which_a_process_lives_stays_until_it_has_moved() {
    let mut shop = Shop::start("100ms");
    for (version, level) in [("v1.0.0", "1"), ("v2.0.0", "2"), ("v3.0.0", "3"), ("v4.0.0", "4")] {
        let release = Release {
            config: ["1", level, "1"],
            ..FIRST
        };
        shop.push(version, release);
        shop.done(&["rollout", version]);
    }
    // Two good ones are kept, and the one in which two processes live.
    shop.wait_for_releases(&[
        ("v1.0.0", &["backend", "frontend"]),
        ("v3.0.0", &[]),
        ("v4.0.0", &["worker"]),
    ]);
    let told = shop.agent(&["releases"]).stdout;
    assert!(told.contains("kept for backend, frontend"), "{told}");
    // One that ends there comes up again.
    let mut pids = shop.pids();
    let backend = proc::ProcessId::of(pids["backend"]).unwrap();
    backend.signal(nix::sys::signal::Signal::SIGKILL);
    wait_for("the backend to end", PATIENCE, || {
        (!backend.is_alive()).then_some(())
    })
    .unwrap();
    assert_eq!(shop.restarted_since(&mut pids), ["backend"]);

    // Whoever changes moves, and the slot goes with its last process.
    let moved = Release {
        config: ["2", "4", "1"],
        ..FIRST
    };
    shop.push("v5.0.0", moved);
    shop.done(&["rollout", "v5.0.0"]);
    shop.wait_for_releases(&[
        ("v1.0.0", &["frontend"]),
        ("v4.0.0", &["worker"]),
        ("v5.0.0", &["backend"]),
    ]);

    // As after a boot: nothing runs, and all of it starts from what is current.
    shop.agent(&["stop"]);
    shop.fleet.start_agent(NODE).unwrap();
    shop.wait_for_releases(&[("v4.0.0", &[]), ("v5.0.0", &["backend", "frontend", "worker"])]);
    let current = std::fs::canonicalize(shop.run_directory("../current")).unwrap();
    for (component, pid) in shop.pids() {
        let lives = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
        assert_eq!(lives, current.join("files").join(&component));
    }
}
