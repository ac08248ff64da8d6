//! Releases for tests: the sample app in all the ways in which it can be good or bad.

use std::path::{Path, PathBuf};

use crate::process::program;

/// How a release turns out on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Good,
    /// Starts, and its health check fails.
    Sick,
    /// Ends at once.
    Exits,
    /// Runs, and never listens.
    Hangs,
}

impl Behaviour {
    fn settings(self) -> &'static str {
        match self {
            Self::Good => "health = \"healthy\"\n",
            Self::Sick => "health = \"sick\"\n",
            Self::Exits => "start = \"exit\"\n",
            Self::Hangs => "start = \"hang\"\n",
        }
    }

    /// A good release has all the time that a machine full of other tests may take; what
    /// is bad is waited for.
    fn rules(self) -> &'static str {
        match self {
            Self::Good => "healthy_deadline = \"60s\"\nresponse_time = \"20s\"\n",
            Self::Sick | Self::Exits | Self::Hangs => "healthy_deadline = \"5s\"\n",
        }
    }
}

/// Writes the app's directory with its `fleet.toml`. Quick rules: a test waits for them.
pub fn lay_out(directory: &Path, behaviour: Behaviour) -> anyhow::Result<PathBuf> {
    let web = directory.join("web");
    std::fs::create_dir_all(&web)?;
    std::fs::copy(program("fleet-sample")?, web.join("fleet-sample"))?;
    std::fs::write(web.join("settings.toml"), behaviour.settings())?;
    let file = directory.join("fleet.toml");
    std::fs::write(&file, format!("{FLEET_TOML}{}", behaviour.rules()))?;
    Ok(file)
}

const FLEET_TOML: &str = r#"[app]
name = "shop"

[[component]]
name = "web"
path = "web"

[component.run]
kind = "supervise"
command = ["./fleet-sample", "--port", "${var.port}", "--version", "${version}", "--node", "${node}", "--settings", "settings.toml"]
grace = "2s"

[[component.check]]
name = "health"
interval = "100ms"
timeout = "3s"
kind = "http"
url = "http://127.0.0.1:${var.port}/health"
json = { status = "healthy" }

[health]
min_healthy = "300ms"
"#;
