//! `[secrets.NAME]` of `agent.toml`: where this node has its secrets from.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use fleet_proto::quantity::Span;
use serde::Deserialize;

/// Of each question; a store that has to be woken up takes some seconds.
const TIMEOUT: Span = Span::from_secs(10);
const MOUNT: &str = "secret";
/// What stands for the key in a command.
pub const KEY: &str = "${key}";

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Provider {
    File(FileProvider),
    Exec(ExecProvider),
    Vault(VaultProvider),
}

/// A directory with a file for each secret, or a file with lines as `KEY=value`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileProvider {
    pub path: PathBuf,
}

/// What the command writes to its stdout is the secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ExecSection")]
pub struct ExecProvider {
    pub command: Vec<String>,
    pub timeout: Span,
}

/// Vault, or what speaks as it does (OpenBao): its second version of a store of keys and values.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "VaultSection")]
pub struct VaultProvider {
    pub address: VaultAddress,
    pub mount: String,
    pub login: Login,
    /// Who says that it is Vault; the machine's own authorities where absent.
    pub ca: Option<PathBuf>,
    pub timeout: Span,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    Token {
        file: PathBuf,
    },
    AppRole {
        role_id: String,
        secret_id_file: PathBuf,
    },
}

/// `https://vault.example:8200`, or plain http on this very machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultAddress {
    pub is_tls: bool,
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    #[error("`{0}` is not https://host:port; http is spoken on loopback only")]
    Address(String),
    #[error("the command is empty")]
    NoCommand,
    #[error("the command has no `${{key}}`, so that every secret would be the same")]
    NoKey,
    #[error("it needs `token_file`, or `role_id` and `secret_id_file`, and not both")]
    Login,
    #[error("`{0}` is no mount")]
    Mount(String),
    #[error("its timeout is zero")]
    NoTime,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExecSection {
    command: Vec<String>,
    #[serde(default = "timeout")]
    timeout: Span,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultSection {
    address: String,
    #[serde(default = "mount")]
    mount: String,
    token_file: Option<PathBuf>,
    role_id: Option<String>,
    secret_id_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    #[serde(default = "timeout")]
    timeout: Span,
}

fn timeout() -> Span {
    TIMEOUT
}

fn mount() -> String {
    MOUNT.to_owned()
}

impl TryFrom<ExecSection> for ExecProvider {
    type Error = ProviderError;
    fn try_from(section: ExecSection) -> Result<Self, ProviderError> {
        let ExecSection { command, timeout } = section;
        if command
            .first()
            .is_none_or(|program| program.is_empty() || program.contains(KEY))
        {
            return Err(ProviderError::NoCommand);
        }
        if !command.iter().any(|argument| argument.contains(KEY)) {
            return Err(ProviderError::NoKey);
        }
        if timeout == Span::ZERO {
            return Err(ProviderError::NoTime);
        }
        Ok(Self { command, timeout })
    }
}

impl TryFrom<VaultSection> for VaultProvider {
    type Error = ProviderError;
    fn try_from(section: VaultSection) -> Result<Self, ProviderError> {
        let login = match (section.token_file, section.role_id, section.secret_id_file) {
            (Some(file), None, None) => Login::Token { file },
            (None, Some(role_id), Some(secret_id_file)) => Login::AppRole {
                role_id,
                secret_id_file,
            },
            _ => return Err(ProviderError::Login),
        };
        if section.timeout == Span::ZERO {
            return Err(ProviderError::NoTime);
        }
        let mount = section.mount.trim_matches('/').to_owned();
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
        if mount.is_empty() || !mount.chars().all(is_plain) || mount.contains("..") {
            return Err(ProviderError::Mount(section.mount));
        }
        Ok(Self {
            address: section.address.parse()?,
            mount,
            login,
            ca: section.ca,
            timeout: section.timeout,
        })
    }
}

impl FromStr for VaultAddress {
    type Err = ProviderError;
    fn from_str(text: &str) -> Result<Self, ProviderError> {
        let refuse = || ProviderError::Address(text.chars().take(128).collect());
        let uri: hyper::Uri = text.parse().map_err(|_| refuse())?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refuse()),
        };
        let authority = uri.authority().ok_or_else(refuse)?;
        let is_bare =
            matches!(uri.path(), "" | "/") && uri.query().is_none() && !authority.as_str().contains('@');
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let is_here =
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if !is_bare || host.is_empty() || !(is_tls || is_here) {
            return Err(refuse());
        }
        Ok(Self {
            is_tls,
            host,
            port: authority.port_u16().unwrap_or(8200),
        })
    }
}

impl fmt::Display for VaultAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(text: &str) -> Result<Provider, String> {
        let read: Result<BTreeMap<String, Provider>, _> =
            fleet_proto::config::parse("agent.toml", &format!("[one]\n{text}"));
        read.map(|mut providers| providers.remove("one").unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn providers_read() {
        read("kind = \"file\"\npath = \"/run/secrets\"").unwrap();
        let exec = read("kind = \"exec\"\ncommand = [\"get\", \"--name=${key}\"]\ntimeout = \"3s\"").unwrap();
        assert!(
            matches!(exec, Provider::Exec(ExecProvider { timeout, .. }) if timeout == Span::from_secs(3))
        );
        let vault = "kind = \"vault\"\naddress = \"https://vault.example:8200\"\n";
        let token = read(&format!("{vault}token_file = \"/t\"")).unwrap();
        assert!(matches!(token, Provider::Vault(VaultProvider { mount, .. }) if mount == "secret"));
        read(&format!(
            "{vault}role_id = \"shop\"\nsecret_id_file = \"/s\"\nmount = \"kv/team/\""
        ))
        .unwrap();
    }

    #[test]
    fn mistakes_are_named() {
        let vault = "kind = \"vault\"\ntoken_file = \"/t\"\naddress = ";
        for (text, why) in [
            ("kind = \"exec\"\ncommand = []".to_owned(), "the command is empty"),
            (
                "kind = \"exec\"\ncommand = [\"${key}\"]".to_owned(),
                "the command is empty",
            ),
            (
                "kind = \"exec\"\ncommand = [\"get\"]".to_owned(),
                "has no `${key}`",
            ),
            ("kind = \"file\"\npth = \"/x\"".to_owned(), "pth"),
            ("kind = \"floppy\"".to_owned(), "floppy"),
            (
                format!("{vault}\"http://vault.example:8200\""),
                "http is spoken on loopback only",
            ),
            (format!("{vault}\"vault.example\""), "is not https://host:port"),
            (
                format!("{vault}\"https://u:p@vault.example\""),
                "is not https://host:port",
            ),
            (format!("{vault}\"https://v/path\""), "is not https://host:port"),
            (format!("{vault}\"https://v\"\nrole_id = \"x\""), "and not both"),
            (format!("{vault}\"https://v\"\nmount = \"../sys\""), "is no mount"),
            (
                "kind = \"vault\"\naddress = \"https://v\"".to_owned(),
                "it needs `token_file`",
            ),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        for good in [
            "http://127.0.0.1:8200",
            "http://localhost:1",
            "http://[::1]:8200",
            "https://v",
        ] {
            good.parse::<VaultAddress>().unwrap();
        }
        assert_eq!(
            "https://v".parse::<VaultAddress>().unwrap().to_string(),
            "https://v:8200"
        );
    }
}
