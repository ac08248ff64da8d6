//! As whom, where and within which limits the agent runs a process.

use serde::{Deserialize, Serialize};

use super::Supervise;
use crate::quantity::Bytes;

/// Of users and groups; with the name of a domain they are longer than a system's own.
const NAME_BYTES_MAX: usize = 128;
/// A program of a few megabytes cannot even be mapped in less.
const ADDRESS_SPACE_MIN: Bytes = Bytes(16 << 20);

/// What the kernel lets one process have, and `processes` all of its user's. What is not
/// named is as the agent has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// Threads are counted as processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Of what a crash leaves behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_space: Option<Bytes>,
}

impl Limits {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Supervise {
    pub(super) fn must_make_sense(&self) -> Result<(), String> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err("has an empty command".to_owned());
        }
        for (key, name) in [("user", &self.user), ("group", &self.group)] {
            if let Some(name) = name.as_deref().filter(|name| !is_name(name)) {
                let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
                return Err(format!("has the {key} `{shown}`, which is no name"));
            }
        }
        if self.group.is_some() && self.user.is_none() {
            return Err("has a `group` and no `user` who is in it".to_owned());
        }
        if let Some(directory) = self.directory.as_deref().filter(|path| !is_directory(path)) {
            return Err(format!(
                "has the directory `{directory}`, which is neither absolute nor within the component's files"
            ));
        }
        let Limits {
            open_files,
            processes,
            address_space,
            core: _,
        } = self.limits;
        if open_files == Some(0) || processes == Some(0) {
            return Err("may have no open files or no processes at all".to_owned());
        }
        match address_space {
            Some(bytes) if bytes < ADDRESS_SPACE_MIN => Err(format!(
                "has an address space of {bytes}, and nothing starts in less than {ADDRESS_SPACE_MIN}"
            )),
            _ => Ok(()),
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_unknown = |letter: char| letter.is_control() || letter.is_whitespace() || ":/,".contains(letter);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.starts_with('-') && !name.contains(is_unknown)
}

/// Where the node has a say in it, the node finds out.
fn is_directory(path: &str) -> bool {
    let leads_out = path.split('/').any(|part| part == "..");
    !path.is_empty() && !path.contains('\0') && (path.starts_with(['/', '$']) || !leads_out)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn read(more: &serde_json::Value) -> Supervise {
        let mut json = serde_json::json!({ "command": ["./web"] });
        json.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_names_nobody_and_leads_out_is_refused() {
        for good in [
            serde_json::json!({}),
            serde_json::json!({ "user": "www-data", "group": "adm", "directory": "var/data" }),
            serde_json::json!({ "user": "shop_1.api", "directory": "/var/lib/shop" }),
            serde_json::json!({ "directory": "${var.data}" }),
            serde_json::json!({ "limits": { "core": "0", "address_space": "2GiB" } }),
        ] {
            read(&good).must_make_sense().unwrap();
        }
        for (bad, why) in [
            (
                serde_json::json!({ "user": "" }),
                "has the user ``, which is no name",
            ),
            (serde_json::json!({ "user": "a b" }), "which is no name"),
            (
                serde_json::json!({ "user": "a", "group": "-b" }),
                "has the group `-b`",
            ),
            (serde_json::json!({ "group": "adm" }), "no `user` who is in it"),
            (
                serde_json::json!({ "directory": "a/../../b" }),
                "neither absolute nor within",
            ),
            (
                serde_json::json!({ "directory": "" }),
                "neither absolute nor within",
            ),
            (
                serde_json::json!({ "limits": { "open_files": 0 } }),
                "no open files",
            ),
            (
                serde_json::json!({ "limits": { "address_space": "1MiB" } }),
                "nothing starts in less than 16MiB",
            ),
        ] {
            let found = read(&bad).must_make_sense().unwrap_err();
            assert!(found.contains(why), "{found}");
        }
    }

    /// A manifest is signed as it is written: what says nothing of it stays as it was.
    #[test]
    fn what_is_not_said_is_not_written() {
        let written = serde_json::to_value(read(&serde_json::json!({}))).unwrap();
        for key in ["user", "group", "directory", "limits"] {
            assert!(written.get(key).is_none(), "{written}");
        }
        let limited = read(&serde_json::json!({ "limits": { "open_files": 64, "core": "1KiB" } }));
        let written = serde_json::to_value(&limited).unwrap();
        assert_eq!(
            written["limits"],
            serde_json::json!({ "open_files": 64, "core": "1024B" })
        );
        assert_eq!(serde_json::from_value::<Supervise>(written).unwrap(), limited);
    }
}
