//! From an order to a slot on the disk. Nothing that runs is touched.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleet_proto::digest::Digest;
use fleet_proto::ids::{AppName, ComponentName};
use fleet_proto::release::{Artifact, Component, Manifest, Platform, ReleaseRef, SignedManifest};
use fleet_proto::session::FailureClass;
use fleet_proto::tree::{ENCODED_BYTES_MAX, Tree};
use fleet_proto::wire::ReleaseRequest;
use fleet_proto::wire::agent_client::AgentClient;
use tonic::Status;

use super::admit::{History, admit};
use super::download::{Download, Patience, Size, Want};
use super::room::{Disk, Room};
use super::{Failed, blocking, chain, disk_failure, failure};
use crate::boundary::{Boundary, boundary};
use crate::config::Config;
use crate::durable::{self, FileError};
use crate::facts::on_disk;
use crate::layout::Layout;
use crate::link::Reach;
use crate::slots::{Building, Missing, Slot, SlotError, Slots, known_tree};

const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// How often files that came and did not stay are fetched again.
const PLACE_ATTEMPTS_MAX: u32 = 3;

/// What a fetch needs to know of this node.
#[derive(Clone)]
pub struct Node {
    pub config: Arc<Config>,
    pub layout: Layout,
    pub reach: Reach,
    pub disk: Disk,
}

/// Brings a release to this node, or says why not. Gives its counter.
pub async fn fetch(
    node: &Node,
    app: &AppName,
    release: &ReleaseRef,
    history: &History,
) -> Result<u64, Failed> {
    if !node.config.accepts(app) {
        return Err(failure(
            FailureClass::Release,
            format!("this node does not accept app {app}; `apps` in its agent.toml names those it does"),
        ));
    }
    let slots = Slots::new(&node.layout, app);
    if let Some(signed) = on_disk_already(&slots, release).await? {
        let manifest = admit(&node.config, app, release, &signed, history)?;
        return Ok(manifest.counter);
    }
    let signed = signed_manifest(node, release).await?;
    let manifest = admit(&node.config, app, release, &signed, history)?;
    let fetch = Fetch {
        slots,
        release,
        download: Download {
            reach: node.reach.clone(),
            incoming: node.layout.incoming(app),
            bandwidth: node.config.limits.bandwidth,
            room: Room {
                disk: node.disk.clone(),
                reserve: node.config.limits.disk_reserve,
                release: release.clone(),
            },
        },
    };
    let counter = manifest.counter;
    fetch.build(manifest, signed).await?;
    Ok(counter)
}

async fn on_disk_already(slots: &Slots, release: &ReleaseRef) -> Result<Option<SignedManifest>, Failed> {
    let (slots, release) = (slots.clone(), release.clone());
    blocking(move || {
        let slot = slots.open(&release).ok().filter(Slot::is_whole);
        Ok(slot.and_then(|_| slots.signed(&release).ok()))
    })
    .await
}

async fn signed_manifest(node: &Node, release: &ReleaseRef) -> Result<SignedManifest, Failed> {
    let mut patience = Patience::default();
    loop {
        let request = ReleaseRequest {
            digest: release.digest.to_string(),
        };
        let mut client = AgentClient::new(node.reach.channel());
        let status = match tokio::time::timeout(ANSWER_DEADLINE, client.fetch_release(request)).await {
            Ok(Ok(answer)) => {
                return answer.into_inner().try_into().map_err(|error| {
                    failure(
                        FailureClass::Infrastructure,
                        format!("the release {release} cannot be read: {error}"),
                    )
                });
            }
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded("no answer"),
        };
        patience.wait(&format!("the release {release}"), &status).await?;
    }
}

struct Fetch<'a> {
    slots: Slots,
    release: &'a ReleaseRef,
    download: Download,
}

impl Fetch<'_> {
    async fn build(&self, manifest: Manifest, signed: SignedManifest) -> Result<(), Failed> {
        let slots = self.slots.clone();
        let others: Arc<Vec<Slot>> =
            Arc::new(blocking(move || Ok(slots.all().into_values().collect())).await?);
        self.fetch_trees(&manifest, &others).await?;
        boundary(Boundary::TreesReceived);

        let (slots, release) = (self.slots.clone(), self.release.clone());
        let (download, sources) = (self.download.clone(), others.clone());
        let building = blocking(move || {
            let mut building = slots.build(&release)?;
            boundary(Boundary::SlotBegun);
            building.write_manifest(&signed)?;
            boundary(Boundary::ManifestWritten);
            lay_out_trees(&mut building, &manifest, &sources, &download)?;
            boundary(Boundary::TreesLaidOut);
            Ok(building)
        })
        .await?;

        let download = self.download.clone();
        let (building, missing) = blocking(move || {
            let here = download.forget_all_but(&building.digests())?;
            // What has come already moves into its place.
            download
                .room
                .must_hold(building.bytes_needed().saturating_sub(here))?;
            let missing = building.copy_from(&others)?;
            boundary(Boundary::FilesCopied);
            Ok((building, missing))
        })
        .await?;
        let building = self.complete(building, missing).await?;
        let incoming = self.download.incoming.clone();
        blocking(move || {
            building.finish()?;
            durable::remove(&incoming)?;
            boundary(Boundary::IncomingRemoved);
            Ok(())
        })
        .await
    }

    /// Those of the components' trees that no slot here has.
    async fn fetch_trees(&self, manifest: &Manifest, others: &Arc<Vec<Slot>>) -> Result<(), Failed> {
        let (artifacts, others) = (artifacts(manifest), others.clone());
        let wants = blocking(move || {
            let unknown = artifacts
                .into_iter()
                .filter(|(_, artifact)| known_tree(&others, artifact.tree).is_none());
            Ok(unknown
                .map(|(_, artifact)| Want {
                    digest: artifact.tree,
                    size: Size::AtMost(ENCODED_BYTES_MAX as u64),
                })
                .collect())
        })
        .await?;
        self.download.fetch(&wants, 0).await
    }

    async fn complete(
        &self,
        mut building: Building,
        mut missing: BTreeSet<Missing>,
    ) -> Result<Building, Failed> {
        let mut attempts = 0;
        while !missing.is_empty() {
            if attempts == PLACE_ATTEMPTS_MAX {
                return Err(failure(
                    FailureClass::Infrastructure,
                    format!(
                        "the disk lost {} files that had been fetched {attempts} times",
                        missing.len()
                    ),
                ));
            }
            attempts += 1;
            let wants: BTreeSet<Want> = missing
                .iter()
                .map(|missing| Want {
                    digest: missing.digest,
                    size: Size::Exactly(missing.bytes),
                })
                .collect();
            tracing::info!(
                release = %self.release,
                files = wants.len(),
                of = building.files_count(),
                "fetching what no slot here has"
            );
            let (back, copies) = self.clear_for(building, missing).await?;
            self.download.fetch(&wants, copies).await?;
            boundary(Boundary::BlobsReceived);
            let incoming = self.download.incoming.clone();
            (building, missing) = blocking(move || {
                let missing = back.place_from(&incoming)?;
                boundary(Boundary::BlobsPlaced);
                for lost in &missing {
                    durable::remove(&incoming.join(lost.digest.to_string()))?;
                }
                Ok((back, missing))
            })
            .await?;
        }
        Ok(building)
    }

    /// Nothing but what is missing lies in the way any more. Gives the room that copies
    /// of what comes will take: the same bytes may be wanted in several places.
    async fn clear_for(
        &self,
        building: Building,
        missing: BTreeSet<Missing>,
    ) -> Result<(Building, u64), Failed> {
        let download = self.download.clone();
        blocking(move || {
            download.forget_all_but(&missing.iter().map(|missing| missing.digest).collect())?;
            let once = missing
                .iter()
                .map(|missing| on_disk(missing.bytes))
                .fold(0, u64::saturating_add);
            let copies = building.bytes_needed().saturating_sub(once);
            Ok((building, copies))
        })
        .await
    }
}

/// What this node gets of each component.
fn artifacts(manifest: &Manifest) -> Vec<(ComponentName, Artifact)> {
    let of = |component: &Component| {
        let artifact = component.artifact_for(&Platform::here())?.clone();
        Some((component.name.clone(), artifact))
    };
    manifest.components.iter().filter_map(of).collect()
}

fn lay_out_trees(
    building: &mut Building,
    manifest: &Manifest,
    others: &[Slot],
    download: &Download,
) -> Result<(), Failed> {
    for (name, artifact) in artifacts(manifest) {
        let encoded = match known_tree(others, artifact.tree) {
            Some(encoded) => encoded,
            None => fetched_tree(download, artifact.tree)?,
        };
        let refuse = |why: String| {
            failure(
                FailureClass::Release,
                format!("the files of component {name} make no sense: {why}"),
            )
        };
        let tree = Tree::decode(&encoded).map_err(|error| refuse(error.to_string()))?;
        if tree.bytes() != artifact.bytes || tree.files().count() as u64 != artifact.files {
            return Err(refuse("they are not as many as the manifest says".to_owned()));
        }
        building.write_tree(&name, &encoded, tree)?;
    }
    Ok(())
}

fn fetched_tree(download: &Download, digest: Digest) -> Result<Vec<u8>, Failed> {
    let path = download.path(digest);
    let encoded =
        std::fs::read(&path).map_err(|error| disk_failure(&durable::failed("read", &path)(error)))?;
    if Digest::of(&encoded) == digest {
        return Ok(encoded);
    }
    // A power cut emptied it after it had come; the next attempt fetches it anew.
    durable::remove(&path)?;
    Err(failure(
        FailureClass::Infrastructure,
        format!("the disk lost the bytes of {digest}"),
    ))
}

impl From<FileError> for Failed {
    fn from(error: FileError) -> Self {
        disk_failure(&error)
    }
}

impl From<SlotError> for Failed {
    fn from(error: SlotError) -> Self {
        failure(FailureClass::Infrastructure, chain(&error))
    }
}
