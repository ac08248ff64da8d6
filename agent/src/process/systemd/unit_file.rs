//! What is written into systemd's directories, and whose it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fleet_proto::ids::{AppName, ComponentName};
use fleet_proto::release::SecretName;

use crate::secrets::Secret;

/// How every file begins that Fleet has put there: others are not touched.
const MARK: &str = "# Installed by Fleet";

/// Whether what is there was put there for the same app as what is to be there.
pub fn is_of_this_app(there: &str, wanted: &str) -> bool {
    let app = |text: &str| {
        let mark = text.lines().next()?.strip_prefix(MARK)?;
        Some(mark.split_once(" of ")?.1.to_owned())
    };
    app(there).is_some() && app(there) == app(wanted)
}

pub fn is_of_this_component(there: &str, wanted: &str) -> bool {
    is_of_this_app(there, wanted) && there.lines().next() == wanted.lines().next()
}

/// A unit as a release brings it.
pub fn installed(app: &AppName, component: &ComponentName, text: &str) -> String {
    format!("{}{text}", mark(app, component))
}

/// Where systemd finds what everybody who can read a unit must not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretPaths {
    pub environment: Option<PathBuf>,
    pub credentials: BTreeMap<SecretName, PathBuf>,
}

/// What the manifest adds to a unit, whoever brought that. None if it adds nothing.
pub fn drop_in(
    app: &AppName,
    component: &ComponentName,
    env: &BTreeMap<String, String>,
    secrets: &SecretPaths,
) -> Option<String> {
    if env.is_empty() && *secrets == SecretPaths::default() {
        return None;
    }
    let mut text = format!("{}[Service]\n", mark(app, component));
    for (name, value) in env {
        text.push_str(&format!("Environment=\"{}={}\"\n", quoted(name), quoted(value)));
    }
    let plain = |path: &Path| path.display().to_string().replace('%', "%%");
    if let Some(path) = &secrets.environment {
        text.push_str(&format!("EnvironmentFile={}\n", plain(path)));
    }
    for (name, path) in &secrets.credentials {
        text.push_str(&format!("LoadCredential={name}:{}\n", plain(path)));
    }
    Some(text)
}

/// As systemd reads it: within double quotes, where four letters mean something else.
pub fn environment<'a>(variables: impl Iterator<Item = (&'a SecretName, &'a Secret)>) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for (name, secret) in variables {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b"=\"");
        for byte in secret.expose() {
            if b"\"\\`$".contains(byte) {
                text.push(b'\\');
            }
            text.push(*byte);
        }
        text.extend_from_slice(b"\"\n");
    }
    (!text.is_empty()).then_some(text)
}

fn mark(app: &AppName, component: &ComponentName) -> String {
    format!("{MARK} for {component} of {app}; the next release replaces it\n")
}

/// Within double quotes, and with nothing that systemd would fill in.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '%' => quoted.push_str("%%"),
            letter => quoted.push(letter),
        }
    }
    quoted
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn env_of(name: &str) -> BTreeMap<String, String> {
        [(name.to_owned(), "1".to_owned())].into()
    }

    #[test]
    fn variables_are_taken_as_they_are() {
        let none = SecretPaths::default();
        let (app, component) = ("shop".parse().unwrap(), "api".parse().unwrap());
        let env = [("GREETING", "50% \"off\"\\\nnow"), ("PORT", "80")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let text = drop_in(&app, &component, &env.into(), &none).unwrap();
        let other = drop_in(&app, &"web".parse().unwrap(), &env_of("A"), &none).unwrap();
        assert!(is_of_this_app(&text, &other) && !is_of_this_component(&text, &other));
        let stranger = drop_in(&"till".parse().unwrap(), &component, &env_of("A"), &none).unwrap();
        assert!(!is_of_this_app(&text, &stranger) && !is_of_this_app("[Service]\n", &text));
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "[Service]",
                r#"Environment="GREETING=50%% \"off\"\\\nnow""#,
                r#"Environment="PORT=80""#
            ]
        );
        assert_eq!(drop_in(&app, &component, &BTreeMap::new(), &none), None);
        let secrets = SecretPaths {
            environment: Some("/a%b/environment".into()),
            credentials: [("key".parse().unwrap(), "/a/key".into())].into(),
        };
        let text = drop_in(&app, &component, &BTreeMap::new(), &secrets).unwrap();
        let text = text.split_once("[Service]\n").unwrap().1;
        assert_eq!(
            text,
            "EnvironmentFile=/a%%b/environment\nLoadCredential=key:/a/key\n"
        );
    }

    #[test]
    fn systemd_takes_variables_as_they_are() {
        let name: SecretName = "A".parse().unwrap();
        let secret = Secret::new("a \"b\" \\ $HOME `x` 'y' %n #\nz".into()).unwrap();
        let text = environment([(&name, &secret)].into_iter()).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text, "A=\"a \\\"b\\\" \\\\ \\$HOME \\`x\\` 'y' %n #\nz\"\n");
        assert_eq!(environment(std::iter::empty()), None);
    }
}
