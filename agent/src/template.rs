//! `${…}` in commands, environments and checks, filled in on the node.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fleet_proto::ids::{AppName, NodeId};
use fleet_proto::version::Version;

const SHOWN_CHARS_MAX: usize = 200;

/// What the words stand for.
#[derive(Debug, Clone)]
pub struct Words {
    pub node: NodeId,
    pub app: AppName,
    pub version: Version,
    /// The component's own directory.
    pub directory: PathBuf,
    pub vars: BTreeMap<String, String>,
    /// Where its files are that were filled in, if it has any.
    pub config: Option<PathBuf>,
    /// Where its secrets are that are files.
    pub secrets: BTreeMap<String, PathBuf>,
    /// The newest of the database, where there is one: for migrations.
    pub backup: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("`{text}` has `${{` without `}}`")]
    Open { text: String },
    #[error("`{text}` has a lone `$`; write `$$` for a dollar sign")]
    Lone { text: String },
    #[error(
        "`${{var.{name}}}` is not set for this node\nhint: [vars] in fleet.toml sets it for all, [vars] in agent.toml for this node; set are: {known}"
    )]
    Variable { name: String, known: String },
    #[error(
        "`${{config}}` is for components with files to be filled in\nhint: [[component.file]] names them"
    )]
    Config,
    #[error(
        "`${{secret.{name}}}` names a file, and this component has {known}\nhint: [[component.secret]] with as = \"file\""
    )]
    Secret { name: String, known: String },
    #[error("`${{backup}}` is for migrations, and there is none on this node yet")]
    Backup,
    #[error(
        "`${{{word}}}` is not known; there are ${{node}}, ${{app}}, ${{version}}, ${{dir}}, ${{config}}, ${{secret.NAME}} and ${{var.NAME}}"
    )]
    Word { word: String },
}

impl Words {
    pub fn fill(&self, text: &str) -> Result<String, TemplateError> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            filled.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(tail) = after.strip_prefix('$') {
                filled.push('$');
                rest = tail;
            } else if let Some(tail) = after.strip_prefix('{') {
                let (word, tail) = tail
                    .split_once('}')
                    .ok_or_else(|| TemplateError::Open { text: shown(text) })?;
                filled.push_str(&self.word(word)?);
                rest = tail;
            } else {
                return Err(TemplateError::Lone { text: shown(text) });
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }

    /// In a text with a `$` of its own, as a unit has: only the words that are known here.
    pub fn fill_known(&self, text: &str) -> Result<String, TemplateError> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            filled.push_str(before);
            let word = after.split_once('}').map(|(word, _)| word);
            match word.map(|word| self.word(word)) {
                None | Some(Err(TemplateError::Word { .. } | TemplateError::Config)) => {
                    filled.push_str("${");
                    rest = after;
                }
                Some(known) => {
                    filled.push_str(&known?);
                    rest = after.split_once('}').map_or("", |(_, rest)| rest);
                }
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }

    pub fn fill_all(&self, texts: &[String]) -> Result<Vec<String>, TemplateError> {
        texts.iter().map(|text| self.fill(text)).collect()
    }

    fn word(&self, word: &str) -> Result<String, TemplateError> {
        if let Some(name) = word.strip_prefix("var.") {
            return self
                .vars
                .get(name)
                .cloned()
                .ok_or_else(|| TemplateError::Variable {
                    name: name.to_owned(),
                    known: known(&self.vars),
                });
        }
        if let Some(name) = word.strip_prefix("secret.") {
            let path = self.secrets.get(name);
            return path
                .map(|path| path.display().to_string())
                .ok_or_else(|| TemplateError::Secret {
                    name: shown(name),
                    known: known(&self.secrets),
                });
        }
        Ok(match word {
            "node" => self.node.to_string(),
            "app" => self.app.to_string(),
            "version" => self.version.to_string(),
            "dir" => self.directory.display().to_string(),
            "config" => match &self.config {
                Some(path) => path.display().to_string(),
                None => return Err(TemplateError::Config),
            },
            "backup" => match &self.backup {
                Some(path) => path.display().to_string(),
                None => return Err(TemplateError::Backup),
            },
            _ => {
                return Err(TemplateError::Word { word: shown(word) });
            }
        })
    }
}

/// Lines of files may be long.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

fn known<T>(vars: &BTreeMap<String, T>) -> String {
    if vars.is_empty() {
        return "none".to_owned();
    }
    vars.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    fn words() -> Words {
        Words {
            node: "n01".parse().unwrap(),
            app: "shop".parse().unwrap(),
            version: "v1.0.0".parse().unwrap(),
            directory: "/d".into(),
            vars: [("port".to_owned(), "8080".to_owned())].into(),
            config: None,
            secrets: [("tls.key".to_owned(), "/s/tls.key".into())].into(),
            backup: None,
        }
    }

    #[test]
    fn words_are_filled_in() {
        for (text, expected) in [
            ("plain", "plain"),
            ("--port=${var.port}", "--port=8080"),
            ("${node}/${app}/${version}", "n01/shop/v1.0.0"),
            ("${dir}/web", "/d/web"),
            ("--key ${secret.tls.key}", "--key /s/tls.key"),
            ("costs 5$$", "costs 5$"),
            ("$${node}", "${node}"),
        ] {
            assert_eq!(words().fill(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_a_unit_means_for_systemd_stays() {
        for (text, expected) in [
            (
                "Environment=PORT=${var.port} HOST=${node}",
                "Environment=PORT=8080 HOST=n01",
            ),
            (
                "ExecStart=${dir}/web --port ${PORT} $ARGS $$x",
                "ExecStart=/d/web --port ${PORT} $ARGS $$x",
            ),
            ("load ${config}", "load ${config}"),
            ("${unclosed ${app", "${unclosed ${app"),
        ] {
            assert_eq!(words().fill_known(text).as_deref(), Ok(expected), "{text}");
        }
        let error = words().fill_known("${var.prot}").unwrap_err().to_string();
        assert!(error.contains("is not set for this node"), "{error}");
    }

    #[test]
    fn mistakes_say_what_would_be_right() {
        for (text, expected) in [
            ("${node", "`${node` has `${` without `}`"),
            ("$HOME", "`$HOME` has a lone `$`; write `$$` for a dollar sign"),
            (
                "${var.prot}",
                "`${var.prot}` is not set for this node\nhint: [vars] in fleet.toml sets it for all, [vars] in agent.toml for this node; set are: port",
            ),
            (
                "${secret.DB}",
                "`${secret.DB}` names a file, and this component has tls.key\nhint: [[component.secret]] with as = \"file\"",
            ),
            (
                "${host}",
                "`${host}` is not known; there are ${node}, ${app}, ${version}, ${dir}, ${config}, ${secret.NAME} and ${var.NAME}",
            ),
        ] {
            assert_eq!(words().fill(text).unwrap_err().to_string(), expected);
        }
    }
}
