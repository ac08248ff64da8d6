//! `[[component.secret]]`: what a component needs to know that no release may say.
//!
//! A release names a provider and a key. What they stand for is known to the node alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Component, Run};
use crate::ids::ProviderName;

const SECRETS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 128;
const KEY_BYTES_MAX: usize = 512;
/// The agent's own, and those by which a process finds its programs.
const OWN_VARIABLES: [&str; 3] = ["PATH", "HOME", "PM2_HOME"];
const OWN_PREFIX: &str = "FLEET_";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretWanted {
    /// Of the variable, the file or the credential.
    pub name: SecretName,
    /// A `[secrets.NAME]` of the node's.
    pub from: ProviderName,
    pub key: SecretKeyName,
    #[serde(rename = "as")]
    pub given: GivenAs,
}

/// How a process gets at a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GivenAs {
    /// A variable of its environment, and of its checks' and its migrations'.
    Env,
    /// A file that `${secret.NAME}` names.
    File,
    /// One of systemd's credentials.
    Credential,
}

impl GivenAs {
    /// A process has it from its start, and learns of another one by no reload.
    pub const fn is_from_the_start(self) -> bool {
        !matches!(self, Self::File)
    }
}

/// `DATABASE_URL`, `tls.key`: the name of a file too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no name for a secret; use letters, digits, `_`, `-` and `.`, and begin with one of the first three"
)]
pub struct SecretNameError(String);

impl SecretName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_variable(&self) -> bool {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        self.0.chars().all(is_part) && !self.0.starts_with(|letter: char| letter.is_ascii_digit())
    }
}

impl FromStr for SecretName {
    type Err = SecretNameError;
    fn from_str(text: &str) -> Result<Self, SecretNameError> {
        let is_known = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
        let is_name = !text.is_empty()
            && text.len() <= NAME_BYTES_MAX
            && text.chars().all(is_known)
            && !text.starts_with(['.', '-']);
        is_name
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| SecretNameError(text.chars().take(64).collect()))
    }
}

/// What the provider calls it: a file's name, a command's argument, `shop/db#password`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretKeyName(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a secret's key is empty, longer than {KEY_BYTES_MAX} bytes, or has control characters in it")]
pub struct SecretKeyNameError;

impl SecretKeyName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretKeyName {
    type Err = SecretKeyNameError;
    fn from_str(text: &str) -> Result<Self, SecretKeyNameError> {
        let is_one = !text.is_empty() && text.len() <= KEY_BYTES_MAX && !text.chars().any(char::is_control);
        is_one.then(|| Self(text.to_owned())).ok_or(SecretKeyNameError)
    }
}

macro_rules! text {
    ($name:ident, $error:ident) => {
        impl TryFrom<String> for $name {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

text!(SecretName, SecretNameError);
text!(SecretKeyName, SecretKeyNameError);

/// Continues "component …".
pub(super) fn secrets_must_make_sense(component: &Component) -> Result<(), String> {
    let secrets = &component.secrets;
    if secrets.len() > SECRETS_MAX {
        return Err(format!("needs more than {SECRETS_MAX} secrets"));
    }
    let env = match &component.run {
        Run::Supervise(supervise) => &supervise.env,
        Run::Systemd(systemd) => &systemd.env,
        Run::Pm2(pm2) => &pm2.env,
        Run::Static(_) | Run::Agent(_) if secrets.is_empty() => return Ok(()),
        Run::Static(_) | Run::Agent(_) => return Err("has no process that could be told a secret".to_owned()),
    };
    for (i, secret) in secrets.iter().enumerate() {
        let name = &secret.name;
        if secrets[..i].iter().any(|other| other.name == *name) {
            return Err(format!("needs the secret `{name}` twice"));
        }
        match secret.given {
            GivenAs::Credential if !matches!(component.run, Run::Systemd(_)) => {
                return Err(format!(
                    "needs `{name}` as a credential, which only units have; write as = \"file\""
                ));
            }
            GivenAs::Env if !name.is_variable() => {
                return Err(format!(
                    "needs the secret `{name}` as a variable, which is no name for one"
                ));
            }
            GivenAs::Env
                if OWN_VARIABLES.contains(&name.as_str()) || name.as_str().starts_with(OWN_PREFIX) =>
            {
                return Err(format!(
                    "needs the secret `{name}` as a variable that is set by Fleet"
                ));
            }
            GivenAs::Env if env.contains_key(name.as_str()) => {
                return Err(format!("has `{name}` in its environment, and as a secret too"));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use crate::release::{Manifest, sample};

    fn wants(secrets: &[(&str, &str)]) -> Manifest {
        let mut manifest = sample();
        let wanted = |(name, given): &(&str, &str)| {
            let json =
                serde_json::json!({"name": name, "from": "vault", "key": "shop/db#password", "as": given});
            serde_json::from_value(json).unwrap()
        };
        manifest.components[0].secrets = secrets.iter().map(wanted).collect();
        manifest
    }

    #[test]
    fn what_a_component_can_be_told_makes_sense() {
        wants(&[("DATABASE_URL", "env"), ("tls.key", "file")])
            .check()
            .unwrap();
        let refused = |manifest: &Manifest| manifest.check().unwrap_err().to_string();
        for (secrets, why) in [
            (vec![("A", "env"), ("A", "file")], "`A` twice"),
            (vec![("tls.key", "env")], "which is no name for one"),
            (vec![("1A", "env")], "which is no name for one"),
            (vec![("PATH", "env")], "set by Fleet"),
            (vec![("FLEET_RUN", "env")], "set by Fleet"),
            (vec![("A", "credential")], "which only units have"),
        ] {
            let error = refused(&wants(&secrets));
            assert!(error.contains(why), "{error}");
        }
        let run = |json| serde_json::from_value(json).unwrap();
        let mut unit = wants(&[("A", "credential")]);
        unit.components[0].run = run(serde_json::json!({"kind": "systemd", "unit": "a.service"}));
        unit.check().unwrap();
        unit.components[0].run =
            run(serde_json::json!({"kind": "supervise", "command": ["a"], "env": {"A": "1"}}));
        unit.components[0].secrets[0].given = GivenAs::Env;
        assert!(refused(&unit).contains("and as a secret too"));
        unit.components[0].run = run(serde_json::json!({"kind": "static", "root": "/srv"}));
        assert!(refused(&unit).contains("no process that could be told"));
    }

    #[test]
    fn names_are_names_of_files_and_keys_are_plain() {
        for bad in ["", "../a", "a/b", ".a", "-a", "a b", "ä"] {
            bad.parse::<SecretName>().unwrap_err();
        }
        for bad in ["", "a\nb", &"x".repeat(KEY_BYTES_MAX + 1)] {
            bad.parse::<SecretKeyName>().unwrap_err();
        }
    }
}
