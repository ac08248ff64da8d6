//! Where everything of a development fleet lies.

use std::path::{Path, PathBuf};

#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// `root` is absolute and has no links in it: processes are recognised by it.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn coordinator(&self) -> PathBuf {
        self.root.join("coordinator")
    }

    pub fn coordinator_config(&self) -> PathBuf {
        self.coordinator().join("coordinator.toml")
    }

    /// Written by the coordinator when it listens.
    pub fn endpoints(&self) -> PathBuf {
        self.coordinator().join("state/endpoints.json")
    }

    pub fn operator(&self) -> PathBuf {
        self.coordinator().join("operators/admin")
    }

    pub fn release_key(&self) -> PathBuf {
        self.root.join("keys/release.key")
    }

    pub fn nodes(&self) -> PathBuf {
        self.root.join("nodes")
    }

    pub fn node(&self, name: &str) -> PathBuf {
        self.nodes().join(name)
    }

    pub fn app(&self, version: &str) -> PathBuf {
        self.root.join("app").join(version)
    }

    pub fn log(&self, process: &str) -> PathBuf {
        self.root.join("logs").join(format!("{process}.log"))
    }

    pub fn env(&self) -> PathBuf {
        self.root.join("env")
    }
}
