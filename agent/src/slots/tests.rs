use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};

use fleet_proto::release::Platform;
use fleet_proto::signing::{Pinned, SecretKey};
use fleet_proto::tree::{Entry, TreePath};
use serde_json::json;

use super::*;
use crate::process::proc::{self, ProcessId};
use crate::process::run_directory::{KeeperState, RunDirectory};
use crate::process::spec::Spec;

struct Bench {
    directory: tempfile::TempDir,
    slots: Slots,
    key: SecretKey,
}

/// Path and contents; a path that ends in `*` is executable.
type Files<'a> = &'a [(&'a str, &'a str)];

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            slots: Slots::new(&Layout::new(directory.path()), &"shop".parse().unwrap()),
            directory,
            key: SecretKey::generate().unwrap(),
        }
    }

    fn tree(files: Files<'_>) -> Tree {
        let mut entries: BTreeMap<TreePath, Entry> = BTreeMap::new();
        for (path, text) in files {
            let entry = match text.strip_prefix("-> ") {
                Some(target) => Entry::Link {
                    target: target.to_owned(),
                },
                None => Entry::File {
                    digest: Digest::of(text.as_bytes()),
                    bytes: text.len() as u64,
                    executable: path.ends_with('*'),
                },
            };
            let path = path.trim_end_matches('*').to_owned();
            entries.insert(path.try_into().unwrap(), entry);
        }
        Tree::new(entries).unwrap()
    }

    fn release(&self, version: &str, files: Files<'_>) -> (ReleaseRef, SignedManifest, Tree) {
        let tree = Self::tree(files);
        let encoded = tree.encode().unwrap();
        let manifest: Manifest = serde_json::from_value(json!({
            "format": 1, "app": "shop", "version": version, "counter": 1, "created_at": 0,
            "components": [{
                "name": "web",
                "artifacts": {"any": {
                    "tree": Digest::of(&encoded), "files": tree.files().count(), "bytes": tree.bytes()
                }},
                "run": {"kind": "supervise", "command": ["./web"]},
            }],
        }))
        .unwrap();
        let signed = manifest
            .sign(std::slice::from_ref(&self.key))
            .unwrap_or_else(|_| unreachable!());
        let release = ReleaseRef {
            version: version.parse().unwrap(),
            digest: signed.digest(),
        };
        (release, signed, tree)
    }

    /// Builds with whatever is on the node, and says what was missing at first.
    fn build(&self, version: &str, files: Files<'_>) -> (ReleaseRef, usize) {
        let (release, signed, tree) = self.release(version, files);
        let mut building = self.slots.build(&release).unwrap();
        building.write_manifest(&signed).unwrap();
        building
            .write_tree(&"web".parse().unwrap(), &tree.encode().unwrap(), tree)
            .unwrap();
        let others: Vec<Slot> = self.slots.all().into_values().collect();
        let missing = building.copy_from(&others).unwrap();
        let incoming = self.directory.path().join("incoming");
        std::fs::create_dir_all(&incoming).unwrap();
        for (_, text) in files {
            std::fs::write(incoming.join(Digest::of(text.as_bytes()).to_string()), text).unwrap();
        }
        assert!(building.place_from(&incoming).unwrap().is_empty());
        building.finish().unwrap();
        std::fs::remove_dir_all(incoming).unwrap();
        (release, missing.len())
    }

    fn file(&self, release: &ReleaseRef, path: &str) -> PathBuf {
        self.slots
            .open(release)
            .unwrap()
            .files(&"web".parse().unwrap())
            .join(path)
    }

    fn staging(&self) -> Vec<String> {
        let app = self.directory.path().join("apps/shop");
        std::fs::read_dir(app)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with(STAGING))
            .collect()
    }
}

#[test]
fn a_slot_holds_what_the_tree_says_and_nothing_else() {
    let bench = Bench::new();
    let (release, missing) = bench.build(
        "v1",
        &[
            ("web*", "#!"),
            ("etc/conf", "a = 1"),
            ("etc/empty", ""),
            ("latest", "-> etc/conf"),
        ],
    );
    assert_eq!(missing, 2, "what is empty need not be fetched");
    let mode = |path: &str| {
        let about = bench.file(&release, path).metadata().unwrap();
        about.permissions().mode() & 0o7777
    };
    assert_eq!(
        (mode("web"), mode("etc/conf"), mode("etc")),
        (0o755, 0o644, 0o755)
    );
    assert_eq!(
        std::fs::read_to_string(bench.file(&release, "latest")).unwrap(),
        "a = 1"
    );
    assert!(bench.slots.open(&release).unwrap().is_whole());
    assert!(bench.staging().is_empty());
    let pinned = Pinned {
        release_keys: [bench.key.public()].into(),
        threshold: 1,
    };
    bench.slots.signed(&release).unwrap().verify(&pinned).unwrap();
    assert!(Platform::here() != Platform::any());
}

#[test]
fn only_what_no_slot_has_is_missing_and_a_changed_file_counts_as_missing() {
    let bench = Bench::new();
    let (first, _) = bench.build("v1", &[("a", "one"), ("b", "two"), ("c", "three")]);
    let (_, missing) = bench.build("v2", &[("a", "one"), ("b", "two"), ("c", "four")]);
    assert_eq!(missing, 1);
    bench.slots.retire(|digest| *digest == first.digest).unwrap();

    // The same length, so that only the hash can tell.
    std::fs::write(bench.file(&first, "a"), "ONE").unwrap();
    assert!(!bench.slots.open(&first).unwrap().is_whole());
    let (third, missing) = bench.build("v3", &[("a", "one"), ("b", "two")]);
    assert_eq!(missing, 1);
    assert_eq!(std::fs::read_to_string(bench.file(&third, "a")).unwrap(), "one");
}

/// A release takes its room once: what was fetched is not copied.
#[test]
fn what_was_fetched_is_moved_into_its_place() {
    let bench = Bench::new();
    let (release, signed, tree) = bench.release("v1", &[("a*", "one"), ("b", "one"), ("c", "two")]);
    let mut building = bench.slots.build(&release).unwrap();
    building.write_manifest(&signed).unwrap();
    building
        .write_tree(&"web".parse().unwrap(), &tree.encode().unwrap(), tree)
        .unwrap();
    let incoming = bench.directory.path().join("incoming");
    std::fs::create_dir_all(&incoming).unwrap();
    let blob = |text: &str| incoming.join(Digest::of(text.as_bytes()).to_string());
    let before = building.bytes_needed();
    std::fs::write(blob("one"), "one").unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&blob("one").metadata().unwrap());
    // What a power cut has emptied is found out, and only that is asked for again.
    std::fs::write(blob("two"), "tw\0").unwrap();
    let lost = building.place_from(&incoming).unwrap();
    assert_eq!(lost.iter().map(|lost| lost.bytes).collect::<Vec<_>>(), [3]);
    assert!(!blob("one").exists(), "it was copied");
    assert_eq!(building.bytes_needed() * 3, before);
    std::fs::write(blob("two"), "two").unwrap();
    assert!(building.place_from(&incoming).unwrap().is_empty());
    assert_eq!(
        (
            building.bytes_needed(),
            std::fs::read_dir(&incoming).unwrap().count()
        ),
        (0, 0)
    );
    building.finish().unwrap();
    let about = |path: &str| bench.file(&release, path).metadata().unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&about("a")), inode);
    assert_eq!(about("a").permissions().mode() & 0o7777, 0o755);
    assert_eq!(about("b").permissions().mode() & 0o7777, 0o644);
    assert!(bench.slots.open(&release).unwrap().is_whole());
}

#[test]
fn links_that_were_planted_are_not_followed() {
    let bench = Bench::new();
    let outside = bench.directory.path().join("secret");
    std::fs::write(&outside, "one").unwrap();
    let (first, _) = bench.build("v1", &[("a", "one")]);
    let planted = bench.file(&first, "a");
    std::fs::remove_file(&planted).unwrap();
    symlink(&outside, &planted).unwrap();
    let (_, missing) = bench.build("v2", &[("a", "one"), ("b", "x")]);
    assert_eq!(
        missing, 2,
        "a link with the right bytes behind it is still no file"
    );
}

#[test]
fn switching_is_atomic_and_can_be_repeated() {
    let bench = Bench::new();
    let (first, _) = bench.build("v1", &[("a", "one")]);
    let (second, _) = bench.build("v2", &[("a", "two")]);
    let link = bench.directory.path().join("apps/shop/current");
    assert_eq!(bench.slots.current(), None);
    for release in [&first, &first, &second] {
        bench.slots.switch(Some(release)).unwrap();
        assert_eq!(bench.slots.current(), Some(release.digest));
        assert!(link.join(MANIFEST).exists());
    }
    // All that needs room is done before the switch, and is not the switch.
    bench.slots.prepare_switch(&first).unwrap();
    assert_eq!(bench.slots.current(), Some(second.digest));
    // What a power cut left of an earlier switch is in nobody's way.
    std::fs::remove_file(durable::beside(&link, "new")).unwrap();
    symlink("nowhere", durable::beside(&link, "new")).unwrap();
    bench.slots.switch(Some(&first)).unwrap();
    bench.slots.switch(None).unwrap();
    assert_eq!(bench.slots.current(), None);
    bench.slots.switch(None).unwrap();
}

#[test]
fn pruning_never_takes_what_is_kept_or_current() {
    let bench = Bench::new();
    let (first, _) = bench.build("v1", &[("a", "one")]);
    let (second, _) = bench.build("v2", &[("a", "two")]);
    let (third, _) = bench.build("v3", &[("a", "three")]);
    bench.slots.switch(Some(&first)).unwrap();
    let gone = bench.slots.retire(|digest| *digest == second.digest).unwrap();
    assert!(bench.slots.has(&first) && bench.slots.has(&second) && !bench.slots.has(&third));
    // Out of the way, and not yet removed, which takes long: in the meantime the same
    // release may come and go again.
    assert_eq!(bench.slots.leftovers(), gone);
    bench.build("v3", &[("a", "three")]);
    let again = bench.slots.retire(|digest| *digest == second.digest).unwrap();
    assert_eq!((gone.len(), again.len()), (1, 1));
    assert_ne!(gone, again);
    // So does what was fetched in vain.
    let incoming = bench.slots.layout.incoming(&"shop".parse().unwrap());
    assert_eq!(bench.slots.retire_incoming().unwrap(), None);
    std::fs::create_dir_all(&incoming).unwrap();
    let retired = bench.slots.retire_incoming().unwrap().unwrap();
    assert!(!incoming.exists() && bench.slots.leftovers().contains(&retired));
}

#[test]
fn a_slot_in_which_a_process_lives_is_not_taken_away() {
    let bench = Bench::new();
    let (first, _) = bench.build("v1", &[("a", "one")]);
    let (second, _) = bench.build("v2", &[("a", "two")]);
    bench.slots.switch(Some(&second)).unwrap();
    let (app, web) = ("shop".parse().unwrap(), "web".parse::<ComponentName>().unwrap());
    let run = RunDirectory::new(bench.slots.layout.run(&app, &web));
    run.create().unwrap();
    let spec: Spec = serde_json::from_value(json!({
        "release": first.digest, "tree": first.digest, "directory": bench.file(&first, ""),
        "env": {}, "home": "/",
        "how": {"by": "supervise", "command": ["./web"], "stop_signal": "SIGTERM", "grace": "1s"},
    }))
    .unwrap();
    let is_kept = || {
        let gone = bench.slots.retire(|_| false).unwrap();
        assert_eq!(gone.is_empty(), bench.slots.has(&first));
        bench.slots.has(&first)
    };
    // This very process stands for its keeper, which is alive.
    let state = KeeperState {
        boot: proc::boot_id(),
        spec: spec.fingerprint(),
        keeper: ProcessId::own().unwrap(),
        app: None,
        restarts: 0,
        since: fleet_proto::time::Timestamp(0),
        last_exit: None,
    };
    run.write_state(&state).unwrap();
    // Nothing says where it lives, and it might be anywhere.
    assert_eq!(bench.slots.in_use().unknown, std::slice::from_ref(&web));
    assert!(is_kept());
    run.write_spec(&spec).unwrap();
    assert_eq!(bench.slots.in_use().by(&first.digest), [web]);
    assert!(is_kept());
    // A keeper that is gone needs nothing.
    let mut gone = state;
    gone.keeper.start_ticks += 1;
    run.write_state(&gone).unwrap();
    assert!(!is_kept());
}

#[test]
fn what_is_half_built_is_no_slot_and_is_swept() {
    let bench = Bench::new();
    let (release, signed, _) = bench.release("v1", &[("a", "one")]);
    let building = bench.slots.build(&release).unwrap();
    building.write_manifest(&signed).unwrap();
    assert!(!bench.slots.has(&release));
    assert_eq!(bench.staging().len(), 1);
    // A power cut: nobody drops anything.
    std::mem::forget(building);
    for left in bench.slots.leftovers() {
        durable::remove(&left).unwrap();
    }
    assert!(bench.staging().is_empty());
}

#[test]
fn a_slot_under_another_name_is_refused() {
    let bench = Bench::new();
    let (first, _) = bench.build("v1", &[("a", "one")]);
    let (other, ..) = bench.release("v2", &[("a", "two")]);
    let slots = bench.directory.path().join("apps/shop/slots");
    std::fs::rename(
        slots.join(first.digest.to_string()),
        slots.join(other.digest.to_string()),
    )
    .unwrap();
    assert!(matches!(
        bench.slots.open(&other),
        Err(SlotError::WrongRelease { .. })
    ));
    assert!(matches!(bench.slots.open(&first), Err(SlotError::Absent { .. })));
    assert!(bench.slots.all().is_empty());
}
