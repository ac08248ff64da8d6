//! Releases: taken in when they are whole, listed, and given out again.

use std::collections::BTreeSet;

use fleet_proto::ids::OperatorName;
use fleet_proto::release::{Artifact, Manifest, Migrations, Platform, ReleaseRef, SignedManifest};
use fleet_proto::signing::Pinned;
use fleet_proto::tree::{ENCODED_BYTES_MAX, Tree};
use fleet_proto::wire;
use tonic::{Response, Status};

use super::documents::{answer, if_said};
use super::{Answer, Operators};
use crate::artifacts::Artifacts;
use crate::refusal;
use crate::rollout::event::PushRelease;
use crate::rollout::input::Request;
use crate::rollout::plan::{find_app, find_release};
use crate::rollout::view;

impl Operators {
    pub(super) async fn push(&self, by: &OperatorName, signed: wire::SignedRelease) -> Answer {
        let signed = SignedManifest::try_from(signed).map_err(refusal::usage)?;
        let manifest = signed.read().map_err(refusal::usage)?;
        manifest.check().map_err(refusal::usage)?;
        must_be_signed(&signed)?;
        let artifacts = self.artifacts.clone();
        let push = push_order(&signed, &manifest);
        let (app, version) = (manifest.app.clone(), manifest.version.clone());
        // Whoever pushes a release that is here has a reason: its bytes are looked at.
        let is_here = self.handle.read(|state| state.release(&app, &version).is_some());
        let look = if is_here { Look::AtBytes } else { Look::AtNames };
        tokio::task::spawn_blocking(move || {
            must_be_whole(&artifacts, &manifest, look)?;
            artifacts
                .put_signed(&signed)
                .map_err(|error| refusal::artifact(&error))
        })
        .await
        .map_err(|error| refusal::internal(&error))??;
        self.submit(by, Request::PushRelease(push)).await?;
        let views = self.handle.read(|state| view::releases(state, Some(&app)));
        match views.iter().find(|release| release.release.version == version) {
            Some(release) => answer(release),
            None => Err(Status::internal("the release was pushed and is not there")),
        }
    }

    pub(super) fn show_releases(&self, app: &str) -> Answer {
        let app = if_said(app)?;
        answer(&self.handle.read(|state| view::releases(state, app.as_ref())))
    }

    pub(super) async fn send_release(&self, query: wire::ReleaseQuery) -> Answer<wire::SignedRelease> {
        let app = if_said(&query.app)?;
        let version = query.version.parse().map_err(refusal::usage)?;
        let digest = self
            .handle
            .read(|state| {
                let app = find_app(state, app.as_ref())?;
                Ok(find_release(state, &app, &version)?.release.digest)
            })
            .map_err(|refused: crate::rollout::input::Refusal| refusal::status(&refused))?;
        let artifacts = self.artifacts.clone();
        let signed = tokio::task::spawn_blocking(move || artifacts.read_signed(digest))
            .await
            .map_err(|error| refusal::internal(&error))?
            .map_err(|error| refusal::artifact(&error))?;
        Ok(Response::new((&signed).into()))
    }
}

/// Whom to trust is the agents' question. A signature that does not hold at all would
/// be refused by each of them, so it is said here.
fn must_be_signed(signed: &SignedManifest) -> Result<(), Status> {
    let keys: BTreeSet<_> = signed.signatures.iter().map(|s| s.key.clone()).collect();
    if keys.is_empty() {
        return Err(Status::invalid_argument(
            "nobody signed the release\nhint: `fleetctl release push --key FILE` signs it; `fleetctl key new` makes a key",
        ));
    }
    let all = Pinned {
        threshold: keys.len(),
        release_keys: keys,
    };
    all.verify(&signed.bytes, &signed.signatures)
        .map_err(|_| Status::invalid_argument("a signature does not fit the manifest; push it again"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// What was just uploaded was hashed on the way, and what was there already is
    /// looked at when it is read.
    AtNames,
    AtBytes,
}

fn must_be_whole(artifacts: &Artifacts, manifest: &Manifest, look: Look) -> Result<(), Status> {
    for component in &manifest.components {
        for (platform, artifact) in &component.artifacts {
            tree_must_be_whole(artifacts, artifact, look).map_err(|why| {
                Status::failed_precondition(format!(
                    "component {} for {platform} is not whole: {why}\nhint: push again: `fleetctl release push` sends what is missing",
                    component.name
                ))
            })?;
        }
    }
    Ok(())
}

fn tree_must_be_whole(artifacts: &Artifacts, artifact: &Artifact, look: Look) -> Result<(), String> {
    let encoded = artifacts
        .read_whole(artifact.tree, ENCODED_BYTES_MAX as u64)
        .map_err(|error| {
            format!(
                "its list of files: {}",
                error.to_string().lines().next().unwrap_or_default()
            )
        })?;
    let tree = Tree::decode(&encoded).map_err(|error| error.to_string())?;
    let mut missing = 0_usize;
    let mut files = 0_u64;
    for (path, digest, bytes) in tree.files() {
        files += 1;
        match artifacts.bytes_of(&digest) {
            None => missing += 1,
            // Either the list is wrong, or the blob is, and then it is set aside.
            Some(found) if found != bytes => match artifacts.verify(digest) {
                Ok(()) => return Err(format!("{path} has {found} bytes and is listed with {bytes}")),
                Err(_) => missing += 1,
            },
            Some(_) if look == Look::AtBytes && artifacts.verify(digest).is_err() => missing += 1,
            Some(_) => {}
        }
    }
    if missing > 0 {
        return Err(format!("{missing} of {files} files are not here"));
    }
    if (files, tree.bytes()) != (artifact.files, artifact.bytes) {
        return Err(format!(
            "the manifest says {} files and {} bytes, the list {files} and {}",
            artifact.files,
            artifact.bytes,
            tree.bytes()
        ));
    }
    Ok(())
}

fn push_order(signed: &SignedManifest, manifest: &Manifest) -> PushRelease {
    PushRelease {
        app: manifest.app.clone(),
        release: ReleaseRef {
            version: manifest.version.clone(),
            digest: signed.digest(),
        },
        counter: manifest.counter,
        components: manifest.components.iter().map(|c| c.name.clone()).collect(),
        platforms: platforms(manifest),
        strategy: manifest.strategy.clone(),
        healthy_deadline: manifest.health.healthy_deadline,
        migration: manifest.migrations.as_ref().map(Migrations::plan),
        signed_by: signed.signatures.iter().map(|s| s.key.id()).collect(),
    }
}

/// Those that every component has an artifact for.
fn platforms(manifest: &Manifest) -> Vec<Platform> {
    let named: BTreeSet<&Platform> = manifest
        .components
        .iter()
        .flat_map(|component| component.artifacts.keys())
        .collect();
    named
        .into_iter()
        .filter(|platform| {
            let mut components = manifest.components.iter();
            components.all(|component| component.artifact_for(platform).is_some())
        })
        .cloned()
        .collect()
}
