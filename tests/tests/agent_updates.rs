//! The agent's own package, rolled out as any release: with waves and budgets, taken back by
//! the node where it is bad, and no app notices.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fleet_proto::session::Phase;
use fleet_proto::view::{RolloutStateView, RolloutView, StatusView};
use fleet_tests::fleet::PATIENCE;
use fleet_tests::hosts::can_boot;
use fleet_tests::hosts::fleet::{HostFleet, STATE, agent_log, succeed_on};
use fleet_tests::hosts::host::Host;
use fleet_tests::hosts::package::Package;
use fleet_tests::sample::Behaviour;
use fleet_tests::wait::wait_for;

const AGENT: &str = "fleet-agent";
const REAL: &str = "usr/bin/fleet-agent.real";
/// It runs, and looks for its coordinator where there is none.
const REACHES_NOBODY: &str = "#!/bin/sh
real=\"$(dirname \"$0\")/fleet-agent.real\"
[ \"$1\" = run ] || exec \"$real\" \"$@\"
sed 's|^coordinators = .*|coordinators = [\"https://127.0.0.1:9\"]|' /etc/fleet/agent.toml > /run/nobody.toml
exec \"$real\" run --config /run/nobody.toml
";
/// It never says that it is ready.
const HANGS: &str = "#!/bin/sh
[ \"$1\" = run ] || exec \"$(dirname \"$0\")/fleet-agent.real\" \"$@\"
trap '' TERM
while :; do sleep 1; done
";
const ENDS: &str = "#!/bin/sh
[ \"$1\" = run ] || exec \"$(dirname \"$0\")/fleet-agent.real\" \"$@\"
echo 'cannot do anything here' >&2
exit 1
";
const DOES_NOT_RUN: &str = "#!/bin/sh\nexit 127\n";

struct Updates {
    fleet: HostFleet,
    packages: tempfile::TempDir,
    built: Package,
}

impl Updates {
    /// So many hosts whose app runs.
    fn begin(hosts: u8) -> Self {
        let fleet = HostFleet::start(hosts).unwrap();
        fleet.fleet.push("v1.0.0", Behaviour::Good).unwrap();
        let rollout = fleet
            .fleet
            .ctl(&["rollout", "v1.0.0", "--max-unavailable", "100%"])
            .unwrap();
        assert_eq!(rollout.code, 0, "{}", rollout.stderr);
        for host in fleet.hosts.iter() {
            wait_for("the app to serve", PATIENCE, || fleet.serves(host.name())).unwrap();
            succeed_on(host, &["sync"]).unwrap();
        }
        Self {
            fleet,
            packages: tempfile::tempdir().unwrap(),
            built: Package::of(AGENT).unwrap(),
        }
    }

    /// Packed by its author, and pushed.
    fn push(&self, version: &str, fields: &[(&str, &str)], program: Option<&str>) {
        let package = self
            .built
            .changed(self.packages.path(), fields, |tree| {
                program.map_or(Ok(()), |script| put_in_place(tree, script))
            })
            .unwrap();
        let directory = self.fleet.fleet.root().join("agent").join(version);
        std::fs::create_dir_all(directory.join("dist")).unwrap();
        std::fs::copy(package.file(), directory.join("dist/fleet-agent.deb")).unwrap();
        let text = "[app]\nname = \"fleet-agent\"\n\
             [health]\nmin_healthy = \"300ms\"\nhealthy_deadline = \"60s\"\nconfirm = \"8s\"\n\
             [strategy]\nmax_unreachable = 1\n\
             [[component]]\nname = \"agent\"\npath = \"dist\"\n\
             [component.run]\nkind = \"agent\"\npackage = \"fleet-agent.deb\"\n";
        let file = directory.join("fleet.toml");
        std::fs::write(&file, text).unwrap();
        let push = ["release", "push", version, "--file", &file.display().to_string()];
        let pushed = self.fleet.fleet.ctl(&push).unwrap();
        assert_eq!(pushed.code, 0, "{}", pushed.stderr);
    }

    fn push_good(&self, version: &str) {
        self.push(&format!("v{version}"), &[("Version", version)], None);
    }

    fn push_bad(&self, version: &str, program: &str) {
        self.push(&format!("v{version}"), &[("Version", version)], Some(program));
    }

    fn ctl(&self, arguments: &[&str], code: i32) -> String {
        let ended = self
            .fleet
            .fleet
            .ctl(&[arguments, &["--app", AGENT]].concat())
            .unwrap();
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.code, code, "{arguments:?}: {said}\n{}", self.logs());
        said
    }

    fn logs(&self) -> String {
        let log = |host: &Host| {
            let guard = ask(host, &["journalctl", "--unit=fleet-agent-update", "--no-pager"]);
            let said = ask(host, &["tail", &format!("{STATE}/update/dpkg/log")]);
            format!("{}\nguard:\n{guard}\ndpkg:\n{said}", agent_log(host))
        };
        let logs: Vec<String> = self.fleet.hosts.iter().map(log).collect();
        logs.join("\n")
    }

    fn host(&self, name: &str) -> &Host {
        self.fleet.hosts.host(name).unwrap()
    }

    fn installed(&self) -> Vec<String> {
        self.fleet.hosts.iter().map(installed).collect()
    }

    /// Of all that runs there.
    fn apps(&self) -> Vec<String> {
        let pids = |host| ask(host, &["pgrep", "--exact", "fleet-sample"]);
        let pids: Vec<String> = self.fleet.hosts.iter().map(pids).collect();
        assert!(pids.iter().all(|pids| !pids.is_empty()), "{pids:?}");
        pids
    }

    fn rollouts(&self) -> Vec<RolloutView> {
        let status = ["status", "--output", "json", "--app", AGENT];
        let status = self.fleet.fleet.ctl(&status).unwrap().stdout;
        let status: StatusView = serde_json::from_str(&status).unwrap();
        let mut rollouts = status.rollouts;
        rollouts.retain(|rollout| rollout.app.as_str() == AGENT);
        rollouts.sort_by_key(|rollout| rollout.number.0);
        rollouts
    }
}

/// Where the agent's program was, with that beside it.
fn put_in_place(tree: &Path, script: &str) -> anyhow::Result<()> {
    let program = tree.join("usr/bin/fleet-agent");
    std::fs::rename(&program, tree.join(REAL))?;
    std::fs::write(&program, script)?;
    Ok(std::fs::set_permissions(
        &program,
        std::fs::Permissions::from_mode(0o755),
    )?)
}

fn ask(host: &Host, command: &[&str]) -> String {
    host.run(command).unwrap().stdout.trim().to_owned()
}

fn installed(host: &Host) -> String {
    let show = "--showformat=${db:Status-Status} ${Version}";
    ask(host, &["dpkg-query", "--show", show, AGENT])
}

fn agent_pid(host: &Host) -> String {
    ask(
        host,
        &["systemctl", "show", "--value", "--property=MainPID", AGENT],
    )
}

#[test]
fn agents_are_updated_by_waves_and_rolled_back() {
    if !can_boot() {
        return;
    }
    let updates = Updates::begin(2);
    let apps = updates.apps();
    for version in ["0.2.0", "0.3.0"] {
        updates.push_good(version);
        let said = updates.ctl(&["rollout", &format!("v{version}"), "--waves", "50,100"], 0);
        assert!(said.contains("wave 2 of 2 passed"), "{said}");
        let expected = format!("installed {version}");
        assert_eq!(
            updates.installed(),
            [&*expected, &*expected],
            "{}",
            updates.logs()
        );
        assert_eq!(updates.apps(), apps, "{}", updates.logs());
    }
    // What a person would see of it.
    for host in updates.fleet.hosts.iter() {
        assert_eq!(ask(host, &["systemctl", "is-system-running"]), "running");
        assert_eq!(ask(host, &["dpkg", "--audit"]), "");
        assert_eq!(
            ask(host, &["systemctl", "is-enabled", "fleet-agent-update"]),
            "enabled"
        );
        let left = ask(host, &["ls", &format!("{STATE}/update")]);
        assert!(!left.contains("new.deb") && left.contains("kept.deb"), "{left}");
    }

    updates.ctl(&["rollback"], 0);
    assert_eq!(updates.installed(), ["installed 0.2.0", "installed 0.2.0"]);
    assert_eq!(updates.apps(), apps, "{}", updates.logs());

    // What is refused is refused before anything is touched.
    let agents: Vec<String> = updates.fleet.hosts.iter().map(agent_pid).collect();
    updates.push("v0.4.0", &[("Package", "other"), ("Version", "0.4.0")], None);
    let said = updates.ctl(&["rollout", "v0.4.0"], 1);
    assert!(
        said.contains("fleet-agent.deb is the package other, expected fleet-agent"),
        "{said}"
    );
    updates.push_bad("0.5.0", DOES_NOT_RUN);
    let said = updates.ctl(&["rollout", "v0.5.0"], 1);
    assert!(said.contains("does not run on this machine"), "{said}");
    updates.push("v0.6.0", &[("Architecture", "s390x"), ("Version", "0.6.0")], None);
    let said = updates.ctl(&["rollout", "v0.6.0"], 1);
    assert!(said.contains("is for s390x, and this machine is"), "{said}");
    assert_eq!(updates.installed(), ["installed 0.2.0", "installed 0.2.0"]);
    let after: Vec<String> = updates.fleet.hosts.iter().map(agent_pid).collect();
    assert_eq!(after, agents, "{}", updates.logs());
    assert_eq!(updates.apps(), apps);
}

/// The second wave is never begun, and the first is back where it was.
fn assert_is_taken_back(updates: &Updates, version: &str, program: &str, why: &str) {
    let (apps, before) = (updates.apps(), updates.installed());
    updates.push_bad(version, program);
    let release = format!("v{version}");
    updates.ctl(&["rollout", &release, "--waves", "50,100", "--detach"], 0);
    let is_of_it = |rollout: &RolloutView| {
        let of = rollout.release.as_ref();
        of.is_some_and(|of| of.version.as_str() == release)
    };
    // It may pause in between: while the node is away, nobody knows why.
    let failed = wait_for("the rollout to end", 3 * PATIENCE, || {
        let rollout = updates.rollouts().into_iter().find(is_of_it)?;
        rollout.state.is_ended().then_some(rollout)
    })
    .unwrap_or_else(|error| unreachable!("{error}\n{}", updates.logs()));
    assert_eq!(
        failed.state,
        RolloutStateView::Failed,
        "{failed:#?}\n{}",
        updates.logs()
    );
    let said = failed.why.unwrap_or_default();
    assert!(said.contains(why), "{said}\n{}", updates.logs());
    let untouched = failed.steps.iter().filter(|step| step.wave > 1);
    assert!(untouched.clone().count() == 1, "{:#?}", failed.steps);
    untouched.for_each(|step| assert_eq!(step.phase, Phase::Pending));
    // Its rollback, where there was a release to go back to.
    wait_for_end(updates);
    assert_eq!(updates.installed(), before, "{}", updates.logs());
    assert_eq!(updates.apps(), apps, "{}", updates.logs());
    updates.fleet.fleet.wait_for_connections(2).unwrap();
    for host in updates.fleet.hosts.iter() {
        wait_for("all of the host to run", PATIENCE, || {
            (ask(host, &["systemctl", "is-system-running"]) == "running").then_some(())
        })
        .unwrap_or_else(|error| unreachable!("{error}\n{}", updates.logs()));
        assert_eq!(ask(host, &["pgrep", "--full", "fleet-agent.real"]), "");
    }
}

#[test]
fn an_agent_that_is_bad_is_taken_back_by_its_node() {
    if !can_boot() {
        return;
    }
    let updates = Updates::begin(2);
    // With no release of the agent before it, and with one.
    assert_is_taken_back(&updates, "0.2.0", REACHES_NOBODY, "no coordinator");
    updates.push_good("0.3.0");
    updates.ctl(&["rollout", "v0.3.0"], 0);
    assert_eq!(updates.installed(), ["installed 0.3.0", "installed 0.3.0"]);
    assert_is_taken_back(&updates, "0.4.0", REACHES_NOBODY, "no coordinator");
    let not_ready = "the new agent was not ready within 8s";
    assert_is_taken_back(&updates, "0.5.0", HANGS, not_ready);
    assert_is_taken_back(&updates, "0.6.0", ENDS, not_ready);
    // And a good one comes through after them.
    let apps = updates.apps();
    updates.push_good("0.7.0");
    updates.ctl(&["rollout", "v0.7.0"], 0);
    assert_eq!(updates.installed(), ["installed 0.7.0", "installed 0.7.0"]);
    assert_eq!(updates.apps(), apps, "{}", updates.logs());
}

/// In which stage the record is, when it is not over.
fn wait_for_stage(host: &Host, stage: &str) {
    let script = format!(
        "for i in $(seq 3000); do
            grep --quiet '\"stage\":[{{\"]*{stage}' {STATE}/update/record.json 2>/dev/null && exit 0
            sleep 0.01
         done
         exit 1"
    );
    succeed_on(host, &["sh", "-c", &script]).unwrap();
}

#[test]
fn an_update_that_is_cut_short_comes_to_its_end() {
    if !can_boot() {
        return;
    }
    let mut updates = Updates::begin(1);
    for (version, stage) in [("0.2.0", "begun"), ("0.3.0", "installing"), ("0.4.0", "trying")] {
        updates.push_good(version);
        updates.ctl(&["rollout", &format!("v{version}"), "--detach"], 0);
        wait_for_stage(updates.host("n01"), stage);
        let machine = updates.fleet.hosts.host_mut("n01").unwrap();
        machine.pull_the_plug().unwrap();
        machine.boot().unwrap();
        assert_comes_to_its_end(&updates, version);
    }
    // The guard alone is killed; dpkg comes to its end, and the next guard goes on.
    updates.push_good("0.5.0");
    updates.ctl(&["rollout", "v0.5.0", "--detach"], 0);
    wait_for_stage(updates.host("n01"), "installing");
    let kill = [
        "systemctl",
        "kill",
        "--signal=KILL",
        "--kill-who=main",
        "fleet-agent-update",
    ];
    succeed_on(updates.host("n01"), &kill).unwrap();
    assert_comes_to_its_end(&updates, "0.5.0");
    // And without power while it goes back.
    updates.push_bad("0.6.0", REACHES_NOBODY);
    updates.ctl(&["rollout", "v0.6.0", "--detach"], 0);
    wait_for_stage(updates.host("n01"), "going-back");
    let machine = updates.fleet.hosts.host_mut("n01").unwrap();
    machine.pull_the_plug().unwrap();
    machine.boot().unwrap();
    wait_for_end(&updates);
    let host = updates.host("n01");
    wait_for("the former agent to be back", PATIENCE, || {
        (installed(host) == "installed 0.5.0").then_some(())
    })
    .unwrap();
    assert_eq!(ask(host, &["dpkg", "--audit"]), "");
    updates.fleet.fleet.wait_for_connections(1).unwrap();
}

fn wait_for_end(updates: &Updates) -> RolloutStateView {
    let ended = wait_for("the rollout to end", 3 * PATIENCE, || {
        let state = updates.rollouts().pop()?.state;
        state.is_ended().then_some(state)
    });
    ended.unwrap_or_else(|error| {
        let explained = updates.fleet.fleet.ctl(&["explain", "--app", AGENT]).unwrap();
        unreachable!(
            "{error}\n{}{}\n{}",
            explained.stdout,
            explained.stderr,
            updates.logs()
        )
    })
}

fn assert_comes_to_its_end(updates: &Updates, version: &str) {
    let state = wait_for_end(updates);
    assert_eq!(state, RolloutStateView::Succeeded, "{}", updates.logs());
    let host = updates.host("n01");
    assert_eq!(
        installed(host),
        format!("installed {version}"),
        "{}",
        updates.logs()
    );
    assert_eq!(ask(host, &["dpkg", "--audit"]), "");
    wait_for("the app to serve", PATIENCE, || updates.fleet.serves("n01"))
        .unwrap_or_else(|error| unreachable!("{error}\n{}", updates.logs()));
}
