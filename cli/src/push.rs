//! A release is made here and nowhere else: packed, described, signed, sent.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fleet_proto::digest::Digest;
use fleet_proto::ids::ComponentName;
use fleet_proto::release::{Component, Hooks, Manifest, Run, SignedManifest};
use fleet_proto::signing::SecretKey;
use fleet_proto::time::Timestamp;
use fleet_proto::version::Version;
use fleet_proto::view::ReleaseView;
use serde::Serialize;

use crate::app_file::{AppFile, ComponentSource};
use crate::error::Error;
use crate::operator::{Answer, Operator};
use crate::pack::{self, PackError, Packed, Source};
use crate::upload::{self, Uploaded};

/// What was pushed, and how little of it had to travel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pushed {
    pub app: String,
    pub version: Version,
    pub digest: Digest,
    pub files: u64,
    pub bytes: u64,
    pub uploaded_files: u64,
    pub uploaded_bytes: u64,
    /// The very same release was there before; at most what was damaged was sent again.
    pub already_there: bool,
}

/// An app's files, packed: a release but for its version and signatures.
struct Contents {
    components: Vec<Component>,
    blobs: BTreeMap<Digest, Source>,
    files: u64,
    bytes: u64,
}

/// `paths` replace what the file says of a component's whereabouts.
pub async fn push(
    operator: &mut Operator,
    mut file: AppFile,
    version: &Version,
    paths: &[(ComponentName, PathBuf)],
    keys: &[SecretKey],
) -> Result<Pushed, Error> {
    for (name, path) in paths {
        replace_path(&mut file, name, path)?;
    }
    let contents = pack_all(&file)?;
    let mut pushed = Pushed {
        app: file.app.to_string(),
        version: version.clone(),
        digest: Digest::of(b""),
        files: contents.files,
        bytes: contents.bytes,
        uploaded_files: 0,
        uploaded_bytes: 0,
        already_there: false,
    };
    let manifest = manifest(operator, &file, version, contents.components).await?;
    let signed = match same_as_before(operator, &manifest).await? {
        Some(earlier) => {
            pushed.already_there = true;
            signed_too(earlier, keys)
        }
        None => manifest.sign(keys)?,
    };
    pushed.digest = signed.digest();
    pushed.send(operator, &contents.blobs).await?;
    if let Err(refused) = operator.push_release(&signed).await {
        // A release that is there already is looked at closely, and what is damaged is
        // set aside: then there is something to send after all.
        if !pushed.already_there || !pushed.send(operator, &contents.blobs).await? {
            return Err(refused);
        }
        operator.push_release(&signed).await?;
    }
    Ok(pushed)
}

impl Pushed {
    /// What the coordinator lacks, if it lacks anything.
    async fn send(
        &mut self,
        operator: &mut Operator,
        blobs: &BTreeMap<Digest, Source>,
    ) -> Result<bool, Error> {
        let Uploaded { files, bytes } = upload::upload(operator, blobs).await?;
        self.uploaded_files += files;
        self.uploaded_bytes += bytes;
        Ok(files + bytes > 0)
    }
}

/// The same bytes, signed by these keys too: a release may need several people.
fn signed_too(mut earlier: SignedManifest, keys: &[SecretKey]) -> SignedManifest {
    for key in keys {
        let signature = key.sign(&earlier.bytes);
        if !earlier.signatures.contains(&signature) {
            earlier.signatures.push(signature);
        }
    }
    earlier
}

fn replace_path(file: &mut AppFile, name: &ComponentName, path: &std::path::Path) -> Result<(), Error> {
    let names: Vec<String> = file
        .components
        .iter()
        .map(|component| component.name.to_string())
        .collect();
    let component = file
        .components
        .iter_mut()
        .find(|component| component.name == *name);
    let component = component.ok_or_else(|| {
        Error::usage(
            format!("there is no component `{name}` in {}", crate::app_file::NAME),
            match names.as_slice() {
                [only] => format!("its only component is {only}"),
                several => format!("its components are {}", several.join(", ")),
            },
        )
    })?;
    component.paths = [(fleet_proto::release::Platform::any(), path.to_owned())].into();
    Ok(())
}

fn pack_all(file: &AppFile) -> Result<Contents, Error> {
    let mut contents = Contents {
        components: Vec::with_capacity(file.components.len()),
        blobs: BTreeMap::new(),
        files: 0,
        bytes: 0,
    };
    for source in &file.components {
        let component = pack_component(source, &mut contents)?;
        contents.components.push(component);
    }
    Ok(contents)
}

fn pack_component(source: &ComponentSource, contents: &mut Contents) -> Result<Component, Error> {
    let mut artifacts = BTreeMap::new();
    for (platform, path) in &source.paths {
        let packed = pack::pack(path).map_err(|error| unpackable(&source.name, error))?;
        let why_not = why_not_run(&source.run, &packed).or_else(|| why_not_hooked(&source.hooks, &packed));
        if let Some((why, hint)) = why_not {
            let message = format!("component `{}` {why} in {}", source.name, path.display());
            return Err(Error::usage(message, hint));
        }
        if let Some(file) = source.files.iter().find(|file| !packed.has_file(&file.template)) {
            let message = format!(
                "component `{}` fills in `{}`, which is not among its files in {}",
                source.name,
                file.template,
                path.display()
            );
            let hint = "`template` is a file of the component, from its own directory";
            return Err(Error::usage(message, hint));
        }
        contents.files += packed.artifact.files;
        contents.bytes += packed.artifact.bytes;
        contents.blobs.extend(packed.blobs);
        artifacts.insert(platform.clone(), packed.artifact);
    }
    Ok(Component {
        name: source.name.clone(),
        artifacts,
        run: source.run.clone(),
        checks: source.checks.clone(),
        smoke: source.smoke.clone(),
        hooks: source.hooks.clone(),
        files: source.files.clone(),
        secrets: source.secrets.clone(),
    })
}

/// What these files could never be run as, and what to do about it.
fn why_not_run(run: &Run, packed: &Packed) -> Option<(String, &'static str)> {
    match run {
        Run::Supervise(supervise) => {
            let program = supervise.command.first().map_or("", String::as_str);
            let program = match supervise.directory.as_deref() {
                None => program.to_owned(),
                // It is looked for where it runs.
                Some(directory) if program.contains('/') && !program.starts_with('/') => {
                    format!("{directory}/{program}")
                }
                Some(_) => program.to_owned(),
            };
            let hint = "name a program that is there, as `./web`; `chmod +x` makes a file executable";
            packed.why_not_started(&program).map(|why| (why, hint))
        }
        Run::Systemd(systemd) => {
            let file = systemd.file.as_ref().filter(|file| !packed.has_file(file))?;
            let hint = "`file` is the unit's own file, from the component's directory";
            Some((format!("installs `{file}`, which is not among its files"), hint))
        }
        Run::Pm2(pm2) if !packed.has_file(&pm2.file) => {
            let hint = "`file` is pm2's ecosystem file, from the component's directory";
            Some((
                format!("starts `{}`, which is not among its files", pm2.file),
                hint,
            ))
        }
        Run::Agent(agent) if !packed.has_file(&agent.package) => {
            let hint = "`package` is the agent's Debian package, from the component's directory";
            Some((
                format!("installs `{}`, which is not among its files", agent.package),
                hint,
            ))
        }
        Run::Pm2(_) | Run::Static(_) | Run::Agent(_) => None,
    }
}

/// A hook is looked for in the component's files, wherever its process works.
fn why_not_hooked(hooks: &Hooks, packed: &Packed) -> Option<(String, &'static str)> {
    let hint = "name a program that is there, as `./drain`; `chmod +x` makes a file executable";
    hooks.all().find_map(|(name, hook)| {
        let program = hook.command.first().map_or("", String::as_str);
        let why = packed.why_not_started(program)?;
        Some((format!("has a hook `{name}` that {why}"), hint))
    })
}

fn unpackable(component: &ComponentName, source: PackError) -> Error {
    Error::Pack {
        component: component.clone(),
        source,
    }
}

async fn manifest(
    operator: &mut Operator,
    file: &AppFile,
    version: &Version,
    components: Vec<Component>,
) -> Result<Manifest, Error> {
    let now = Timestamp::now();
    let newest = newest_counter(operator, file.app.as_str()).await?;
    let manifest = Manifest {
        format: Manifest::FORMAT,
        app: file.app.clone(),
        version: version.clone(),
        // The clock, so that counters rise whoever pushes; past the newest, so that
        // they rise even where clocks do not agree.
        counter: now.0.max(newest.map_or(0, |counter| counter.saturating_add(1))),
        created_at: now,
        components,
        health: file.health.clone(),
        strategy: file.strategy.clone(),
        migrations: file.migrations.clone(),
        vars: file.vars.clone(),
        environments: file.environments.clone(),
    };
    manifest.check()?;
    Ok(manifest)
}

async fn newest_counter(operator: &mut Operator, app: &str) -> Result<Option<u64>, Error> {
    match operator.releases(app).await {
        Ok(Answer { view, .. }) => Ok(view.iter().map(|release: &ReleaseView| release.counter).max()),
        // An app without releases is not known yet.
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Pushing the same files as the same version again is nothing to do; anything else
/// under a version that exists is refused here, before a byte is sent.
async fn same_as_before(
    operator: &mut Operator,
    manifest: &Manifest,
) -> Result<Option<SignedManifest>, Error> {
    let earlier: SignedManifest = match operator
        .release(manifest.app.as_str(), manifest.version.as_str())
        .await
    {
        Ok(earlier) => earlier,
        Err(Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let before = earlier.read()?;
    let same = Manifest {
        counter: before.counter,
        created_at: before.created_at,
        ..manifest.clone()
    };
    if before == same {
        return Ok(Some(earlier));
    }
    Err(Error::refused(
        format!(
            "{} {} was pushed before with other contents, and a release never changes",
            manifest.app, manifest.version
        ),
        "push it under a new version; `fleetctl release list` shows those that exist",
    ))
}
