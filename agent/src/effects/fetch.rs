//! From an order to a slot on the disk. Nothing that runs is touched.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleet_proto::digest::Digest;
use fleet_proto::ids::AppName;
use fleet_proto::quantity::Bytes;
use fleet_proto::release::{Manifest, Platform, ReleaseRef, SignedManifest};
use fleet_proto::session::FailureClass;
use fleet_proto::tree::{ENCODED_BYTES_MAX, Tree};
use fleet_proto::wire::ReleaseRequest;
use fleet_proto::wire::agent_client::AgentClient;
use tonic::Status;

use super::admit::{History, admit};
use super::download::{Download, Patience, Size, Want};
use super::{Failed, chain, disk_failure, failure};
use crate::config::Config;
use crate::durable::{self, FileError};
use crate::facts;
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
        node,
        slots,
        release,
        download: Download {
            reach: &node.reach,
            incoming: node.layout.incoming().join(app.as_str()),
            bandwidth: node.config.limits.bandwidth,
        },
    };
    fetch.build(&manifest, signed).await?;
    Ok(manifest.counter)
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
    node: &'a Node,
    slots: Slots,
    release: &'a ReleaseRef,
    download: Download<'a>,
}

impl Fetch<'_> {
    async fn build(&self, manifest: &Manifest, signed: SignedManifest) -> Result<(), Failed> {
        let slots = self.slots.clone();
        let others: Arc<Vec<Slot>> =
            Arc::new(blocking(move || Ok(slots.all().into_values().collect())).await?);
        let trees = self.trees(manifest, &others).await?;

        let (slots, release, list) = (self.slots.clone(), self.release.clone(), trees.clone());
        let building = blocking(move || {
            let mut building = slots.build(&release)?;
            building.write_manifest(&signed)?;
            for (name, encoded, tree) in list.iter() {
                building.write_tree(name, encoded, tree.clone())?;
            }
            Ok(building)
        })
        .await?;
        self.must_have_room(&building)?;

        let sources = others.clone();
        let (building, missing) = blocking(move || {
            let missing = building.copy_from(&sources)?;
            Ok((building, missing))
        })
        .await?;
        let building = self.complete(building, missing, &trees).await?;
        let incoming = self.download.incoming.clone();
        blocking(move || {
            building.finish()?;
            Ok(durable::remove(&incoming)?)
        })
        .await
    }

    /// Each component's tree: from a slot that has it, else from the store.
    async fn trees(&self, manifest: &Manifest, others: &[Slot]) -> Result<Trees, Failed> {
        let mut wants = BTreeSet::new();
        for component in &manifest.components {
            let Some(artifact) = component.artifact_for(&Platform::here()) else {
                continue;
            };
            if known_tree(others, artifact.tree).is_none() {
                wants.insert(Want {
                    digest: artifact.tree,
                    size: Size::AtMost(ENCODED_BYTES_MAX as u64),
                });
            }
        }
        self.download.fetch(&wants).await?;
        let mut trees = Vec::new();
        for component in &manifest.components {
            let Some(artifact) = component.artifact_for(&Platform::here()) else {
                continue;
            };
            let encoded = match known_tree(others, artifact.tree) {
                Some(encoded) => encoded,
                None => self.fetched_tree(artifact.tree)?,
            };
            let refuse = |why: String| {
                failure(
                    FailureClass::Release,
                    format!("the files of component {} make no sense: {why}", component.name),
                )
            };
            let tree = Tree::decode(&encoded).map_err(|error| refuse(error.to_string()))?;
            if tree.bytes() != artifact.bytes || tree.files().count() as u64 != artifact.files {
                return Err(refuse("they are not as many as the manifest says".to_owned()));
            }
            trees.push((component.name.clone(), encoded, tree));
        }
        Ok(Arc::new(trees))
    }

    fn fetched_tree(&self, digest: Digest) -> Result<Vec<u8>, Failed> {
        let path = self.download.path(digest);
        let encoded =
            std::fs::read(&path).map_err(|error| disk_failure(&durable::failed("read", &path)(error)))?;
        if Digest::of(&encoded) == digest {
            return Ok(encoded);
        }
        // A power cut emptied it after it had come; the next attempt fetches it anew.
        durable::remove(&path).map_err(|error| disk_failure(&error))?;
        Err(failure(
            FailureClass::Infrastructure,
            format!("the disk lost the bytes of {digest}"),
        ))
    }

    fn must_have_room(&self, building: &Building) -> Result<(), Failed> {
        let reserve = self.node.config.limits.disk_reserve;
        let free = facts::disk_free(self.node.layout.root());
        let needed = Bytes(building.bytes_needed().saturating_add(reserve.0));
        if free >= needed {
            return Ok(());
        }
        let mut failure = failure(
            FailureClass::Infrastructure,
            format!(
                "the disk is too small for {}: {free} are free, {needed} are needed ({reserve} of it to be left free)",
                self.release
            ),
        );
        failure.figure = Some(free.to_string());
        failure.limit = Some(needed.to_string());
        Err(failure)
    }

    async fn complete(
        &self,
        mut building: Building,
        mut missing: BTreeSet<Missing>,
        trees: &Trees,
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
                of = trees.iter().map(|(_, _, tree)| tree.files().count()).sum::<usize>(),
                "fetching what no slot here has"
            );
            self.download
                .forget_all_but(&wants)
                .map_err(|error| disk_failure(&error))?;
            self.download.fetch(&wants).await?;
            let incoming = self.download.incoming.clone();
            (building, missing) = blocking(move || {
                let missing = building.place_from(&incoming)?;
                for lost in &missing {
                    durable::remove(&incoming.join(lost.digest.to_string()))?;
                }
                Ok((building, missing))
            })
            .await?;
        }
        Ok(building)
    }
}

type Trees = Arc<Vec<(fleet_proto::ids::ComponentName, Vec<u8>, Tree)>>;

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

/// Disk work, off the threads that keep the session alive.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(failure(FailureClass::Infrastructure, chain(&error))),
    }
}
