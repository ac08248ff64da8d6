//! Each component of a release as it shall run here, every word filled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fleet_proto::ids::ComponentName;
use fleet_proto::release::{Component, OnChange, Platform, Pm2, ReleaseRef, Run, Systemd};

use super::{Converge, ConvergeError, Part, Started};
use crate::durable::failed;
use crate::process::own_package::AgentSpec;
use crate::process::pm2::Pm2Spec;
use crate::process::spec::Spec;
use crate::process::spec::{How, Supervised};
use crate::process::static_files::LinkSpec;
use crate::process::systemd::{UnitSpec, unit_file};
use crate::slots::{Slot, Slots};
use crate::template::{TemplateError, Words};

/// What an app finds where nothing else was said.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A unit is a page of text.
const UNIT_FILE_BYTES_MAX: u64 = 64 << 10;

impl Converge {
    pub(super) fn describe(&self, slots: &Slots, release: &ReleaseRef) -> Result<Started, ConvergeError> {
        let slot = slots.open(release)?;
        let parts = slot
            .manifest
            .components
            .iter()
            .map(|component| self.part(&slot, release, component))
            .collect::<Result<_, _>>()?;
        Ok(Started {
            release: release.clone(),
            slot,
            parts,
        })
    }

    fn part(&self, slot: &Slot, release: &ReleaseRef, component: &Component) -> Result<Part, ConvergeError> {
        let directory = self.directory(slot, component);
        let words = Words {
            node: self.config.node.clone(),
            app: self.app.clone(),
            version: release.version.clone(),
            directory: directory.clone(),
            vars: self.config.vars.clone(),
            backup: None,
        };
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
        let spec = Spec {
            release: release.digest,
            tree: artifact.tree,
            directory,
            env: env(&words, component).map_err(wrong)?,
            home: std::env::var("HOME").unwrap_or_else(|_| "/".to_owned()),
            how: self.how(slot, &words, component)?,
        };
        Ok(Part {
            component: component.clone(),
            words,
            spec,
            run: self.run_directory(&component.name),
        })
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
            }),
            Run::Systemd(systemd) => How::Systemd(self.unit(slot, words, &component.name, systemd)?),
            Run::Pm2(pm2) => How::Pm2(Pm2Spec {
                file: pm2.file.to_string(),
                only: match pm2.only.is_empty() {
                    true => vec![component.name.to_string()],
                    false => pm2.only.clone(),
                },
                profile: pm2.profile.clone(),
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
        component: &ComponentName,
        systemd: &Systemd,
    ) -> Result<UnitSpec, ConvergeError> {
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
            drop_in: unit_file::drop_in(&self.app, component, &env),
        })
    }
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
