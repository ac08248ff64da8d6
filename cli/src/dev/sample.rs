//! The sample app, and its three releases for `fleetctl dev`: good, better, and sick.

use std::path::{Path, PathBuf};

use fleet_proto::signing::SecretKey;

use super::binaries::Binaries;
use super::layout::Layout;
use crate::app_file;
use crate::error::Error;
use crate::operator::Operator;
use crate::push::{self, Pushed};

pub const APP: &str = "sample";

/// One release of the sample app. What tells them apart is `settings.toml`, which says
/// how the app behaves.
pub struct Sample<'a> {
    pub app: &'a str,
    pub settings: &'a str,
    pub pace: Pace,
}

/// How soon a release is judged.
pub struct Pace {
    pub interval: &'static str,
    pub timeout: &'static str,
    pub min_healthy: &'static str,
    pub healthy_deadline: &'static str,
    pub response_time: &'static str,
}

/// Quick, because somebody is watching; a real app takes its time. What is good gets
/// well at once on an idle machine, and has time on a busy one; what is sick is waited for.
const fn watched(healthy_deadline: &'static str) -> Pace {
    Pace {
        interval: "250ms",
        timeout: "2s",
        min_healthy: "1s",
        healthy_deadline,
        response_time: "2s",
    }
}

/// Versions, settings, and how long they have to get well.
const RELEASES: [(&str, &str, Pace); 3] = [
    (
        "v1.0.0",
        "greeting = \"This is where it began.\"\nhealth = \"healthy\"\n",
        watched("30s"),
    ),
    (
        "v1.1.0",
        "greeting = \"This is better.\"\nhealth = \"healthy\"\n",
        watched("30s"),
    ),
    (
        "v1.2.0",
        "# It starts, and its health check fails.\nhealth = \"sick\"\n",
        watched("8s"),
    ),
];

impl Sample<'_> {
    /// Writes the app's directory, with `program` as what it runs; the answer is its
    /// `fleet.toml`.
    pub fn lay_out(&self, directory: &Path, program: &Path) -> std::io::Result<PathBuf> {
        let web = directory.join("web");
        std::fs::create_dir_all(&web)?;
        std::fs::copy(program, web.join("fleet-sample"))?;
        std::fs::write(web.join("settings.toml"), self.settings)?;
        let file = directory.join(app_file::NAME);
        std::fs::write(&file, self.fleet_toml())?;
        Ok(file)
    }

    fn fleet_toml(&self) -> String {
        format!(
            r#"[app]
name = "{app}"

[[component]]
name = "web"
path = "web"

[component.run]
kind = "supervise"
command = ["./fleet-sample", "--port", "${{var.port}}", "--version", "${{version}}", "--node", "${{node}}", "--settings", "settings.toml"]
grace = "2s"

[[component.check]]
name = "health"
interval = "{interval}"
timeout = "{timeout}"
kind = "http"
url = "http://127.0.0.1:${{var.port}}/health"
json = {{ status = "healthy" }}

[health]
min_healthy = "{min_healthy}"
healthy_deadline = "{healthy_deadline}"
response_time = "{response_time}"
"#,
            app = self.app,
            interval = self.pace.interval,
            timeout = self.pace.timeout,
            response_time = self.pace.response_time,
            min_healthy = self.pace.min_healthy,
            healthy_deadline = self.pace.healthy_deadline,
        )
    }
}

/// Lays the three out under `DIR/app` and pushes them; those that are there already
/// are left as they are.
pub async fn push_all(
    operator: &mut Operator,
    layout: &Layout,
    binaries: &Binaries,
    key: &Path,
) -> Result<Vec<Pushed>, Error> {
    let mut all = Vec::new();
    for (version, settings, pace) in RELEASES {
        let directory = layout.app(version);
        if !directory.exists() {
            let sample = Sample {
                app: APP,
                settings,
                pace,
            };
            sample
                .lay_out(&directory, &binaries.sample)
                .map_err(Error::file(format!("cannot write {}", directory.display())))?;
        }
        let file = app_file::read(&directory.join(app_file::NAME))?;
        let keys: [SecretKey; 1] = [crate::release_keys::read_secret(key)?];
        all.push(push::push(operator, file, &version.parse()?, &[], &keys).await?);
    }
    Ok(all)
}
