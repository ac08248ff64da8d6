//! Releases: uploaded, refused when they are not whole, and fetched by nodes.

use std::collections::BTreeMap;

use fleet_proto::digest::Digest;
use fleet_proto::release::{Manifest, SignedManifest};
use fleet_proto::signing::SecretKey;
use fleet_proto::tree::{Entry, Tree, TreePath};
use fleet_proto::wire;
use tonic::Code;

use crate::coordinator::Coordinator;

fn piece(bytes: &[u8]) -> wire::BlobPiece {
    wire::BlobPiece {
        digest: Digest::of(bytes).as_bytes().to_vec(),
        offset: 0,
        data: bytes.to_vec(),
        bytes: bytes.len() as u64,
    }
}

struct Sample {
    blobs: Vec<Vec<u8>>,
    signed: SignedManifest,
}

/// A release of one component with one file of these bytes.
fn sample(content: &[u8]) -> Sample {
    let entry = Entry::File {
        digest: Digest::of(content),
        bytes: content.len() as u64,
        executable: true,
    };
    let path = TreePath::try_from("server".to_owned()).unwrap();
    let tree = Tree::new(BTreeMap::from([(path, entry)]))
        .unwrap()
        .encode()
        .unwrap();
    let manifest: Manifest = serde_json::from_value(serde_json::json!({
        "format": 1, "app": "shop", "version": "v1.0.0", "counter": 1, "created_at": 0,
        "components": [{
            "name": "web",
            "artifacts": {"any": {"tree": Digest::of(&tree), "files": 1, "bytes": content.len()}},
            "run": {"kind": "supervise", "command": ["./server"]},
        }],
    }))
    .unwrap();
    Sample {
        blobs: vec![tree, content.to_vec()],
        signed: manifest.sign(&[SecretKey::generate().unwrap()]).unwrap(),
    }
}

#[tokio::test]
async fn a_release_is_taken_when_it_is_whole_and_never_changes() {
    let coordinator = Coordinator::start().await;
    let mut operator = coordinator.operator();
    let release = sample(b"a server");
    let offered = wire::BlobList {
        digests: release
            .blobs
            .iter()
            .map(|blob| Digest::of(blob).as_bytes().to_vec())
            .collect(),
    };
    let missing = operator
        .missing_blobs(tokio_stream::iter([offered.clone()]))
        .await
        .unwrap();
    assert_eq!(missing.into_inner().digests.len(), 2);

    let upload = tokio_stream::iter([piece(&release.blobs[0])]);
    operator.upload_blobs(upload).await.unwrap();
    let wire_release = wire::SignedRelease::from(&release.signed);
    let status = operator.push_release(wire_release.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status
            .message()
            .contains("component web for any is not whole: 1 of 1 files are not here"),
        "{status}"
    );

    let upload = tokio_stream::iter([piece(&release.blobs[1])]);
    let uploaded = operator.upload_blobs(upload).await.unwrap().into_inner();
    assert_eq!((uploaded.blobs, uploaded.bytes), (1, 8));
    for _ in 0..2 {
        // The second time it is there already, which is as good.
        operator.push_release(wire_release.clone()).await.unwrap();
    }
    let missing = operator
        .missing_blobs(tokio_stream::iter([offered]))
        .await
        .unwrap();
    assert!(missing.into_inner().digests.is_empty());

    let other = sample(b"another server");
    let upload = tokio_stream::iter([piece(&other.blobs[0]), piece(&other.blobs[1])]);
    operator.upload_blobs(upload).await.unwrap();
    let status = operator
        .push_release(wire::SignedRelease::from(&other.signed))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status
            .message()
            .contains("shop v1.0.0 was pushed before with other bytes"),
        "{status}"
    );

    let query = wire::ReleaseQuery {
        app: String::new(),
        version: "v1.0.1".into(),
    };
    let status = operator.read_release(query).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains("did you mean `v1.0.0`?"), "{status}");
}

#[tokio::test]
async fn unsigned_and_mangled_releases_are_refused() {
    let coordinator = Coordinator::start().await;
    let mut operator = coordinator.operator();
    let mut release = wire::SignedRelease::from(&sample(b"a server").signed);
    let signatures = std::mem::take(&mut release.signatures);
    let status = operator.push_release(release.clone()).await.unwrap_err();
    assert!(
        status.message().starts_with("nobody signed the release"),
        "{status}"
    );
    release.signatures = signatures;
    release.manifest.push(b' ');
    let status = operator.push_release(release).await.unwrap_err();
    assert!(status.message().contains("a signature does not fit"), "{status}");

    let wrong = wire::BlobPiece {
        data: b"other bytes of 8".to_vec(),
        bytes: 16,
        ..piece(b"a server")
    };
    let status = operator
        .upload_blobs(tokio_stream::iter([wrong]))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("have the digest"), "{status}");
}

#[tokio::test]
async fn a_node_fetches_many_blobs_in_one_stream_and_resumes() {
    let coordinator = Coordinator::start().await;
    let mut operator = coordinator.operator();
    let blobs = [vec![7; 600 << 10], vec![], b"small".to_vec()];
    let pieces: Vec<wire::BlobPiece> = blobs
        .iter()
        .flat_map(|blob| {
            let digest = Digest::of(blob).as_bytes().to_vec();
            let chunks: Vec<&[u8]> = if blob.is_empty() {
                vec![&[]]
            } else {
                blob.chunks(wire::PIECE_BYTES).collect()
            };
            chunks
                .into_iter()
                .enumerate()
                .map(|(at, data)| wire::BlobPiece {
                    digest: digest.clone(),
                    offset: (at * wire::PIECE_BYTES) as u64,
                    data: data.to_vec(),
                    bytes: blob.len() as u64,
                })
                .collect::<Vec<_>>()
        })
        .collect();
    operator.upload_blobs(tokio_stream::iter(pieces)).await.unwrap();

    let mut node = coordinator.node("n1").await;
    let wanted = |blob: &[u8], offset| wire::BlobWanted {
        digest: Digest::of(blob).as_bytes().to_vec(),
        offset,
    };
    let request = wire::BlobsRequest {
        blobs: vec![
            wanted(&blobs[0], 500 << 10),
            wanted(&blobs[1], 0),
            wanted(&blobs[2], 0),
        ],
    };
    let mut stream = node.fetch_blobs(request).await.unwrap().into_inner();
    let mut received: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    while let Some(piece) = stream.message().await.unwrap() {
        received.entry(piece.digest).or_default().extend(piece.data);
    }
    let of = |blob: &[u8]| received[&Digest::of(blob).as_bytes().to_vec()].clone();
    assert_eq!(of(&blobs[0]), vec![7; 100 << 10]);
    assert_eq!((of(&blobs[1]), of(&blobs[2])), (vec![], b"small".to_vec()));

    let request = wire::BlobsRequest {
        blobs: vec![wanted(b"never seen", 0)],
    };
    let mut stream = node.fetch_blobs(request).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap_err().code(), Code::NotFound);
}
