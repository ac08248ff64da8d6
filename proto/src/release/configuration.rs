//! What a release says of its configuration, and what each environment lays over it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Manifest, Run};
use crate::ids::EnvironmentName;

const VARS_MAX: usize = 512;
const VAR_NAME_BYTES_MAX: usize = 128;

/// `[environment.NAME]` of a `fleet.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentOverlay {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, String>,
}

impl Run {
    /// As whom its process runs, and whose what is handed to it is; the agent's own user
    /// where nobody is named.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Systemd(systemd) => systemd.user.as_deref(),
            Self::Pm2(pm2) => pm2.user.as_deref(),
            Self::Supervise(supervise) => supervise.user.as_deref(),
            Self::Static(_) | Self::Agent(_) => None,
        }
    }
}

impl Manifest {
    /// `${var.NAME}` on a node: its own word goes before its environment's, and that before
    /// the app's. An environment of which the release says nothing has the app's.
    pub fn vars(
        &self,
        environment: Option<&EnvironmentName>,
        node: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let overlay = environment.and_then(|name| self.environments.get(name));
        let mut vars = self.vars.clone();
        vars.extend(overlay.map(|overlay| overlay.vars.clone()).unwrap_or_default());
        vars.extend(node.clone());
        vars
    }

    pub(super) fn vars_must_make_sense(&self) -> Result<(), String> {
        let overlays = self.environments.values().map(|overlay| &overlay.vars);
        for vars in overlays.chain([&self.vars]) {
            if vars.len() > VARS_MAX {
                return Err(format!("it has more than {VARS_MAX} variables in one place"));
            }
            if let Some(name) = vars.keys().find(|name| !is_name(name)) {
                let name: String = name.chars().take(VAR_NAME_BYTES_MAX).collect();
                return Err(format!("`{name}` is no name that ${{var.NAME}} could have"));
            }
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let is_known = |letter: char| letter.is_alphanumeric() || "_-.".contains(letter);
    !name.is_empty() && name.len() <= VAR_NAME_BYTES_MAX && name.chars().all(is_known)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use crate::release::sample;

    fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    fn manifest() -> Manifest {
        let mut manifest = sample();
        manifest.vars = vars(&[("level", "info"), ("port", "80"), ("host", "app")]);
        let staging = EnvironmentOverlay {
            vars: vars(&[("level", "debug"), ("port", "81")]),
        };
        manifest.environments.insert("staging".parse().unwrap(), staging);
        manifest
    }

    #[test]
    fn the_node_goes_before_the_environment_and_that_before_the_app() {
        let (manifest, node) = (manifest(), vars(&[("port", "8080"), ("own", "1")]));
        let staging = "staging".parse().unwrap();
        let expected = [
            ("level", "debug"),
            ("port", "8080"),
            ("host", "app"),
            ("own", "1"),
        ];
        assert_eq!(manifest.vars(Some(&staging), &node), vars(&expected));
        let plain = [("level", "info"), ("port", "8080"), ("host", "app"), ("own", "1")];
        for other in [None, Some(&"production".parse().unwrap())] {
            assert_eq!(manifest.vars(other, &node), vars(&plain));
        }
    }

    #[test]
    fn names_that_no_word_could_have_are_refused() {
        manifest().check().unwrap();
        for name in ["", "a}b", "a b"] {
            let mut manifest = manifest();
            manifest.vars.insert(name.to_owned(), String::new());
            let error = manifest.check().unwrap_err().to_string();
            assert!(
                error.contains("is no name that ${var.NAME} could have"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_manifest_without_any_is_the_same_bytes_as_before() {
        let text = serde_json::to_string(&sample()).unwrap();
        assert!(!text.contains("vars") && !text.contains("environments"), "{text}");
    }
}
