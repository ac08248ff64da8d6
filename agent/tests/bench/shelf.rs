//! Releases, signed and ready to be served.

use std::collections::BTreeMap;

use fleet_proto::digest::Digest;
use fleet_proto::quantity::Span;
use fleet_proto::release::{Manifest, ReleaseRef, Run, SignedManifest};
use fleet_proto::signing::SecretKey;
use fleet_proto::tree::{Entry, Tree, TreePath};

pub type Files<'a> = &'a [(&'a str, &'a [u8])];

pub struct Shelf {
    pub key: SecretKey,
    pub releases: BTreeMap<String, SignedManifest>,
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    pub names: BTreeMap<&'static str, ReleaseRef>,
}

impl Shelf {
    pub fn new() -> Self {
        Self {
            key: SecretKey::generate().unwrap(),
            releases: BTreeMap::new(),
            blobs: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    pub fn put(
        &mut self,
        version: &'static str,
        counter: u64,
        files: Files<'_>,
        change: impl Fn(&mut Manifest),
    ) {
        let mut entries: BTreeMap<TreePath, Entry> = BTreeMap::new();
        for (path, bytes) in files {
            let digest = Digest::of(bytes);
            self.blobs.insert(digest, bytes.to_vec());
            let entry = Entry::File {
                digest,
                bytes: bytes.len() as u64,
                executable: false,
            };
            entries.insert((*path).to_owned().try_into().unwrap(), entry);
        }
        let tree = Tree::new(entries).unwrap();
        let encoded = tree.encode().unwrap();
        let sizes = (tree.files().count() as u64, tree.bytes());
        self.put_encoded(version, counter, encoded, sizes, change);
    }

    pub fn put_blob(&mut self, bytes: &[u8]) {
        self.blobs.insert(Digest::of(bytes), bytes.to_vec());
    }

    /// Whatever the bytes are: signed as the tree of the only component, with this many
    /// files and bytes in it.
    pub fn put_encoded(
        &mut self,
        version: &'static str,
        counter: u64,
        encoded: Vec<u8>,
        (files, bytes): (u64, u64),
        change: impl Fn(&mut Manifest),
    ) {
        let mut manifest: Manifest = serde_json::from_value(serde_json::json!({
            "format": 1, "app": "shop", "version": version, "counter": counter, "created_at": 0,
            "components": [{
                "name": "web",
                "artifacts": {"any": {
                    "tree": Digest::of(&encoded), "files": files, "bytes": bytes
                }},
                "run": {"kind": "supervise", "command": ["./web"]},
            }],
        }))
        .unwrap();
        change(&mut manifest);
        let signed = manifest.sign(std::slice::from_ref(&self.key)).unwrap();
        let release = ReleaseRef {
            version: version.parse().unwrap(),
            digest: signed.digest(),
        };
        self.blobs.insert(Digest::of(&encoded), encoded);
        self.releases.insert(release.digest.to_string(), signed);
        self.names.insert(version, release);
    }
}

/// Something that runs until it is stopped, and proves itself in so many milliseconds.
pub fn runs(min_healthy_ms: u64) -> impl Fn(&mut Manifest) + Copy {
    move |manifest| {
        let Run::Supervise(run) = &mut manifest.components[0].run else {
            unreachable!()
        };
        run.command = ["sh", "-c", "exec sleep 1000"].map(str::to_owned).to_vec();
        run.grace = Span::from_secs(1);
        manifest.health.min_healthy = Span::from_millis(min_healthy_ms);
        manifest.health.healthy_deadline = Span::from_secs(15);
    }
}
