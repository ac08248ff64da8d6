//! `fleet-coordinator init`: an authority, an identity, the first operator, and a
//! configuration that names them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use fleet_proto::authority::{Authority, AuthorityError};
use fleet_proto::identity::Who;
use fleet_proto::ids::{EnvironmentName, OperatorName};
use fleet_proto::labels::Selector;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::AUTHORITY_FILE;

use crate::config::{self, Config, ConfigProblem};
use crate::durable;
use crate::trust::{self, AUTHORITY_KEY_FILE, Trust, TrustError};

pub struct Options {
    pub directory: PathBuf,
    pub trust_domain: String,
    pub listen: SocketAddr,
    pub http: SocketAddr,
    pub operator: OperatorName,
    pub environment: EnvironmentName,
    pub select: Selector,
}

/// What was made, for showing.
#[derive(Debug)]
pub struct Made {
    pub config: PathBuf,
    pub operator: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error(
        "{} is there already; a second authority would lock everybody out who trusts the first\nhint: start it with `fleet-coordinator run --config {}`, or choose another --dir",
        .found.display(), .config.display()
    )]
    Exists { found: PathBuf, config: PathBuf },
    #[error("cannot read {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Config(#[from] ConfigProblem),
}

pub fn init(options: &Options, now: Timestamp) -> Result<Made, InitError> {
    let directory = &options.directory;
    let file = directory.join(config::FILE_NAME);
    if file.exists() {
        return Err(InitError::Exists {
            found: file.clone(),
            config: file,
        });
    }
    // What is wrong with it is said before anything is there.
    let text = config_text(options);
    let config = Config::parse(&text, &file)?;
    create_directory(directory)?;
    let operator = make(&config, &file, &options.operator, now)?;
    // The configuration last: with it, all that it names is there.
    write(&file, &text)?;
    Ok(Made {
        config: file,
        operator,
    })
}

/// As [`init`], for a configuration that is there already: makes what it names.
pub fn init_for(file: &Path, operator: &OperatorName, now: Timestamp) -> Result<Made, InitError> {
    let config = Config::read(file)?;
    Ok(Made {
        operator: make(&config, file, operator, now)?,
        config: file.to_owned(),
    })
}

/// The first operator's credentials are where this says.
fn make(config: &Config, file: &Path, operator: &OperatorName, now: Timestamp) -> Result<PathBuf, InitError> {
    let key_file = config.authority.join(AUTHORITY_KEY_FILE);
    if key_file.exists() {
        return Err(InitError::Exists {
            found: key_file,
            config: file.to_owned(),
        });
    }
    let operators = config.authority.with_file_name("operators");
    for directory in [&config.authority, &operators, &config.state] {
        create_directory(directory)?;
    }
    let (certificate, key) = Authority::create(&config.trust_domain, now)?;
    write(&config.authority.join(AUTHORITY_FILE), &certificate)?;
    write(&key_file, &key)?;
    Trust::open(config, now)?;
    ensure_operator(config, operator, now)
}

/// The first operator's credentials, made where there are none.
pub fn ensure_operator(
    config: &Config,
    operator: &OperatorName,
    now: Timestamp,
) -> Result<PathBuf, InitError> {
    let operators = config.authority.with_file_name("operators");
    let credentials = operators.join(operator.as_str());
    if !credentials.exists() {
        create_directory(&operators)?;
        issue_operator(config, operator, &credentials, now)?;
    }
    Ok(credentials)
}

fn create_directory(path: &Path) -> Result<(), InitError> {
    durable::create_directory(path).map_err(|source| InitError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Credentials for an operator, by whoever may read the authority's key: the way in for
/// the first one, and the way back in for one whose certificate has expired.
pub fn issue_operator(
    config: &Config,
    name: &OperatorName,
    directory: &Path,
    now: Timestamp,
) -> Result<(), InitError> {
    let read = |name: &str| {
        let path = config.authority.join(name);
        std::fs::read_to_string(&path).map_err(|source| InitError::Read { path, source })
    };
    let (certificate, key) = (read(AUTHORITY_FILE)?, read(AUTHORITY_KEY_FILE)?);
    let authority = Authority::load(&config.trust_domain, &certificate, &key)?;
    let who = Who::Operator(name.clone());
    trust::issue_into(&authority, directory, &who, config.operator_certificate_life, now)?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), InitError> {
    durable::write_file(path, text.as_bytes()).map_err(|source| InitError::Write {
        path: path.to_owned(),
        source,
    })
}

fn config_text(options: &Options) -> String {
    format!(
        r#"# Fleet's coordinator. Paths begin at this file's directory.

# The journal and the artifacts. Back this up.
state = "state"
# The coordinator's own certificate, which it renews itself.
identity = "identity"
# Signs every certificate. Back this up, and let nobody read it.
authority = "authority"
trust_domain = "{trust_domain}"

# Agents and operators, by mutual TLS. Use "0.0.0.0:7443" to be reached from elsewhere.
listen = "{listen}"
# Dashboards, metrics and health: plain HTTP, on loopback only.
http = "{http}"

# node_certificate_life = "7d"
# operator_certificate_life = "90d"
# heartbeat = "5s"
# unreachable_after = "10s"

# Operators who may do everything, whatever `fleetctl operator` says of them.
admins = ["{operator}"]

# Which nodes belong together, by the labels of their join tokens; "" means all.
[environments.{environment}]
select = "{select}"
# Nodes that were away, or are new, are brought to the release that the environment
# wants, without anybody asking; "manual" leaves them to the next rollout.
catch_up = "auto"
"#,
        trust_domain = options.trust_domain,
        operator = options.operator,
        listen = options.listen,
        http = options.http,
        environment = toml_key(&options.environment),
        select = options.select,
    )
}

/// A name may hold a dot, which TOML would read as a table in a table.
fn toml_key(environment: &EnvironmentName) -> String {
    format!("\"{environment}\"")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;
    use fleet_proto::tls::Credentials;
    use std::os::unix::fs::PermissionsExt;

    fn options(directory: &Path) -> Options {
        Options {
            directory: directory.to_owned(),
            trust_domain: "fleet.test".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            http: "127.0.0.1:0".parse().unwrap(),
            operator: "admin".parse().unwrap(),
            environment: "production".parse().unwrap(),
            select: "env=production".parse().unwrap(),
        }
    }

    #[test]
    fn what_init_makes_can_be_started_from() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp(1_770_897_600_000);
        let made = init(&options(directory.path()), now).unwrap();
        let config = Config::read(&made.config).unwrap();
        assert_eq!(config.definitions().len(), 1);
        let operator = Credentials::read(&made.operator).unwrap().peer().unwrap();
        assert_eq!(
            operator.identity.to_string(),
            "spiffe://fleet.test/operator/admin"
        );
        let key = directory.path().join("authority/ca-key.pem");
        assert_eq!(
            std::fs::metadata(key).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            std::fs::metadata(&config.state).unwrap().permissions().mode() & 0o777,
            0o700
        );

        let again = init(&options(directory.path()), now).unwrap_err().to_string();
        assert!(again.contains("coordinator.toml is there already"), "{again}");
    }

    #[test]
    fn what_a_configuration_names_is_made_where_it_says() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("coordinator.toml");
        let text = "trust_domain = \"fleet.test\"\nstate = \"home/state\"\n\
                    identity = \"home/identity\"\nauthority = \"home/authority\"\n";
        std::fs::write(&file, text).unwrap();
        let (operator, now) = ("admin".parse().unwrap(), Timestamp(1_770_897_600_000));
        let made = init_for(&file, &operator, now).unwrap();
        assert_eq!(made.operator, directory.path().join("home/operators/admin"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        assert!(Trust::open(&Config::read(&file).unwrap(), now).is_ok());

        let again = init_for(&file, &operator, now).unwrap_err().to_string();
        assert!(again.contains("ca-key.pem is there already"), "{again}");
    }

    #[test]
    fn the_coordinator_renews_its_own_certificate_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let now = Timestamp(1_770_897_600_000);
        let made = init(&options(directory.path()), now).unwrap();
        let config = Config::read(&made.config).unwrap();
        let trust = Trust::open(&config, now).unwrap();
        let serial = || {
            Credentials::read(&config.identity)
                .unwrap()
                .peer()
                .unwrap()
                .serial
        };
        let first = serial();
        assert!(!trust.renew_if_due(now).unwrap());
        let later = now.plus(fleet_proto::quantity::Span::from_secs(21 * 86_400));
        assert!(trust.renew_if_due(later).unwrap());
        assert_ne!(serial(), first);
    }

    #[test]
    fn an_open_http_address_is_refused_and_nothing_claims_to_be_there() {
        let directory = tempfile::tempdir().unwrap();
        let mut options = options(directory.path());
        options.http = "0.0.0.0:7480".parse().unwrap();
        let message = init(&options, Timestamp(0)).unwrap_err().to_string();
        assert!(message.contains("without TLS and login"), "{message}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
