//! The sample app's three releases: good, better, and sick.

use std::path::Path;

use fleet_proto::signing::SecretKey;

use super::binaries::Binaries;
use super::layout::Layout;
use crate::app_file;
use crate::error::Error;
use crate::operator::Operator;
use crate::push::{self, Pushed};

pub const APP: &str = "sample";

struct Sample {
    version: &'static str,
    settings: &'static str,
}

const SAMPLES: [Sample; 3] = [
    Sample {
        version: "v1.0.0",
        settings: "greeting = \"This is where it began.\"\nhealth = \"healthy\"\n",
    },
    Sample {
        version: "v1.1.0",
        settings: "greeting = \"This is better.\"\nhealth = \"healthy\"\n",
    },
    Sample {
        version: "v1.2.0",
        settings: "# It starts, and its health check fails.\nhealth = \"sick\"\n",
    },
];

/// Quick, because somebody is watching; a real app takes its time.
const FLEET_TOML: &str = r#"[app]
name = "sample"

[[component]]
name = "web"
path = "web"

[component.run]
kind = "supervise"
command = ["./fleet-sample", "--port", "${var.port}", "--version", "${version}", "--node", "${node}", "--settings", "settings.toml"]
grace = "2s"

[[component.check]]
name = "health"
interval = "250ms"
timeout = "1s"
kind = "http"
url = "http://127.0.0.1:${var.port}/health"
json = { status = "healthy" }

[health]
min_healthy = "1s"
healthy_deadline = "8s"
"#;

/// Lays the three out under `DIR/app` and pushes them; those that are there already
/// are left as they are.
pub async fn push_all(
    operator: &mut Operator,
    layout: &Layout,
    binaries: &Binaries,
    key: &Path,
) -> Result<Vec<Pushed>, Error> {
    let mut all = Vec::new();
    for sample in &SAMPLES {
        let directory = layout.app(sample.version);
        if !directory.exists() {
            lay_out(&directory, sample, binaries)
                .map_err(Error::file(format!("cannot write {}", directory.display())))?;
        }
        let file = app_file::read(&directory.join(app_file::NAME))?;
        let keys: [SecretKey; 1] = [crate::release_keys::read_secret(key)?];
        all.push(push::push(operator, file, &sample.version.parse()?, &[], &keys).await?);
    }
    Ok(all)
}

fn lay_out(directory: &Path, sample: &Sample, binaries: &Binaries) -> std::io::Result<()> {
    let web = directory.join("web");
    std::fs::create_dir_all(&web)?;
    std::fs::copy(&binaries.sample, web.join("fleet-sample"))?;
    std::fs::write(web.join("settings.toml"), sample.settings)?;
    std::fs::write(directory.join(app_file::NAME), FLEET_TOML)
}
