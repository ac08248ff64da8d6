//! Secrets of a release's components: as the node's providers say, or as they were kept.
//!
//! | | asks | and where that fails |
//! |---|---|---|
//! | forward | the providers | nothing is stopped; the step failed, for want of infrastructure |
//! | back, and what has to start anew | the providers, and not for long | what was kept |
//! | what goes on | nobody: what was kept is what it has | the providers |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleet_proto::ids::{ComponentName, ProviderName};
use fleet_proto::release::{Component, GivenAs, SecretKeyName, SecretName, SecretWanted};

use super::{Converge, ConvergeError, Started, Target};
use crate::effects::changes::Changes;
use crate::handed::{Handed, Owner};
use crate::process::spec::How;
use crate::process::systemd::unit_file;
use crate::secrets::fetch::{Had, Interrupted, Wanted, fetch};
use crate::secrets::{Secret, Why, redact};
use crate::slots::Slot;

/// On the way forward, of all together.
const FORWARD_WITHIN: Duration = Duration::from_secs(30);
/// The app may be down meanwhile, and there is something to go on with.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// Whom to ask for the secrets of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Providers,
    ProvidersElseKept,
    KeptElseProviders,
}

pub type Own = BTreeMap<SecretName, Secret>;
pub(super) type Secrets = BTreeMap<ComponentName, Own>;

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the secret {name} cannot be had: {key} of the provider {from}: {why}")]
    Absent {
        name: SecretName,
        from: ProviderName,
        key: SecretKeyName,
        why: Why,
    },
    #[error("something else is to be done meanwhile")]
    Interrupted,
}

impl Converge {
    /// Of those components that are asked for.
    pub(super) fn secrets(
        &self,
        slot: &Slot,
        target: &Target,
        ask: Ask,
        of: &dyn Fn(&Component) -> bool,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<Secrets, ConvergeError> {
        let handed = Handed::of(&self.layout, &self.app, &target.release.digest);
        let components = slot.manifest.components.iter().filter(|component| of(component));
        let wants: Vec<(&Component, &SecretWanted)> = components
            .flat_map(|component| component.secrets.iter().map(move |wanted| (component, wanted)))
            .collect();
        let kept = |component: &Component, wanted: &SecretWanted| match ask {
            Ask::Providers => None,
            Ask::ProvidersElseKept | Ask::KeptElseProviders => {
                handed.read_kept(&component.name, &wanted.name)
            }
        };
        let must_ask = |(component, wanted): &(&Component, &SecretWanted)| {
            ask != Ask::KeptElseProviders || kept(component, wanted).is_none()
        };
        let asked: BTreeSet<Wanted> = wants
            .iter()
            .copied()
            .filter(must_ask)
            .map(|(_, wanted)| question(wanted))
            .collect();
        let had = self.ask(&asked, ask, is_interrupted).map_err(|Interrupted| {
            let component = wants.first().map(|(component, _)| component.name.clone());
            match component {
                Some(component) => ConvergeError::Secret {
                    component,
                    source: SecretError::Interrupted,
                },
                None => ConvergeError::Shut,
            }
        })?;
        let mut secrets = Secrets::new();
        for (component, wanted) in wants {
            let secret = match answer(&had, wanted) {
                Some(Ok(secret)) => secret,
                refused => kept(component, wanted).ok_or_else(|| ConvergeError::Secret {
                    component: component.name.clone(),
                    source: absent(wanted, refused),
                })?,
            };
            redact::know(&secret);
            let own = secrets.entry(component.name.clone()).or_default();
            own.insert(wanted.name.clone(), secret);
        }
        Ok(secrets)
    }

    /// On the way back, and at a boot: what has to be started anyway is told what the providers
    /// say now, if they say anything.
    pub(super) fn renewed(
        &self,
        described: &Started,
        target: &Target,
        changes: &Changes,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Started>, ConvergeError> {
        let starts = |component: &Component| changes.start.contains(&component.name);
        let slot = &described.slot;
        let renewed = self.secrets(slot, target, Ask::ProvidersElseKept, &starts, is_interrupted)?;
        let old = described
            .parts
            .iter()
            .map(|part| (&part.component.name, &part.secrets));
        let mut secrets: Secrets = old
            .map(|(name, secrets)| (name.clone(), Own::clone(secrets)))
            .collect();
        let is_same = renewed.iter().all(|(name, own)| secrets.get(name) == Some(own));
        if is_same {
            return Ok(None);
        }
        secrets.extend(renewed);
        self.describe(slot, target, &secrets).map(Some)
    }

    fn ask(
        &self,
        wanted: &BTreeSet<Wanted>,
        ask: Ask,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<Had, Interrupted> {
        if wanted.is_empty() {
            return Ok(Had::new());
        }
        let within = match ask {
            Ask::Providers => FORWARD_WITHIN,
            Ask::ProvidersElseKept | Ask::KeptElseProviders => BACK_WITHIN,
        };
        let had = fetch(&self.config.secrets, wanted, within, is_interrupted)?;
        for ((from, key), why) in had
            .iter()
            .filter_map(|(wanted, had)| Some((wanted, had.as_ref().err()?)))
        {
            tracing::warn!(app = %self.app, provider = %from, %key, %why, "a secret cannot be had");
        }
        Ok(had)
    }

    /// What the release's components are told, durably. What is there already stays as it is.
    pub(super) fn hand_secrets_over(&self, handed: &Handed, target: &Started) -> Result<(), ConvergeError> {
        for part in target.parts.iter().filter(|part| !part.secrets.is_empty()) {
            let component = &part.component;
            handed.link_from(&target.slot)?;
            handed.write_kept(&component.name, &part.secrets)?;
            let given = |as_what: GivenAs| {
                let wanted = component
                    .secrets
                    .iter()
                    .filter(move |wanted| wanted.given == as_what);
                wanted.filter_map(|wanted| Some((&wanted.name, part.secrets.get(&wanted.name)?)))
            };
            let owner = component.run.user().map(Owner::named).transpose()?.flatten();
            let files: Vec<(String, &[u8])> = given(GivenAs::File)
                .map(|(name, secret)| (name.to_string(), secret.expose()))
                .collect();
            handed.write_secrets(&component.name, &files, owner)?;
            if matches!(part.spec.how, How::Systemd(_)) {
                let environment = unit_file::environment(given(GivenAs::Env));
                let credentials: Vec<(&SecretName, &Secret)> = given(GivenAs::Credential).collect();
                handed.write_for_unit(&component.name, environment.as_deref(), &credentials, owner)?;
            }
        }
        Ok(())
    }
}

fn question(wanted: &SecretWanted) -> Wanted {
    (wanted.from.clone(), wanted.key.clone())
}

/// None where nobody was asked.
fn answer(had: &Had, wanted: &SecretWanted) -> Option<Result<Secret, Why>> {
    let secret = match had.get(&question(wanted))?.clone() {
        Ok(secret) => secret,
        Err(why) => return Some(Err(why)),
    };
    redact::know(&secret);
    Some(match wanted.given {
        GivenAs::Env => secret
            .as_variable()
            .map(drop)
            .map(|()| secret.clone())
            .map_err(Why::from),
        GivenAs::File | GivenAs::Credential => Ok(secret),
    })
}

fn absent(wanted: &SecretWanted, refused: Option<Result<Secret, Why>>) -> SecretError {
    let why = match refused {
        Some(Err(why)) => why,
        Some(Ok(_)) | None => Why::new("it was not kept on this node"),
    };
    SecretError::Absent {
        name: wanted.name.clone(),
        from: wanted.from.clone(),
        key: wanted.key.clone(),
        why,
    }
}
