//! A component's files that are filled in on the node.

use std::path::Path;

use fleet_proto::release::{Component, ConfigFile};
use fleet_proto::tree::TreePath;

use super::ConvergeError;
use crate::durable::failed;
use crate::handed::{Owner, Plain};
use crate::slots::Slot;
use crate::template::{TemplateError, Words};

/// Of a template, and of what comes of it: both are kept in memory.
const FILE_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    #[error("the template {template} {why}")]
    Unfit { template: TreePath, why: &'static str },
    #[error("line {line} of the template {template}")]
    Words {
        template: TreePath,
        line: usize,
        #[source]
        source: TemplateError,
    },
    #[error("there is no user {name} on this node")]
    NoUser { name: String },
}

/// All of them, or why one cannot be.
pub(super) fn filled_in(
    slot: &Slot,
    words: &Words,
    component: &Component,
) -> Result<Vec<Plain>, ConvergeError> {
    let wrong = |source| ConvergeError::ConfigFile {
        component: component.name.clone(),
        source,
    };
    if component.files.is_empty() {
        return Ok(Vec::new());
    }
    let owner = owner(component)?.map_err(wrong)?;
    let files = component.files.iter().map(|file| {
        let template = slot.files(&component.name).join(file.template.as_str());
        let text = read(&template, file)?.map_err(wrong)?;
        let filled = fill(words, file, &text).map_err(wrong)?;
        Ok(Plain {
            path: file.path.clone(),
            bytes: filled.into_bytes(),
            mode: file.mode.bits(),
            owner,
        })
    });
    files.collect()
}

/// Whose it is; nobody is named where it is the agent's own.
fn owner(component: &Component) -> Result<Result<Option<Owner>, ConfigFileError>, ConvergeError> {
    let Some(name) = component.run.user() else {
        return Ok(Ok(None));
    };
    Ok(match Owner::named(name)? {
        Some(owner) => Ok(Some(owner)),
        None => Err(ConfigFileError::NoUser {
            name: name.to_owned(),
        }),
    })
}

fn read(path: &Path, file: &ConfigFile) -> Result<Result<String, ConfigFileError>, ConvergeError> {
    let unfit = |why| {
        let template = file.template.clone();
        Ok(Err(ConfigFileError::Unfit { template, why }))
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return unfit("is not among its files");
        }
        Err(error) => return Err(failed("read", path)(error).into()),
        Ok(about) if !about.is_file() => return unfit("is no file"),
        Ok(about) if about.len() > FILE_BYTES_MAX as u64 => return unfit("is larger than 1MiB"),
        Ok(_) => {}
    }
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => unfit("is no text"),
        read => Ok(Ok(read.map_err(failed("read", path))?)),
    }
}

/// Line by line, so that a mistake has a place.
fn fill(words: &Words, file: &ConfigFile, text: &str) -> Result<String, ConfigFileError> {
    let mut filled = String::with_capacity(text.len());
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let line = words.fill(line).map_err(|source| ConfigFileError::Words {
            template: file.template.clone(),
            line: i + 1,
            source,
        })?;
        if filled.len() + line.len() > FILE_BYTES_MAX {
            return Err(ConfigFileError::Unfit {
                template: file.template.clone(),
                why: "is larger than 1MiB when it is filled in",
            });
        }
        filled.push_str(&line);
    }
    Ok(filled)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn check(text: &str, level: &str) -> Result<String, String> {
        let words = Words {
            node: "n01".parse().unwrap(),
            app: "shop".parse().unwrap(),
            version: "v1.0.0".parse().unwrap(),
            directory: "/d".into(),
            vars: [("level".to_owned(), level.to_owned())].into(),
            config: Some("/c".into()),
            secrets: [].into(),
            backup: None,
        };
        let file = serde_json::json!({"template": "app.conf", "path": "app.conf"});
        let file = serde_json::from_value(file).unwrap();
        fill(&words, &file, text).map_err(|error| crate::effects::chain(&error))
    }

    #[test]
    fn every_line_is_filled_in_and_a_mistake_has_its_place() {
        let filled = check("level = ${var.level}\r\nin = ${config}\n$$HOME", "debug");
        assert_eq!(filled.unwrap(), "level = debug\r\nin = /c\n$HOME");
        let error = check("a\nb = ${var.lvel}\n", "debug").unwrap_err();
        assert!(
            error.starts_with("line 2 of the template app.conf: `${var.lvel}` is not set"),
            "{error}"
        );
        let error = check("a = ${hots}", "debug").unwrap_err();
        assert!(error.contains("`${hots}` is not known"), "{error}");
    }

    #[test]
    fn what_grows_without_bounds_is_refused() {
        let word = "x".repeat(4096);
        let text = "${var.level}\n".repeat(300);
        let error = check(&text, &word).unwrap_err();
        assert!(
            error.contains("is larger than 1MiB when it is filled in"),
            "{error}"
        );
        let error = check(&format!("${}", "y".repeat(100_000)), "").unwrap_err();
        assert!(error.len() < 1000, "{}", error.len());
    }
}
