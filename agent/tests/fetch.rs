//! Fetching from a store that behaves, and from stores that do not, over mutual TLS.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test says where"
)]

mod bench;

use fleet_agent::effects::admit::History;
use fleet_proto::digest::Digest;
use fleet_proto::session::FailureClass;
use fleet_proto::signing::SecretKey;

use bench::shelf::{Files, Shelf};
use bench::store::{Manners, PIECE};

fn bytes(seed: u8, count: usize) -> Vec<u8> {
    (0..count)
        .map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

#[tokio::test]
async fn only_what_is_new_is_fetched_and_in_one_stream() {
    let mut shelf = Shelf::new();
    let (one, two, three) = (bytes(1, 5000), bytes(2, 300), bytes(3, 2500));
    shelf.put("v1", 1, &[("a", &one), ("b", &two), ("copy", &one)], |_| {});
    shelf.put("v2", 2, &[("a", &one), ("b", &three), ("empty", b"")], |_| {});
    let bench = shelf.bench("").await;
    assert_eq!(bench.fetch("v1").await.unwrap(), 1);
    assert!(bench.is_whole("v1"));
    assert_eq!(bench.asked().len(), 2, "the tree, then its files");
    assert_eq!(bench.fetch("v2").await.unwrap(), 2);
    assert!(bench.is_whole("v2"));
    assert_eq!(bench.asked()[1], [(Digest::of(&three), 0)]);
    // What is here already is not fetched again.
    assert_eq!(bench.fetch("v2").await.unwrap(), 2);
    assert!(bench.asked().is_empty());
}

#[tokio::test]
async fn an_interrupted_download_goes_on_where_it_stood() {
    let mut shelf = Shelf::new();
    let one = bytes(1, 7 * PIECE + 10);
    shelf.put("v1", 1, &[("a", &one)], |_| {});
    let bench = shelf.bench("").await;
    bench.behave(Manners::BreaksOffAfter(3));
    assert_eq!(bench.fetch("v1").await.unwrap(), 1);
    assert!(bench.is_whole("v1"));
    let offsets: Vec<u64> = bench.asked()[1..].iter().map(|asked| asked[0].1).collect();
    assert_eq!(offsets, [0, 3 * PIECE as u64, 6 * PIECE as u64]);
}

#[tokio::test]
async fn bytes_that_were_hurt_on_the_way_are_asked_for_again_and_not_for_ever() {
    let mut shelf = Shelf::new();
    let one = bytes(1, 3000);
    shelf.put("v1", 1, &[("a", &one)], |_| {});
    let bench = shelf.bench("").await;
    bench.behave(Manners::Corrupt(2));
    assert_eq!(bench.fetch("v1").await.unwrap(), 1);

    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", &one)], |_| {});
    let bench = shelf.bench("").await;
    bench.behave(Manners::Corrupt(usize::MAX));
    let failure = bench.fetch("v1").await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Infrastructure);
    assert!(
        failure.message.starts_with("the artifact is corrupt: 3 times"),
        "{}",
        failure.message
    );
    assert!(failure.figure.is_some() && failure.limit.is_some());
    bench.nothing_is_left();
}

#[tokio::test]
async fn a_store_that_sends_more_than_was_signed_is_cut_off() {
    let mut shelf = Shelf::new();
    let one = bytes(1, 3000);
    shelf.put("v1", 1, &[("a", &one)], |_| {});
    let bench = shelf.bench("").await;
    // The tree first, whose size only has a bound; then a file, whose size is signed.
    let tree = bench.fetch("v1").await;
    assert!(tree.is_ok());
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", &one), ("b", &bytes(9, 10))], |_| {});
    let bench = shelf.bench("").await;
    bench.behave(Manners::Endless);
    let failure = bench.fetch("v1").await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Infrastructure);
    bench.nothing_is_left();
}

#[tokio::test]
async fn what_must_not_run_here_is_refused_before_a_byte_is_fetched() {
    let one = bytes(1, 10);
    let files: Files<'_> = &[("a", &one)];
    let mut shelf = Shelf::new();
    shelf.put("old", 3, files, |_| {});
    shelf.put("other-app", 9, files, |manifest| {
        manifest.app = "bank".parse().unwrap();
    });
    shelf.put("other-version", 9, files, |manifest| {
        manifest.version = "v0".parse().unwrap();
    });
    shelf.put("other-platform", 9, files, |manifest| {
        let artifacts = &mut manifest.components[0].artifacts;
        let artifact = artifacts.pop_first().unwrap().1;
        artifacts.insert("plan9/mips".parse().unwrap(), artifact);
    });
    shelf.put("template", 9, files, |manifest| {
        let fleet_proto::release::Run::Supervise(run) = &mut manifest.components[0].run else {
            unreachable!()
        };
        run.command.push("${var.nope}".to_owned());
    });
    shelf.put("patient", 9, files, |manifest| {
        let fleet_proto::release::Run::Supervise(run) = &mut manifest.components[0].run else {
            unreachable!()
        };
        run.grace = fleet_proto::quantity::Span::from_secs(3600);
    });
    shelf.put("address", 9, files, |manifest| {
        let check = serde_json::json!({
            "name": "health", "probe": {"kind": "http", "url": "http://127.0.0.1:${var.port}/health"}
        });
        manifest.components[0].checks = vec![serde_json::from_value(check).unwrap()];
    });
    let bench = shelf.bench("vars.port = \"none\"").await;
    let history = History {
        environment: None,
        floor: 5,
        was_good: false,
    };
    for (version, expected) in [
        (
            "old",
            "old is older than what this node ran well (counter 3, floor 5)",
        ),
        (
            "other-app",
            "the signed manifest is for bank other-app, ordered was shop other-app",
        ),
        (
            "other-version",
            "the signed manifest is for shop v0, ordered was shop other-version",
        ),
        (
            "other-platform",
            "component web of other-platform has no artifact for linux/",
        ),
        (
            "template",
            "component web: `${var.nope}` is not set for this node",
        ),
        ("patient", "component web: its grace is 1h, the limit is 10m"),
        (
            "address",
            "component web: check health: `http://127.0.0.1:${var.port}/health` is not",
        ),
    ] {
        let failure = bench.fetch_after(version, &history).await.unwrap_err();
        assert_eq!(failure.class, FailureClass::Release, "{version}");
        assert!(failure.message.starts_with(expected), "{}", failure.message);
    }
    assert!(bench.asked().is_empty());
    bench.nothing_is_left();
    // The node's own past is stronger than the floor.
    let history = History {
        environment: None,
        floor: 5,
        was_good: true,
    };
    assert_eq!(bench.fetch_after("old", &history).await.unwrap(), 3);
}

#[tokio::test]
async fn a_key_that_is_not_pinned_signs_nothing_here() {
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", b"x")], |_| {});
    shelf.key = SecretKey::generate().unwrap();
    let bench = shelf.bench("").await;
    let failure = bench.fetch("v1").await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Release);
    assert!(
        failure
            .message
            .starts_with("v1 must not run here: signed by 0 of the 1 release keys"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn a_disk_that_is_too_small_is_said_with_figures() {
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", b"x")], |_| {});
    let bench = shelf.bench("limits.disk_reserve = \"4000TiB\"").await;
    let failure = bench.fetch("v1").await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Infrastructure);
    assert!(
        failure.message.starts_with("the disk is too small for v1: "),
        "{}",
        failure.message
    );
    assert!(failure.figure.is_some() && failure.limit.is_some());
    bench.nothing_is_left();
}

/// Somebody else fills the disk while a release comes.
#[tokio::test]
async fn a_disk_that_fills_up_meanwhile_ends_the_fetch_and_what_came_is_not_lost() {
    const MEBIBYTE: usize = 1 << 20;
    let mut shelf = Shelf::new();
    let one = bytes(1, 16 * MEBIBYTE);
    shelf.put("v1", 1, &[("a", &one)], |_| {});
    let mut bench = shelf.bench("limits.disk_reserve = \"1MiB\"").await;
    bench.free_while_used(|used| {
        if used < 3 * MEBIBYTE as u64 {
            64 << 20
        } else {
            2 << 20
        }
    });
    let failure = bench.fetch("v1").await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Infrastructure);
    assert!(
        failure
            .message
            .starts_with("the disk is too small for v1: 2MiB are free, "),
        "{}",
        failure.message
    );
    assert_eq!(failure.figure.as_deref(), Some("2MiB"));
    assert!(failure.limit.is_some());
    bench.nothing_is_left();
    let had = bench.used();
    assert!((3 * MEBIBYTE as u64..9 * MEBIBYTE as u64).contains(&had), "{had}");

    let _asked_so_far = bench.asked();
    bench.free_while_used(|_| 64 << 20);
    assert_eq!(bench.fetch("v1").await.unwrap(), 1);
    assert!(bench.is_whole("v1"));
    let offset = bench.asked().last().unwrap()[0].1;
    assert!(offset >= 3 * MEBIBYTE as u64, "{offset}");
}

/// What an earlier release left half fetched makes room, and what was fetched of this
/// one counts as there.
#[tokio::test]
async fn only_what_is_still_to_be_written_has_to_have_room() {
    let mut shelf = Shelf::new();
    let (one, two) = (bytes(1, 200 * PIECE), bytes(2, 200 * PIECE));
    shelf.put("v1", 1, &[("a", &one)], |_| {});
    shelf.put("v2", 2, &[("a", &two)], |_| {});
    let mut bench = shelf.bench("limits.disk_reserve = \"0B\"").await;
    bench.behave(Manners::Closes(150));
    assert!(bench.fetch("v1").await.is_err());
    bench.behave(Manners::Good);
    let room = (210 * PIECE) as u64;
    bench.free_while_used(move |used| room.saturating_sub(used));
    assert_eq!(bench.fetch("v2").await.unwrap(), 2);
    assert!(bench.is_whole("v2"));
}

#[tokio::test]
async fn an_app_that_the_node_does_not_accept_is_refused() {
    let mut shelf = Shelf::new();
    shelf.put("v1", 1, &[("a", b"x")], |_| {});
    let bench = shelf.bench("apps = [\"bank\"]").await;
    let failure = bench.fetch("v1").await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Release);
    assert!(
        failure.message.contains("does not accept app shop"),
        "{}",
        failure.message
    );
}
