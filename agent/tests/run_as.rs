//! Processes as somebody else, somewhere else, within limits: what the kernel says of them.
//! Becoming somebody else takes root: without it these tests look at nothing, and with
//! `CI=true` they fail.
#![expect(clippy::unwrap_used, reason = "a failed test says where")]

mod keeping;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fleet_agent::process::log;
use fleet_agent::process::proc::ProcessId;
use fleet_agent::process::spec::Spec;
use fleet_agent::process::supervise::glance;
use fleet_proto::quantity::Bytes;
use fleet_proto::release::Limits;
use nix::sys::signal::Signal;
use nix::unistd::{Group, User, geteuid, getgrouplist};

use keeping::{Bench, supervised, wait_for};

/// On every Debian, in no group but its own.
const USER: &str = "nobody";

type Change = fn(&mut Spec);

/// None where nobody can become anybody.
fn bench() -> Option<Bench> {
    if !geteuid().is_root() {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "this test has to be root"
        );
        return None;
    }
    let bench = Bench::new();
    open_to_all(bench.directory.path());
    Some(bench)
}

/// As somebody else.
fn spec(bench: &Bench, script: &str) -> Spec {
    let mut spec = bench.spec(script);
    spec.home = "/root".to_owned();
    supervised(&mut spec).user = Some(USER.to_owned());
    spec
}

impl Bench {
    fn start(&self, spec: &Spec) -> ProcessId {
        self.supervisor.start(&self.run, spec).unwrap();
        self.app("the app", |_| true)
    }

    /// When it has become the app: until then it is the agent's program.
    fn app(&self, what: &str, is_it: impl Fn(ProcessId) -> bool) -> ProcessId {
        wait_for(what, || {
            let app = glance(&self.run)?.app.filter(|app| is_it(*app))?;
            let program = std::fs::read_link(format!("/proc/{}/exe", app.pid)).ok()?;
            (!program.ends_with("fleet-agent")).then_some(app)
        })
    }

    fn said(&self, what: &str, lines: usize) -> Vec<String> {
        wait_for(what, || {
            Some(log::tail(&self.run.log(), 20)).filter(|said| said.len() >= lines)
        })
    }
}

fn open_to_all(directory: &Path) {
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A line of `/proc/PID/status`, in words.
fn status(app: ProcessId, key: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", app.pid)).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{key}:")));
    line.unwrap().split_whitespace().map(str::to_owned).collect()
}

/// The soft and the hard limit.
fn limits(app: ProcessId, name: &str) -> [String; 2] {
    let text = std::fs::read_to_string(format!("/proc/{}/limits", app.pid)).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    [words.next().unwrap(), words.next().unwrap()]
}

fn four(id: u32) -> Vec<String> {
    vec![id.to_string(); 4]
}

/// By whatever the kernel says of it.
fn must_be(app: ProcessId, user: &User, directory: &Path) {
    assert_eq!(status(app, "Uid"), four(user.uid.as_raw()));
    assert_eq!(status(app, "Gid"), four(user.gid.as_raw()));
    let name = std::ffi::CString::new(user.name.clone()).unwrap();
    let mut groups: Vec<u32> = getgrouplist(&name, user.gid)
        .unwrap()
        .iter()
        .map(|gid| gid.as_raw())
        .collect();
    groups.sort_unstable();
    let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
    assert_eq!(status(app, "Groups"), groups);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(app, set), ["0000000000000000"], "{set}");
    }
    let working = std::fs::read_link(format!("/proc/{}/cwd", app.pid)).unwrap();
    assert_eq!(working, directory);
}

#[test]
fn an_app_is_its_user_and_nobody_else_also_when_its_keeper_starts_it_again() {
    let Some(bench) = bench() else { return };
    let user = User::from_name(USER).unwrap().unwrap();
    let data = bench.directory.path().join("var/data");
    std::fs::create_dir_all(&data).unwrap();
    let mut spec = spec(&bench, "exec sleep 1000");
    supervised(&mut spec).directory = Some("var/data".into());
    supervised(&mut spec).limits = Limits {
        open_files: Some(123),
        processes: Some(77),
        core: Some(Bytes(0)),
        address_space: Some(Bytes(512 << 20)),
    };
    let first = bench.start(&spec);
    let must_be_it = |app| {
        must_be(app, &user, &data);
        for (name, value) in [
            ("Max open files", "123"),
            ("Max processes", "77"),
            ("Max core file size", "0"),
            ("Max address space", "536870912"),
        ] {
            assert_eq!(limits(app, name), [value, value], "{name}");
        }
    };
    must_be_it(first);
    first.signal(Signal::SIGKILL);
    must_be_it(bench.app("the app again", |app| app != first));
    // What the agent and the keeper write stays theirs alone.
    let keeper = glance(&bench.run).unwrap().keeper;
    assert_eq!(status(keeper, "Uid"), four(0));
    assert_eq!(
        std::fs::metadata(bench.run.path()).unwrap().permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn an_app_finds_the_home_and_the_log_of_its_user() {
    let Some(bench) = bench() else { return };
    let user = User::from_name(USER).unwrap().unwrap();
    let script = "echo $HOME $USER $LOGNAME; echo again >/dev/stderr; echo $TERM; exec sleep 1000";
    let mut spec = spec(&bench, script);
    spec.env.insert("TERM".to_owned(), "dumb".to_owned());
    bench.start(&spec);
    let own = format!("{} {USER} {USER}", user.dir.display());
    assert_eq!(bench.said("its words", 3), [own.as_str(), "again", "dumb"]);
    // What the release says goes before what a login would.
    spec.env.insert("HOME".to_owned(), "/elsewhere".to_owned());
    bench.start(&spec);
    let own = format!("/elsewhere {USER} {USER}");
    wait_for("its other words", || {
        log::tail(&bench.run.log(), 20)
            .first()
            .filter(|said| **said == own)
            .cloned()
    });
}

/// With what any language has for it: the kernel refuses each way.
#[test]
fn nothing_of_the_agents_rights_can_be_taken_up_again() {
    let Some(bench) = bench() else { return };
    let script = "import os\n\
        def can(what):\n\
        \x20   try:\n\
        \x20       what()\n\
        \x20       print('it can', what)\n\
        \x20   except PermissionError:\n\
        \x20       print('refused')\n\
        can(lambda: os.setuid(0))\n\
        can(lambda: os.setresuid(0, 0, 0))\n\
        can(lambda: os.seteuid(0))\n\
        can(lambda: os.setgid(0))\n\
        can(lambda: os.setgroups([0]))\n\
        can(lambda: open('/proc/%d/environ' % os.getppid()))\n\
        can(lambda: os.listdir(os.environ['FLEET_RUN']))\n\
        import resource\n\
        try:\n\
        \x20   resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))\n\
        \x20   print('it can have more')\n\
        except ValueError:\n\
        \x20   print('refused')\n\
        print('done', flush=True)\n\
        import time\n\
        time.sleep(1000)\n";
    let mut spec = spec(&bench, "");
    supervised(&mut spec).command = ["python3", "-c", script].map(str::to_owned).to_vec();
    supervised(&mut spec).limits.open_files = Some(64);
    bench.start(&spec);
    let said = bench.said("all its attempts", 9);
    let mut expected = vec!["refused"; 8];
    expected.push("done");
    assert_eq!(said, expected);
}

/// Of whom the node says that they are in groups besides their own, if there is such a one.
#[test]
fn the_groups_of_the_user_are_the_app_s_too() {
    let Some(bench) = bench() else { return };
    let groups = std::fs::read_to_string("/etc/group").unwrap();
    let members = groups.lines().filter_map(|line| line.rsplit(':').next());
    let names = members.flat_map(|members| members.split(',')).chain([USER]);
    let mut users = names.filter_map(|name| User::from_name(name).ok().flatten());
    let user = users.find(|user| !user.uid.is_root()).unwrap();
    let mut spec = spec(&bench, "exec sleep 1000");
    supervised(&mut spec).user = Some(user.name.clone());
    must_be(bench.start(&spec), &user, bench.directory.path());
}

#[test]
fn a_group_that_is_named_is_the_only_one() {
    let Some(bench) = bench() else { return };
    let group = Group::from_name("adm").unwrap().unwrap();
    let mut spec = spec(&bench, "exec sleep 1000");
    supervised(&mut spec).group = Some("adm".to_owned());
    let app = bench.start(&spec);
    assert_eq!(status(app, "Gid"), four(group.gid.as_raw()));
    assert_eq!(status(app, "Groups"), [group.gid.to_string()]);
}

/// Whatever stands in the way is found before anything is stopped for it.
#[test]
fn what_cannot_be_taken_on_stops_nothing() {
    let Some(bench) = bench() else { return };
    let good = spec(&bench, "exec sleep 1000");
    let app = bench.start(&good);
    let private = bench.directory.path().join("private");
    std::fs::create_dir(&private).unwrap();
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o700)).unwrap();
    let changes: [(Change, &str); 5] = [
        (
            |spec| supervised(spec).user = Some("no-such-user".to_owned()),
            "there is no user no-such-user on this node\nhint: ",
        ),
        (
            |spec| supervised(spec).group = Some("no-such-group".to_owned()),
            "there is no group no-such-group on this node\nhint: ",
        ),
        (
            |spec| supervised(spec).directory = Some("private".into()),
            "nobody cannot work in ",
        ),
        (
            |spec| supervised(spec).directory = Some("/no/such/place".into()),
            "No such file or directory",
        ),
        (
            |spec| supervised(spec).limits.open_files = Some(u64::MAX / 2),
            "cannot limit `open_files` to 9223372036854775807: Operation not permitted",
        ),
    ];
    for (change, why) in changes {
        let mut spec = good.clone();
        change(&mut spec);
        let error = bench.supervisor.start(&bench.run, &spec).unwrap_err();
        let error = fleet_agent::effects::chain(&error);
        assert!(error.contains(why), "{error}");
        assert!(app.is_alive());
        assert_eq!(glance(&bench.run).unwrap().app, Some(app));
    }
}
