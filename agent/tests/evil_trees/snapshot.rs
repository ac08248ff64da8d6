//! Everything around a release, to be compared.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fleet_proto::digest::Digest;

use crate::bench::Bench;

/// What a path is: its mode, and its bytes or where it leads.
pub type Snapshot = BTreeMap<PathBuf, (u32, Vec<u8>)>;

/// All that is there, except the app's blobs on their way in.
pub fn snapshot(bench: &Bench) -> Snapshot {
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
pub fn incoming_holds_blobs_only(bench: &Bench, case: &str) {
    let incoming = bench.node.layout.incoming(&"shop".parse().unwrap());
    for entry in std::fs::read_dir(incoming).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let digest = name.strip_suffix(".part").unwrap_or(&name);
        assert!(digest.parse::<Digest>().is_ok(), "{case}: {name}");
        let about = entry.path().symlink_metadata().unwrap();
        assert!(about.is_file() && about.mode() & 0o6111 == 0, "{case}: {name}");
    }
}
