//! Where things lie in the state directory.
//!
//! ```text
//! identity/{key,cert,ca}.pem     ledger.json  lock  digest-key  agent.sock  ballast  incoming/
//! update/ (of the agent itself, always below /var/lib/fleet/agent)
//! apps/<app>/slots/<digest>/{manifest.json, signatures.json, trees/, files/<component>/}
//! apps/<app>/current -> slots/<digest>
//! apps/<app>/run/<component>/{spec.json, state.json, lock, log}
//! apps/<app>/migration/<act>/{task.json, lock, log, ended.json}
//! apps/<app>/backups/<time>-<version>
//! apps/<app>/baseline.json          how the node was before the newest switch
//! apps/<app>/handed/<digest>/{config, kept, secrets, unit}/<component>/…
//! apps/<app>/slots/<digest>/handed -> ../../handed/<digest>
//! ```

use std::path::{Path, PathBuf};

use fleet_proto::digest::Digest;
use fleet_proto::ids::{AppName, ComponentName};
use fleet_proto::release::HookName;

#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// While there is no certificate for it yet.
    pub fn enrolment_key(&self) -> PathBuf {
        self.root.join("enrolment-key.pem")
    }

    pub fn identity(&self) -> PathBuf {
        self.root.join("identity")
    }

    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger.json")
    }

    /// For digests of secrets.
    pub fn digest_key(&self) -> PathBuf {
        self.root.join("digest-key")
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }

    pub fn socket(&self) -> PathBuf {
        self.root.join("agent.sock")
    }

    /// An app's blobs on their way in, named by digest.
    pub fn incoming(&self, app: &AppName) -> PathBuf {
        self.root.join("incoming").join(app.as_str())
    }

    pub fn apps(&self) -> PathBuf {
        self.root.join("apps")
    }

    pub fn app(&self, app: &AppName) -> PathBuf {
        self.apps().join(app.as_str())
    }

    pub fn slots(&self, app: &AppName) -> PathBuf {
        self.app(app).join("slots")
    }

    pub fn slot(&self, app: &AppName, release: &Digest) -> PathBuf {
        self.slots(app).join(release.to_string())
    }

    pub fn current(&self, app: &AppName) -> PathBuf {
        self.app(app).join("current")
    }

    pub fn runs(&self, app: &AppName) -> PathBuf {
        self.app(app).join("run")
    }

    pub fn run(&self, app: &AppName, component: &ComponentName) -> PathBuf {
        self.runs(app).join(component.as_str())
    }

    /// Where a command of the app's migrations is run and tells its end.
    pub fn errand(&self, app: &AppName, what: &str) -> PathBuf {
        self.app(app).join("migration").join(what)
    }

    /// Where a hook is run and tells its end.
    pub fn hook(&self, app: &AppName, component: &ComponentName, hook: HookName) -> PathBuf {
        self.app(app)
            .join("hooks")
            .join(component.as_str())
            .join(hook.word())
    }

    /// What a release's components are handed beside their files.
    pub fn handed(&self, app: &AppName) -> PathBuf {
        self.app(app).join("handed")
    }

    pub fn backups(&self, app: &AppName) -> PathBuf {
        self.app(app).join("backups")
    }

    pub fn baseline(&self, app: &AppName) -> PathBuf {
        self.app(app).join("baseline.json")
    }

    /// The apps that have left something on the disk, whatever the ledger says.
    pub fn apps_on_disk(&self) -> Vec<AppName> {
        names_in(&self.apps())
    }

    pub fn runs_on_disk(&self, app: &AppName) -> Vec<ComponentName> {
        names_in(&self.runs(app))
    }
}

/// What is in a directory and has a proper name, in order; nothing if there is none.
fn names_in<T: std::str::FromStr + Ord>(directory: &Path) -> Vec<T> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<T> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    names.sort();
    names
}
