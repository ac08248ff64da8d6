//! What a tree holds, and what it refuses to hold.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use fleet_proto::digest::Digest;
use fleet_proto::tree::{Entry, Tree, TreePath};
use fleetctl::pack::{Packed, Source, pack};

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn tree_of(packed: &Packed) -> Tree {
    match &packed.blobs[&packed.artifact.tree] {
        Source::Memory(encoded) => Tree::decode(encoded).unwrap(),
        Source::File { .. } => unreachable!("a tree's encoding is in memory"),
    }
}

fn refused(path: &Path) -> String {
    let error = pack(path).unwrap_err();
    let source = std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
    format!("{error}{source}")
}

#[test]
fn a_directory_becomes_a_tree_whatever_order_it_is_read_in() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(&root.join("b/server"), "binary", 0o755);
    write(&root.join("a.txt"), "text", 0o644);
    write(&root.join("copy.txt"), "text", 0o600);
    symlink("b/server", root.join("link")).unwrap();
    let packed = pack(root).unwrap();
    let tree = tree_of(&packed);
    let listed: Vec<&str> = tree.entries().keys().map(TreePath::as_str).collect();
    assert_eq!(listed, ["a.txt", "b", "b/server", "copy.txt", "link"]);
    let file = |text: &str, executable| Entry::File {
        digest: Digest::of(text.as_bytes()),
        bytes: text.len() as u64,
        executable,
    };
    let entries: Vec<&Entry> = tree.entries().values().collect();
    assert_eq!(*entries[0], file("text", false));
    assert_eq!(*entries[2], file("binary", true));
    assert_eq!(
        *entries[4],
        Entry::Link {
            target: "b/server".into()
        }
    );
    // Equal files are one blob; the tree's own encoding is another.
    assert_eq!(packed.blobs.len(), 3);
    assert_eq!((packed.artifact.files, packed.artifact.bytes), (3, 14));
}

#[test]
fn a_single_file_becomes_a_tree_of_one() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("server"), "binary", 0o755);
    let tree = tree_of(&pack(&directory.path().join("server")).unwrap());
    assert_eq!(tree.entries().keys().next().unwrap().as_str(), "server");
    symlink("server", directory.path().join("current")).unwrap();
    let tree = tree_of(&pack(&directory.path().join("current")).unwrap());
    assert_eq!(tree.entries().keys().next().unwrap().as_str(), "current");
}

#[test]
fn links_that_leave_are_refused() {
    for target in ["/etc/passwd", "../outside", "a/../../outside"] {
        let directory = tempfile::tempdir().unwrap();
        write(&directory.path().join("a/file"), "x", 0o644);
        symlink(target, directory.path().join("link")).unwrap();
        let message = refused(directory.path());
        assert!(message.contains("link `link` to"), "{message}");
    }
}

#[test]
fn what_a_release_cannot_hold_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    write(&directory.path().join("su"), "x", 0o4755);
    assert!(refused(directory.path()).ends_with("su has the setuid or setgid bit; a release cannot hold it"));

    let directory = tempfile::tempdir().unwrap();
    let _listener = UnixListener::bind(directory.path().join("app.sock")).unwrap();
    assert!(refused(directory.path()).ends_with("app.sock is a socket, which a release cannot hold"));

    assert!(refused(Path::new("/dev/null")).ends_with("/dev/null is a device, which a release cannot hold"));
    assert!(refused(tempfile::tempdir().unwrap().path()).ends_with("holds no file"));
    assert!(refused(Path::new("/no/such/place")).starts_with("cannot read /no/such/place"));
}

#[test]
fn a_program_that_could_never_start_is_found_before_it_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(&root.join("bin/server"), "binary", 0o755);
    write(&root.join("notes.txt"), "text", 0o644);
    symlink("bin/server", root.join("server")).unwrap();
    let packed = pack(root).unwrap();
    for (program, expected) in [
        ("./bin/server", None),
        ("bin/server", None),
        ("./server", None),
        ("/usr/bin/env", None),
        ("python3", None),
        ("./${var.program}", None),
        (
            "./nonesuch",
            Some("starts `./nonesuch`, which is not among its files"),
        ),
        ("./bin", Some("starts `./bin`, which is a directory")),
        (
            "./notes.txt",
            Some("starts `./notes.txt`, which is not executable"),
        ),
    ] {
        assert_eq!(packed.why_not_started(program).as_deref(), expected);
    }
}
