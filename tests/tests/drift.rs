//! What somebody has changed on a node behind Fleet's back is found, and what is said to put it
//! right does.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use fleet_proto::session::drift::Drifted;
use fleet_proto::view::NodeDriftView;
use fleet_tests::fleet::{APP, Ended, Fleet, PATIENCE};
use fleet_tests::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const NODE: &str = "n01";

/// A node with an app that runs, and files that are served.
struct Bench {
    fleet: Fleet,
}

impl Bench {
    fn start() -> Self {
        let fleet = Fleet::start(1).unwrap();
        let bench = Self { fleet };
        bench.roll_out("v1.0.0");
        bench
    }

    fn www(&self) -> PathBuf {
        self.fleet.root().join("www")
    }

    fn app(&self) -> PathBuf {
        self.fleet.node(NODE).unwrap().state.join("apps").join(APP)
    }

    fn files(&self) -> PathBuf {
        self.app().join("current/files/web")
    }

    fn push(&self, version: &str) {
        let directory = self.fleet.root().join("app").join(version);
        for component in ["web", "site"] {
            std::fs::create_dir_all(directory.join(component).join("data")).unwrap();
        }
        let run = directory.join("web/run");
        std::fs::write(&run, format!("#!/bin/sh\n: {version}\nexec sleep 1000\n")).unwrap();
        std::fs::set_permissions(&run, std::fs::Permissions::from_mode(0o755)).unwrap();
        for file in ["web/data/one", "web/data/two", "site/index.html"] {
            std::fs::write(directory.join(file), version).unwrap();
        }
        let toml = format!(
            "[app]\nname = \"{APP}\"\n[health]\nmin_healthy = \"100ms\"\n\
             [[component]]\nname = \"web\"\npath = \"web\"\n[component.run]\nkind = \"supervise\"\ncommand = [\"./run\"]\n\
             [[component.check]]\nname = \"ok\"\ninterval = \"100ms\"\nkind = \"exec\"\ncommand = [\"true\"]\n\
             [[component]]\nname = \"site\"\npath = \"site\"\n[component.run]\nkind = \"static\"\nroot = \"{}\"\n",
            self.www().display()
        );
        let file = directory.join("fleet.toml");
        std::fs::write(&file, toml).unwrap();
        let file = file.display().to_string();
        self.done(&["release", "push", version, "--file", &file]);
    }

    fn roll_out(&self, version: &str) {
        self.push(version);
        self.done(&["rollout", version]);
    }

    fn done(&self, arguments: &[&str]) -> String {
        let ended = self.fleet.ctl(arguments).unwrap();
        assert_eq!(
            ended.code,
            0,
            "{arguments:?}: {}{}\n{}",
            ended.stdout,
            ended.stderr,
            self.fleet.log(NODE)
        );
        ended.stdout
    }

    /// What is found, as it is said to people too.
    fn drift(&self, code: i32) -> Vec<(Drifted, String)> {
        let ended = self.fleet.ctl(&["drift", NODE, "--output", "json"]).unwrap();
        assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
        let view: NodeDriftView = serde_json::from_str(&ended.stdout).unwrap();
        assert!(view.unknown.is_empty(), "{view:?}");
        let findings = view.findings.into_iter();
        findings.map(|finding| (finding.what, finding.mend)).collect()
    }

    fn kinds(&self) -> Vec<Drifted> {
        let mut kinds: Vec<Drifted> = self.drift(1).into_iter().map(|(what, _)| what).collect();
        kinds.sort_unstable();
        kinds
    }

    fn start_anew(&self) {
        // The only node: more of the environment than may be.
        self.done(&["node", "drain", NODE, "--force"]);
        let is_drained = || {
            self.done(&["node", "show", NODE])
                .contains("its apps are stopped")
                .then_some(())
        };
        wait_for("the drain", PATIENCE, is_drained).unwrap();
        self.done(&["node", "undrain", NODE]);
    }

    fn until_clean(&self) {
        let look = || {
            let Ended { code, .. } = self.fleet.ctl(&["drift"]).ok()?;
            (code == 0).then_some(())
        };
        wait_for("nothing to be found any more", PATIENCE, look).unwrap();
    }

    fn pid(&self) -> Pid {
        let status = self.fleet.agent(NODE, &["status", "--output", "json"]).unwrap();
        let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
        let components = status["apps"][0]["components"].as_array().unwrap();
        let web = components
            .iter()
            .find(|component| component["component"] == "web");
        Pid::from_raw(i32::try_from(web.unwrap()["pid"].as_i64().unwrap()).unwrap())
    }
}

#[test]
fn files_that_were_changed_are_found_and_laid_out_anew() {
    let bench = Bench::start();
    assert_eq!(bench.drift(0), []);
    let file = |name: &str| bench.files().join(name);
    std::fs::write(file("data/one"), "meddled with").unwrap();
    std::fs::set_permissions(file("data/two"), std::fs::Permissions::from_mode(0o666)).unwrap();
    std::fs::write(file("data/three"), "more").unwrap();
    assert_eq!(
        bench.kinds(),
        [Drifted::FileChanged, Drifted::FileAdded, Drifted::ModeChanged]
    );
    let said = bench.fleet.ctl(&["drift"]).unwrap();
    assert_eq!(said.code, 1);
    for words in [
        "n01 shop/web file-changed ",
        "/web/data/one: expected ",
        "expected 644; found 666; hint: on the node: chmod 644 /",
        "; hint: on the node: rm -r /",
        "hint: fleetctl rollout another release, and then: fleetctl rollout v1.0.0",
    ] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    assert_eq!(said.stderr, "1 node asked: 1 drifted\n");

    // As it is said.
    bench.roll_out("v2.0.0");
    bench.done(&["rollout", "v1.0.0"]);
    bench.until_clean();

    // With the program gone the app is down as well, once it ends.
    std::fs::remove_file(file("run")).unwrap();
    kill(bench.pid(), Signal::SIGKILL).unwrap();
    let is_down = || bench.kinds().contains(&Drifted::Stopped).then_some(());
    wait_for("the app to be down", PATIENCE, is_down).unwrap();
    assert_eq!(bench.kinds(), [Drifted::FileMissing, Drifted::Stopped]);
    bench.push("v3.0.0");
    bench.done(&["rollout", "v3.0.0", "--max-unavailable", "100%"]);
    bench.until_clean();
}

#[test]
fn links_that_lead_elsewhere_are_found_and_put_back() {
    let mut bench = Bench::start();
    let first = std::fs::read_link(bench.app().join("current")).unwrap();
    bench.roll_out("v2.0.0");
    assert_eq!(bench.drift(0), []);
    // Beside it the node says what it has on its disk.
    let on_disk = || {
        let node = bench.done(&["node", "show", NODE]);
        let words = [
            "on disk shop v1.0.0
",
            "on disk shop v2.0.0, current",
            "% of the memory",
            " free on disk, up since ",
        ];
        words.iter().all(|words| node.contains(words)).then_some(())
    };
    wait_for("the node's releases", PATIENCE, on_disk).unwrap();

    std::fs::remove_file(bench.www()).unwrap();
    assert_eq!(bench.kinds(), [Drifted::LinkElsewhere]);
    symlink("/tmp", bench.www()).unwrap();
    let (what, mend) = bench.drift(1).remove(0);
    assert_eq!(what, Drifted::LinkElsewhere);
    let moved = format!(
        "on the node: mv '{0}' '{0}.old'; then: fleetctl node drain n01",
        bench.www().display()
    );
    assert!(mend.starts_with(&moved), "{mend}");
    std::fs::remove_file(bench.www()).unwrap();
    bench.start_anew();
    bench.until_clean();

    let current = bench.app().join("current");
    std::fs::remove_file(&current).unwrap();
    symlink(first, &current).unwrap();
    assert_eq!(bench.kinds(), [Drifted::OtherRelease]);
    bench.start_anew();
    bench.until_clean();

    bench.fleet.kill_agent(NODE).unwrap();
    let away = || {
        let ended = bench.fleet.ctl(&["drift"]).ok()?;
        let words = "n01 not known: n01 is not connected; it was last seen at";
        (ended.code == 3 && ended.stdout.contains(words)).then_some(())
    };
    wait_for("the node to be missed", PATIENCE, away).unwrap();
}
