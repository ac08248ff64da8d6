//! Releases that try to reach beyond their own directory, as a release key that was stolen
//! would sign them or a captured store would serve them. Each is refused with a message
//! that says why, nothing beside it is touched, and what runs goes on.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test says where"
)]

#[path = "fetch/store.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod store;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_agent::process::proc::ProcessId;
use fleet_agent::status::NodeStatus;
use fleet_proto::digest::Digest;
use fleet_proto::fence::Fence;
use fleet_proto::ids::RolloutNumber;
use fleet_proto::quantity::Span;
use fleet_proto::release::{Manifest, Run};
use fleet_proto::session::{Command, Failure, FailureClass, Order, Phase, ToAgent};
use fleet_proto::tree::ENTRIES_MAX;
use nix::sys::stat::Mode;
use store::{Bench, Manners, Shelf, Visit};

const PATIENCE: Duration = Duration::from_secs(20);

/// What a path is: its mode, and its bytes or where it leads.
type Snapshot = BTreeMap<PathBuf, (u32, Vec<u8>)>;

/// All that is there, except the app's blobs on their way in.
fn snapshot(bench: &Bench) -> Snapshot {
    let mut found = Snapshot::new();
    let incoming = bench.node.layout.incoming(&"shop".parse().unwrap());
    look_into(bench.root(), &incoming, &mut found);
    found
}

/// What goes away meanwhile is not there.
fn look_into(directory: &Path, except: &Path, found: &mut Snapshot) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path == except {
            continue;
        }
        let Ok(about) = path.symlink_metadata() else {
            continue;
        };
        let holds = if about.is_dir() {
            look_into(&path, except, found);
            Ok(Vec::new())
        } else if about.is_symlink() {
            std::fs::read_link(&path).map(|target| target.into_os_string().into_encoded_bytes())
        } else {
            std::fs::read(&path)
        };
        if let Ok(holds) = holds {
            found.insert(path, (about.mode(), holds));
        }
    }
}

/// Only plain files that are named by what is in them, or will be.
fn incoming_holds_blobs_only(bench: &Bench, case: &str) {
    let incoming = bench.node.layout.incoming(&"shop".parse().unwrap());
    for entry in std::fs::read_dir(incoming).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let digest = name.strip_suffix(".part").unwrap_or(&name);
        assert!(digest.parse::<Digest>().is_ok(), "{case}: {name}");
        let about = entry.path().symlink_metadata().unwrap();
        assert!(about.is_file() && about.mode() & 0o6111 == 0, "{case}: {name}");
    }
}

/// Things that an escape would hit, whichever of the directories it began in.
fn plant_canaries(bench: &Bench) {
    let app = bench.node.layout.app(&"shop".parse().unwrap());
    for directory in [bench.root(), bench.node.layout.root(), &app, &app.join("slots")] {
        std::fs::write(directory.join("x"), "canary").unwrap();
        std::fs::create_dir(directory.join("outside")).unwrap();
        std::fs::write(directory.join("outside/x"), "canary").unwrap();
    }
}

/// With a release that runs well, and canaries around it.
async fn bench_with_current(mut shelf: Shelf) -> Bench {
    shelf.put("v1", 1, &[("a", b"one")], |_| {});
    let bench = shelf.bench("").await;
    bench.fetch("v1").await.unwrap();
    bench.slots().switch(Some(&bench.release("v1"))).unwrap();
    plant_canaries(&bench);
    bench
}

async fn refused(bench: &Bench, case: &str) -> Box<Failure> {
    let before = snapshot(bench);
    let ended = tokio::time::timeout(PATIENCE, bench.fetch(case)).await;
    let failure = ended.unwrap_or_else(|_| panic!("{case}: the fetch does not end"));
    let failure = failure.err().unwrap_or_else(|| panic!("{case}: it was taken"));
    // What was given up goes by itself.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while snapshot(bench) != before {
        let now: Vec<_> = snapshot(bench)
            .into_keys()
            .filter(|path| !before.contains_key(path))
            .collect();
        assert!(
            tokio::time::Instant::now() < deadline,
            "{case}: this is left or changed: {now:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    incoming_holds_blobs_only(bench, case);
    assert!(bench.is_whole("v1"), "{case}");
    assert_eq!(
        bench.slots().current(),
        Some(bench.release("v1").digest),
        "{case}"
    );
    assert_eq!(bench.slots().all().len(), 1, "{case}");
    failure
}

fn file_of(bytes: &[u8], more: &str) -> String {
    format!(
        r#"{{"file":{{"digest":"{}","bytes":{}{more}}}}}"#,
        Digest::of(bytes),
        bytes.len()
    )
}

/// An encoding by hand, with the entries as they are given.
fn encoding(entries: &[(&str, &str)]) -> Vec<u8> {
    let entries: Vec<String> = entries
        .iter()
        .map(|(path, entry)| format!("{}:{entry}", serde_json::to_string(path).unwrap()))
        .collect();
    format!("{{{}}}", entries.join(",")).into_bytes()
}

fn link(target: &str) -> String {
    format!(
        r#"{{"link":{{"target":{}}}}}"#,
        serde_json::to_string(target).unwrap()
    )
}

const ONE: &[u8] = b"one more";

/// What is wrong with it, its encoding, and what is said.
fn cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let file = file_of(ONE, "");
    let at = |path: &str| encoding(&[(path, &file)]);
    let to = |path: &str, target: &str| encoding(&[(path, &link(target))]);
    let whole = encoding(&[("a", &file), ("b", &file)]);
    let raw = |text: String| text.into_bytes();
    let huge = format!(
        r#"{{"file":{{"digest":"{}","bytes":{}}}}}"#,
        Digest::of(ONE),
        u64::MAX
    );
    let deep = |count: usize| "d/".repeat(count) + "x";
    let mut million = raw("{".to_owned());
    for number in 0..1_000_000 {
        million.extend_from_slice(format!("\"{number:07}\":\"directory\",").as_bytes());
    }
    let unlisted: Vec<String> = (0..ENTRIES_MAX / 50)
        .map(|number| format!("\"{number:05}/{}\":\"directory\"", deep(60)))
        .collect();
    vec![
        ("up-first", at("../x"), "path `../x` has a part `..`"),
        (
            "up-in-the-middle",
            at("a/../../x"),
            "path `a/../../x` has a part `..`",
        ),
        ("up-at-the-end", at("a/.."), "path `a/..` has a part `..`"),
        ("up-alone", at(".."), "path `..` has a part `..`"),
        ("absolute", at("/tmp/x"), "path `/tmp/x` is absolute"),
        ("empty-path", at(""), "path `` is empty"),
        ("empty-part", at("a//x"), "path `a//x` has an empty part"),
        ("empty-last-part", at("a/"), "path `a/` has an empty part"),
        ("dot-part", at("a/./x"), "path `a/./x` has a part `.`"),
        ("nul", at("a\0x"), "path `a\\u{0}x` holds a control character"),
        ("newline", at("a\nx"), "path `a\\nx` holds a control character"),
        ("escape-code", at("\u{1b}[2Jx"), "holds a control character"),
        (
            "c1-control",
            at("a\u{9b}x"),
            "path `a\\u{9b}x` holds a control character",
        ),
        (
            "no-text",
            raw(format!("{{\"\u{0}a\":{file}}}")),
            "the tree is malformed: ",
        ),
        (
            "half-a-letter",
            b"{\"a\xff\":\"directory\"}".to_vec(),
            "the tree is malformed: ",
        ),
        (
            "half-a-pair",
            raw(format!("{{\"\\ud800\":{file}}}")),
            "the tree is malformed: ",
        ),
        ("link-absolute", to("a", "/etc"), "link `a` to `/etc` is absolute"),
        ("link-up", to("a", ".."), "link `a` to `..` leaves the directory"),
        ("link-far-up", to("d/a", "../../outside"), "leaves the directory"),
        (
            "link-up-behind-a-name",
            to("a", "b/../../x"),
            "has `..` behind a name",
        ),
        ("link-to-nothing", to("a", ""), "has an empty or overlong target"),
        (
            "link-overlong",
            to("a", &"x".repeat(1025)),
            "has an empty or overlong target",
        ),
        ("link-with-nul", to("a", "b\0c"), "holds a control character"),
        // `a` is the root, `a/..` would be above it: no `..` behind a name adds up.
        (
            "links-in-a-chain",
            encoding(&[
                ("d/a", &link("..")),
                ("d/b", &link("a/../..")),
                ("d/c", &link("b/outside")),
            ]),
            "link `d/b` to `a/../..` has `..` behind a name",
        ),
        (
            "beneath-a-link",
            encoding(&[("a", &link("d")), ("a/x", &file), ("d", r#""directory""#)]),
            "`a/x` lies beneath `a`, which is not a directory",
        ),
        (
            "far-beneath-a-link",
            encoding(&[("a", &link("d")), ("a/b/c/x", &file)]),
            "`a/b/c/x` lies beneath `a`, which is not a directory",
        ),
        (
            "beneath-a-file",
            encoding(&[("a", &file), ("a/x", &file)]),
            "`a/x` lies beneath `a`, which is not a directory",
        ),
        (
            "hard-link",
            encoding(&[("a", r#"{"hard-link":{"target":"b"}}"#)]),
            "unknown variant `hard-link`",
        ),
        (
            "device",
            encoding(&[("a", r#"{"device":{"major":8,"minor":0}}"#)]),
            "unknown variant `device`",
        ),
        ("fifo", encoding(&[("a", r#""fifo""#)]), "unknown variant `fifo`"),
        (
            "socket",
            encoding(&[("a", r#""socket""#)]),
            "unknown variant `socket`",
        ),
        (
            "setuid",
            encoding(&[("a", &file_of(ONE, r#","setuid":true"#))]),
            "unknown field `setuid`",
        ),
        (
            "mode",
            encoding(&[("a", &file_of(ONE, r#","mode":2541"#))]),
            "unknown field `mode`",
        ),
        (
            "owner",
            encoding(&[("a", &file_of(ONE, r#","uid":0"#))]),
            "unknown field `uid`",
        ),
        (
            "attribute",
            encoding(&[("a", &file_of(ONE, r#","xattr":{}"#))]),
            "unknown field `xattr`",
        ),
        (
            "link-with-content",
            encoding(&[("a", r#"{"link":{"target":"b","bytes":1}}"#)]),
            "unknown field `bytes`",
        ),
        (
            "two-kinds",
            encoding(&[("a", &format!("{{\"link\":{{\"target\":\"b\"}},{}", &file[1..]))]),
            "the tree is malformed: ",
        ),
        (
            "twice",
            encoding(&[("a", &file), ("a", &file)]),
            "path `a` is there twice, or out of order",
        ),
        (
            "twice-as-two-things",
            encoding(&[("a", r#""directory""#), ("a", &link("d")), ("a/x", &file)]),
            "path `a` is there twice, or out of order",
        ),
        (
            "out-of-order",
            encoding(&[("b", &file), ("a", &file)]),
            "path `a` is there twice, or out of order",
        ),
        (
            "size-twice",
            encoding(&[("a", &file_of(ONE, r#","bytes":3"#))]),
            "duplicate field `bytes`",
        ),
        (
            "overlong-name",
            at(&"n".repeat(256)),
            "has a part longer than 255 bytes",
        ),
        (
            "overlong-path",
            at(&"nnnn/".repeat(205)),
            "is longer than 1024 bytes",
        ),
        ("too-deep", at(&deep(64)), "is deeper than 64 directories"),
        ("a-million-entries", million, "it has more than 500000 entries"),
        (
            "a-million-directories-above",
            raw(format!("{{{}}}", unlisted.join(","))),
            "it has more than 500000 entries, the directories above them included",
        ),
        (
            "sizes-that-overflow",
            encoding(&[("a", &huge), ("b", &huge)]),
            "its files add up to more bytes than can be counted",
        ),
        (
            "a-size-that-is-none",
            encoding(&[("a", &file.replace(&format!(":{}", ONE.len()), ":-1"))]),
            "the tree is malformed: ",
        ),
        (
            "a-digest-that-is-a-path",
            encoding(&[("a", r#"{"file":{"digest":"../../../../outside/x","bytes":6}}"#)]),
            "is not a digest",
        ),
        (
            "other-sizes-than-signed",
            encoding(&[("a", &file)]),
            "they are not as many as the manifest says",
        ),
        ("empty", raw(String::new()), "the tree is malformed: EOF"),
        (
            "truncated",
            whole[..whole.len() - 1].to_vec(),
            "the tree is malformed: EOF",
        ),
        (
            "garbage-behind",
            [&whole[..], b"x"].concat(),
            "trailing characters",
        ),
        (
            "blanks-behind",
            [&whole[..], b"\n"].concat(),
            "written in another way than its own",
        ),
        (
            "another-tree-behind",
            [&whole[..], &whole[..]].concat(),
            "trailing characters",
        ),
        (
            "blanks-within",
            raw(format!("{{ \"a\":{file}}}")),
            "written in another way than its own",
        ),
        (
            "escaped-for-nothing",
            raw(format!("{{\"\\u0061\":{file}}}")),
            "written in another way than its own",
        ),
        ("a-list", b"[]".to_vec(), "expected a map of paths in order"),
        (
            "nested-without-end",
            vec![b'['; 1 << 20],
            "the tree is malformed: ",
        ),
        ("not-json", vec![0; 4096], "the tree is malformed: "),
    ]
}

#[tokio::test]
async fn trees_that_make_no_sense_are_refused_and_touch_nothing() {
    let cases = cases();
    let mut shelf = Shelf::new();
    shelf.put_blob(ONE);
    let size = ONE.len() as u64;
    for (case, encoded, _) in &cases {
        let sizes = if *case == "other-sizes-than-signed" {
            (2, size)
        } else {
            (1, size)
        };
        shelf.put_encoded(case, 2, encoded.clone(), sizes, |_| {});
    }
    let bench = bench_with_current(shelf).await;
    for (case, _, expected) in &cases {
        let failure = refused(&bench, case).await;
        // Of the empty one nothing ever comes.
        if *case == "empty" {
            assert_eq!(failure.class, FailureClass::Infrastructure, "{}", failure.message);
            continue;
        }
        assert_eq!(
            failure.class,
            FailureClass::Release,
            "{case}: {}",
            failure.message
        );
        let opening = "the files of component web make no sense: ";
        assert!(
            failure.message.starts_with(opening) && failure.message.contains(expected),
            "{case}: {}",
            failure.message
        );
        assert!(
            failure.message.len() < 2000 && !failure.message.contains(char::is_control),
            "{case}: {:?}",
            failure.message
        );
    }
}

/// Names that other systems take for the same, or for something else, are names: what is
/// laid out is what was signed, side by side.
#[tokio::test]
async fn names_that_only_look_alike_lie_side_by_side() {
    let mut shelf = Shelf::new();
    let names: &[(&str, &[u8])] = &[
        ("..\\outside\\x", b"1"),
        ("...", b"2"),
        ("C:\\x", b"3"),
        ("README", b"4"),
        ("readme", b"5"),
        ("caf\u{e9}", b"6"),
        ("cafe\u{301}", b"7"),
        ("-rf", b"8"),
        ("~", b"9"),
        ("x ", b"10"),
        ("\u{202e}x", b"11"),
    ];
    shelf.put("v2", 2, names, |_| {});
    let bench = bench_with_current(shelf).await;
    let before = snapshot(&bench);
    assert_eq!(bench.fetch("v2").await.unwrap(), 2);
    assert!(bench.is_whole("v2"));
    let slot = bench.slots().open(&bench.release("v2")).unwrap();
    let files = slot.files(&"web".parse().unwrap());
    for (name, bytes) in names {
        assert_eq!(std::fs::read(files.join(name)).unwrap(), *bytes, "{name}");
    }
    assert_eq!(std::fs::read_dir(&files).unwrap().count(), names.len());
    let beside: Snapshot = snapshot(&bench)
        .into_iter()
        .filter(|(path, _)| !path.starts_with(slot.path()))
        .collect();
    assert_eq!(beside, before);
}

/// Links that stay inside are laid out; nothing of them leads out, alone or together.
#[tokio::test]
async fn links_that_stay_inside_lead_nowhere_else() {
    let file = file_of(ONE, "");
    let mut shelf = Shelf::new();
    shelf.put_blob(ONE);
    let encoded = encoding(&[
        ("d/a", &link("..")),
        ("d/b", &link("a/d/a/d")),
        ("d/c", &link("./b/x")),
        ("d/x", &file),
        ("loop", &link("loop")),
    ]);
    shelf.put_encoded("v2", 2, encoded, (1, ONE.len() as u64), |_| {});
    let bench = bench_with_current(shelf).await;
    assert_eq!(bench.fetch("v2").await.unwrap(), 2);
    let slot = bench.slots().open(&bench.release("v2")).unwrap();
    let files = slot.files(&"web".parse().unwrap()).canonicalize().unwrap();
    for path in ["d/a", "d/b", "d/c"] {
        let leads = files.join(path).canonicalize().unwrap();
        assert!(leads.starts_with(&files), "{path} leads to {}", leads.display());
    }
    assert_eq!(std::fs::read(files.join("d/c")).unwrap(), ONE);
}

#[tokio::test]
async fn stores_that_never_end_or_lie_about_sizes_are_left() {
    let stranger = Digest::of(b"a stranger");
    for (case, manners, class, expected) in [
        (
            "overrun",
            Manners::Overruns,
            FailureClass::Infrastructure,
            "which nobody asked for",
        ),
        (
            "repeat",
            Manners::Repeats,
            FailureClass::Infrastructure,
            "which nobody asked for",
        ),
        (
            "drip",
            Manners::Drips,
            FailureClass::Infrastructure,
            "the artifact store sent nothing of ",
        ),
        (
            "huge",
            Manners::Claims(1 << 40),
            FailureClass::Infrastructure,
            "expected at most 134217728",
        ),
        (
            "beyond-all",
            Manners::Claims(u64::MAX),
            FailureClass::Infrastructure,
            "expected at most 134217728",
        ),
        (
            "tiny",
            Manners::Claims(1),
            FailureClass::Infrastructure,
            "expected at most 134217728",
        ),
        (
            "stranger",
            Manners::Offers(stranger),
            FailureClass::Infrastructure,
            "which nobody asked for",
        ),
        (
            "corrupt",
            Manners::Corrupt(usize::MAX),
            FailureClass::Infrastructure,
            "the artifact is corrupt: 3 times",
        ),
        (
            "endless",
            Manners::Endless,
            FailureClass::Infrastructure,
            "the artifact is corrupt: 3 times",
        ),
    ] {
        let mut shelf = Shelf::new();
        shelf.put(case, 2, &[("b", &[7; 3000])], |_| {});
        let bench = bench_with_current(shelf).await;
        bench.behave(manners);
        let failure = refused(&bench, case).await;
        assert_eq!(failure.class, class, "{case}: {}", failure.message);
        assert!(failure.message.contains(expected), "{case}: {}", failure.message);
        // The same once the tree is here, of files whose sizes are signed.
        bench.behave(Manners::Closes(1));
        refused(&bench, case).await;
    }
}

/// As an app might try that got hold of a directory of the agent's.
#[tokio::test]
async fn what_is_planted_in_the_way_of_a_fetch_is_not_followed() {
    let content = [7; 3000];
    let mut shelf = Shelf::new();
    shelf.put("v2", 2, &[("b", &content)], |_| {});
    let bench = bench_with_current(shelf).await;
    let incoming = bench.node.layout.incoming(&"shop".parse().unwrap());
    let slot = bench
        .node
        .layout
        .slot(&"shop".parse().unwrap(), &bench.release("v2").digest);
    let outside = bench.root().join("outside");
    let digest = Digest::of(&content);

    std::fs::remove_dir_all(&incoming).ok();
    std::fs::create_dir_all(incoming.parent().unwrap()).unwrap();
    symlink(&outside, &incoming).unwrap();
    // To what is not there: a switch would lead into nothing.
    symlink(bench.root().join("nowhere"), &slot).unwrap();
    let before = snapshot(&bench);
    bench.behave(Manners::Closes(2));
    assert!(bench.fetch("v2").await.is_err());
    assert!(!incoming.is_symlink() && incoming.is_dir());
    // Under the names that the blobs will have, and on the way to them.
    for (name, target) in [
        (digest.to_string(), "outside/x"),
        (format!("{digest}.part"), "outside/x"),
    ] {
        let place = incoming.join(name);
        std::fs::remove_file(&place).ok();
        symlink(bench.root().join(target), place).unwrap();
    }
    bench.behave(Manners::Good);
    assert_eq!(bench.fetch("v2").await.unwrap(), 2);
    assert!(bench.is_whole("v2"));
    assert!(!slot.is_symlink());
    let now = snapshot(&bench);
    for (path, was) in &before {
        let is_ours = path.starts_with(&slot) || path.starts_with(&incoming);
        assert!(
            is_ours || now.get(path) == Some(was),
            "{} was changed",
            path.display()
        );
    }

    // A pipe in the place of a file keeps nobody waiting.
    let planted = incoming.join(format!("{digest}.part"));
    std::fs::remove_dir_all(&slot).unwrap();
    std::fs::create_dir_all(&incoming).unwrap();
    nix::unistd::mkfifo(&planted, Mode::S_IRWXU).unwrap();
    let laid_out = bench.slots().open(&bench.release("v1")).unwrap();
    let old = laid_out.files(&"web".parse().unwrap()).join("a");
    std::fs::remove_file(&old).unwrap();
    nix::unistd::mkfifo(&old, Mode::S_IRWXU).unwrap();
    let fetched = tokio::time::timeout(PATIENCE, bench.fetch("v2")).await;
    assert_eq!(fetched.expect("it waits for a pipe").unwrap(), 2);
}

fn runs(manifest: &mut Manifest) {
    let Run::Supervise(run) = &mut manifest.components[0].run else {
        unreachable!()
    };
    run.command = ["sh", "-c", "exec sleep 1000"].map(str::to_owned).to_vec();
    run.grace = Span::from_secs(1);
    manifest.health.min_healthy = Span::from_millis(50);
    manifest.health.healthy_deadline = Span::from_secs(15);
}

async fn order(visit: &Visit, generation: u32, order: Order) {
    let command = Command {
        fence: Fence {
            term: 1,
            rollout: RolloutNumber(1),
            generation,
        },
        app: "shop".parse().unwrap(),
        order,
    };
    visit.say(ToAgent::Command(command)).await;
}

fn process(bench: &Bench) -> ProcessId {
    let said = bench
        .command()
        .args(["status", "--output", "json"])
        .output()
        .unwrap();
    let status: NodeStatus = serde_json::from_slice(&said.stdout).unwrap();
    ProcessId::of(status.apps[0].components[0].pid.unwrap()).unwrap()
}

/// Through the agent itself: the process of the good release never notices.
#[tokio::test]
async fn the_running_release_goes_on_while_evil_ones_are_refused() {
    let chosen = [
        "up-first",
        "link-absolute",
        "beneath-a-link",
        "setuid",
        "twice",
        "truncated",
    ];
    let mut shelf = Shelf::new();
    shelf.put_blob(ONE);
    shelf.put("v1", 1, &[("a", b"one")], runs);
    for (case, encoded, _) in cases() {
        if chosen.contains(&case) {
            shelf.put_encoded(case, 2, encoded, (1, ONE.len() as u64), runs);
        }
    }
    let mut bench = shelf.bench("").await;
    bench.run_agent();
    let mut visit = bench.visit().await;
    visit.welcome().await;
    let release = bench.release("v1");
    order(&visit, 1, Order::Deploy { release }).await;
    visit.until_phase(Phase::Baking).await;
    order(&visit, 2, Order::Commit).await;
    visit.until_phase(Phase::Done).await;
    let running = process(&bench);
    for (generation, case) in (3..).zip(chosen) {
        let release = bench.release(case);
        order(&visit, generation, Order::Deploy { release }).await;
        let failed = visit.until_phase(Phase::Failed).await;
        let why = failed.step.unwrap().failure.unwrap();
        assert_eq!(why.class, FailureClass::Release, "{case}: {}", why.message);
        assert!(why.message.contains("make no sense"), "{case}: {}", why.message);
        assert_eq!(failed.current, Some(bench.release("v1")), "{case}");
        assert!(running.is_alive(), "{case}");
        assert_eq!(process(&bench), running, "{case}");
    }
    assert!(bench.is_whole("v1"));
}
