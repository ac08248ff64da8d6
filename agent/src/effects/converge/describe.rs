//! Each component of a release as it shall run here, every word filled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleet_proto::ids::{ComponentName, EnvironmentName};
use fleet_proto::release::{
    Component, GivenAs, OnChange, Platform, Pm2, Run, SecretName, SecretWanted, Systemd,
};

use super::files;
use super::secrets::{Own, Secrets};
use super::{Converge, ConvergeError, Part, Started, Target};
use crate::durable::failed;
use crate::handed::{self, Plain};
use crate::process::asked::PATH;
use crate::process::own_package::AgentSpec;
use crate::process::pm2::Pm2Spec;
use crate::process::spec::{Entrusted, Handed, How, Spec, Supervised};
use crate::process::static_files::LinkSpec;
use crate::process::systemd::UnitSpec;
use crate::process::systemd::unit_file::{self, SecretPaths};
use crate::secrets::kept::EnvFrom;
use crate::secrets::key;
use crate::slots::{Slot, Slots};
use crate::template::{TemplateError, Words};

/// A unit is a page of text.
const UNIT_FILE_BYTES_MAX: u64 = 64 << 10;

impl Converge {
    pub(super) fn describe(
        &self,
        slot: &Slot,
        target: &Target,
        secrets: &Secrets,
    ) -> Result<Started, ConvergeError> {
        let parts = slot
            .manifest
            .components
            .iter()
            .map(|component| self.part(slot, target, component, secrets.get(&component.name)))
            .collect::<Result<_, _>>()?;
        Ok(Started {
            release: target.release.clone(),
            slot: slot.clone(),
            parts,
        })
    }

    /// By way of the current release, where they name what is handed to the component.
    pub(super) fn words(
        &self,
        slot: &Slot,
        component: &Component,
        environment: Option<&EnvironmentName>,
        directory: PathBuf,
    ) -> Words {
        let current = Slots::new(&self.layout, &self.app).current_handed();
        Words {
            node: self.config.node.clone(),
            app: self.app.clone(),
            version: slot.manifest.version.clone(),
            directory,
            vars: slot.manifest.vars(environment, &self.config.vars),
            config: (!component.files.is_empty()).then(|| handed::config_in(&current, &component.name)),
            secrets: secret_files(component, |name| {
                handed::secret_in(&current, &component.name, name)
            }),
            backup: None,
        }
    }

    fn part(
        &self,
        slot: &Slot,
        target: &Target,
        component: &Component,
        secrets: Option<&Own>,
    ) -> Result<Part, ConvergeError> {
        let directory = self.directory(slot, component);
        let environment = target.environment.as_ref();
        let words = self.words(slot, component, environment, directory.clone());
        let wrong = |source| ConvergeError::Template {
            component: component.name.clone(),
            source,
        };
        let artifact =
            component
                .artifact_for(&Platform::here())
                .ok_or_else(|| ConvergeError::NoArtifact {
                    component: component.name.clone(),
                })?;
        let config = files::filled_in(slot, &words, component)?;
        let spec = Spec {
            release: target.release.digest,
            tree: artifact.tree,
            directory,
            env: env(&words, component).map_err(wrong)?,
            home: home(),
            how: self.how(slot, &words, component)?,
            handed: Handed {
                config: config.iter().map(Plain::defined_by).collect(),
                secrets: self.entrusted(component, secrets)?,
            },
            env_from: self.env_from(target, component),
            environment: target.environment.clone(),
        };
        Ok(Part {
            component: component.clone(),
            words,
            spec,
            run: self.run_directory(&component.name),
            config: config.into(),
            secrets: Arc::new(secrets.cloned().unwrap_or_default()),
        })
    }

    /// Which secrets it has, and not what they are.
    fn entrusted(
        &self,
        component: &Component,
        secrets: Option<&Own>,
    ) -> Result<BTreeMap<SecretName, Entrusted>, ConvergeError> {
        let Some(secrets) = secrets.filter(|_| !component.secrets.is_empty()) else {
            return Ok(BTreeMap::new());
        };
        let key = key::of_this_node(&self.layout.digest_key())?;
        let entrusted = component.secrets.iter().filter_map(|wanted| {
            let digest = key.digest(secrets.get(&wanted.name)?.expose());
            let given = wanted.given;
            Some((wanted.name.clone(), Entrusted { given, digest }))
        });
        Ok(entrusted.collect())
    }

    fn env_from(&self, target: &Target, component: &Component) -> Option<EnvFrom> {
        let in_env = component
            .secrets
            .iter()
            .filter(|wanted| wanted.given == GivenAs::Env);
        let names: Vec<SecretName> = in_env.map(|wanted| wanted.name.clone()).collect();
        let handed = handed::Handed::of(&self.layout, &self.app, &target.release.digest);
        let directory = handed.kept(&component.name);
        (!names.is_empty()).then_some(EnvFrom { directory, names })
    }

    /// A unit names its files by the link to the current release, so that it is the same unit
    /// in every release, and systemd need not read it anew. Whatever else there is is told
    /// each time where its files are.
    fn directory(&self, slot: &Slot, component: &Component) -> PathBuf {
        match component.run {
            Run::Systemd(_)
            | Run::Pm2(Pm2 {
                on_change: OnChange::Reload,
                ..
            }) => Slots::new(&self.layout, &self.app).current_files(&component.name),
            Run::Supervise(_) | Run::Pm2(_) | Run::Static(_) | Run::Agent(_) => slot.files(&component.name),
        }
    }

    fn how(&self, slot: &Slot, words: &Words, component: &Component) -> Result<How, ConvergeError> {
        let wrong = |source| ConvergeError::Template {
            component: component.name.clone(),
            source,
        };
        Ok(match &component.run {
            Run::Supervise(supervise) => How::Supervise(Supervised {
                command: words.fill_all(&supervise.command).map_err(wrong)?,
                stop_signal: supervise.stop_signal,
                grace: supervise.grace,
                user: supervise.user.clone(),
                group: supervise.group.clone(),
                directory: supervise
                    .directory
                    .as_ref()
                    .map(|directory| words.fill(directory).map(PathBuf::from))
                    .transpose()
                    .map_err(wrong)?,
                limits: supervise.limits,
            }),
            Run::Systemd(systemd) => How::Systemd(self.unit(slot, words, component, systemd)?),
            Run::Pm2(pm2) => How::Pm2(Pm2Spec {
                file: pm2.file.to_string(),
                only: match pm2.only.is_empty() {
                    true => vec![component.name.to_string()],
                    false => pm2.only.clone(),
                },
                profile: pm2
                    .profile
                    .as_ref()
                    .map(|profile| words.fill(profile))
                    .transpose()
                    .map_err(wrong)?,
                user: pm2.user.clone(),
                home: pm2
                    .home
                    .as_ref()
                    .map(|home| words.fill(home).map(PathBuf::from))
                    .transpose()
                    .map_err(wrong)?,
                on_change: pm2.on_change,
            }),
            Run::Static(files) => How::Static(LinkSpec {
                root: words.fill(&files.root).map_err(wrong)?.into(),
                slots: self.layout.slots(&self.app),
            }),
            Run::Agent(agent) => How::Agent(AgentSpec {
                package: agent.package.to_string(),
                within: slot.manifest.health.confirm.unwrap_or(AgentSpec::WITHIN),
            }),
        })
    }

    fn unit(
        &self,
        slot: &Slot,
        words: &Words,
        of: &Component,
        systemd: &Systemd,
    ) -> Result<UnitSpec, ConvergeError> {
        let component = &of.name;
        let wrong = |source| ConvergeError::Template {
            component: component.clone(),
            source,
        };
        let mut file = None;
        if let Some(path) = &systemd.file {
            let text = read_unit(component, &slot.files(component).join(path.as_str()))?;
            let text = words.fill_known(&text).map_err(wrong)?;
            file = Some(unit_file::installed(&self.app, component, &text));
        }
        let mut env = systemd.env.clone();
        for value in env.values_mut() {
            *value = words.fill(value).map_err(wrong)?;
        }
        Ok(UnitSpec {
            name: systemd.unit.clone(),
            units: systemd.units(),
            user: systemd.user.clone(),
            on_change: systemd.on_change,
            file,
            drop_in: unit_file::drop_in(&self.app, component, &env, &self.secret_paths(of)),
        })
    }
}

/// The agent's own.
pub fn home() -> String {
    std::env::var("HOME").unwrap_or_else(|_| "/".to_owned())
}

impl Converge {
    /// By way of the current release: a unit is the same in every release.
    fn secret_paths(&self, component: &Component) -> SecretPaths {
        let current = Slots::new(&self.layout, &self.app).current_handed();
        let given = |as_what| {
            component
                .secrets
                .iter()
                .filter(move |wanted| wanted.given == as_what)
        };
        let environment = given(GivenAs::Env).next();
        let credential = |wanted: &SecretWanted| {
            let name = wanted.name.clone();
            let path = handed::credential_in(&current, &component.name, &name);
            (name, path)
        };
        SecretPaths {
            environment: environment.map(|_| handed::environment_in(&current, &component.name)),
            credentials: given(GivenAs::Credential).map(credential).collect(),
        }
    }
}

/// By name, those that are files.
pub fn secret_files(
    component: &Component,
    place: impl Fn(&SecretName) -> PathBuf,
) -> BTreeMap<String, PathBuf> {
    let files = component
        .secrets
        .iter()
        .filter(|wanted| wanted.given == GivenAs::File);
    files
        .map(|wanted| (wanted.name.to_string(), place(&wanted.name)))
        .collect()
}

/// What a process finds, and what its checks find that are commands.
pub fn env(words: &Words, component: &Component) -> Result<BTreeMap<String, String>, TemplateError> {
    let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    let own = match &component.run {
        Run::Supervise(supervise) => Some(&supervise.env),
        Run::Systemd(systemd) => Some(&systemd.env),
        Run::Pm2(pm2) => Some(&pm2.env),
        Run::Static(_) | Run::Agent(_) => None,
    };
    for (name, value) in own.into_iter().flatten() {
        env.insert(name.clone(), words.fill(value)?);
    }
    Ok(env)
}

fn read_unit(component: &ComponentName, path: &Path) -> Result<String, ConvergeError> {
    let unfit = |why| ConvergeError::UnitFile {
        component: component.clone(),
        path: path.to_owned(),
        why,
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(unfit("is not among its files"));
        }
        Err(error) => return Err(failed("read", path)(error).into()),
        Ok(about) if !about.is_file() => return Err(unfit("is no file")),
        Ok(about) if about.len() > UNIT_FILE_BYTES_MAX => return Err(unfit("is larger than 64KiB")),
        Ok(_) => {}
    }
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(unfit("is no text")),
        read => Ok(read.map_err(failed("read", path))?),
    }
}
