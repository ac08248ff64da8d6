//! `[[component.file]]`: a file of the component that is filled in on the node.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Component;
use crate::tree::TreePath;

const FILES_MAX: usize = 64;

/// `${…}` is filled in as in [`super::Supervise`]. What comes of it lies in a directory of
/// the component's own, which `${config}` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// Among the component's files.
    pub template: TreePath,
    /// In `${config}`.
    pub path: TreePath,
    #[serde(default)]
    pub mode: FileMode,
}

/// Who may read and write a file, as `0640`; never with the rights of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileMode(u32);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a mode; write three octal digits and no more, as 0640")]
pub struct FileModeError(String);

impl FileMode {
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl Default for FileMode {
    fn default() -> Self {
        Self(0o640)
    }
}

impl FromStr for FileMode {
    type Err = FileModeError;
    fn from_str(text: &str) -> Result<Self, FileModeError> {
        let digits = match text.len() {
            4 => text.strip_prefix('0'),
            3 => Some(text),
            _ => None,
        };
        let is_octal = |digits: &&str| digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        digits
            .filter(is_octal)
            .and_then(|digits| u32::from_str_radix(digits, 8).ok())
            .map(Self)
            .ok_or_else(|| FileModeError(text.chars().take(16).collect()))
    }
}

impl TryFrom<String> for FileMode {
    type Error = FileModeError;
    fn try_from(text: String) -> Result<Self, FileModeError> {
        text.parse()
    }
}

impl From<FileMode> for String {
    fn from(mode: FileMode) -> String {
        mode.to_string()
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Continues "component …".
pub(super) fn files_must_make_sense(component: &Component) -> Result<(), String> {
    let files = &component.files;
    if files.len() > FILES_MAX {
        return Err(format!("has more than {FILES_MAX} files to be filled in"));
    }
    for (i, file) in files.iter().enumerate() {
        for other in &files[..i] {
            if other.path == file.path {
                return Err(format!("has two files for `{}`", file.path));
            }
            let is_in = |one: &TreePath, other: &TreePath| one.parents().any(|above| above == other.as_str());
            if is_in(&file.path, &other.path) || is_in(&other.path, &file.path) {
                return Err(format!(
                    "has the file `{}` where `{}` needs a directory",
                    other.path, file.path
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use crate::release::sample;

    #[test]
    fn a_mode_lets_nobody_act_as_somebody_else() {
        for (text, bits) in [("0640", 0o640), ("644", 0o644), ("0000", 0)] {
            let mode: FileMode = text.parse().unwrap();
            assert_eq!(mode.bits(), bits);
        }
        for bad in ["4755", "1777", "06400", "0648", "rw-r-----", "", "64", "+640"] {
            let error = bad.parse::<FileMode>().unwrap_err().to_string();
            assert!(error.contains("three octal digits"), "{error}");
        }
    }

    #[test]
    fn files_stay_in_their_directory_and_out_of_each_other_s_way() {
        let file = |path: &str| -> Result<ConfigFile, _> {
            serde_json::from_value(serde_json::json!({"template": "app.conf", "path": path}))
        };
        for bad in ["/etc/passwd", "../app.conf", "a/../../b", ""] {
            file(bad).unwrap_err();
        }
        for (paths, why) in [
            (["app.conf", "conf.d/app.conf"], None),
            (["app.conf", "app.conf"], Some("has two files for `app.conf`")),
            (
                ["conf", "conf/app.conf"],
                Some("where `conf/app.conf` needs a directory"),
            ),
            (["conf/app.conf", "conf"], Some("where `conf` needs a directory")),
        ] {
            let mut manifest = sample();
            manifest.components[0].files = paths.iter().map(|path| file(path).unwrap()).collect();
            let found = manifest.check().err().map(|error| error.to_string());
            match why {
                None => assert_eq!(found, None),
                Some(why) => assert!(found.as_ref().unwrap().contains(why), "{found:?}"),
            }
        }
    }
}
