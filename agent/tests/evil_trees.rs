//! Releases that try to reach beyond their own directory, as a release key that was stolen
//! would sign them or a captured store would serve them. Each is refused with a message
//! that says why, nothing beside it is touched, and what runs goes on.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test says where"
)]

mod bench;

#[path = "evil_trees/cases.rs"]
mod cases;
#[path = "evil_trees/snapshot.rs"]
mod snapshot;

use std::os::unix::fs::symlink;
use std::time::Duration;

use bench::Bench;
use bench::shelf::{Shelf, runs};
use bench::store::Manners;
use cases::{ONE, cases, encoding, file_of, link};
use fleet_agent::process::proc::ProcessId;
use fleet_proto::digest::Digest;
use fleet_proto::session::{Failure, FailureClass, Order, Phase};
use nix::sys::stat::Mode;
use snapshot::{Snapshot, incoming_holds_blobs_only, snapshot};

const PATIENCE: Duration = Duration::from_secs(20);

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

fn process(bench: &Bench) -> ProcessId {
    let status = bench.status();
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
    shelf.put("v1", 1, &[("a", b"one")], runs(50));
    for (case, encoded, _) in cases() {
        if chosen.contains(&case) {
            shelf.put_encoded(case, 2, encoded, (1, ONE.len() as u64), runs(50));
        }
    }
    let mut bench = shelf.bench("").await;
    bench.run_agent();
    let mut visit = bench.visit().await;
    visit.welcome().await;
    let release = bench.release("v1");
    visit.order(1, Order::Deploy { release }).await;
    visit.until_phase(Phase::Baking).await;
    visit.order(2, Order::Commit).await;
    visit.until_phase(Phase::Done).await;
    let running = process(&bench);
    for (generation, case) in (3..).zip(chosen) {
        let release = bench.release(case);
        visit.order(generation, Order::Deploy { release }).await;
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
