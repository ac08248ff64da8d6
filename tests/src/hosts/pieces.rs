//! Releases for hosts, piece by piece: what each component brings, and how it is run.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::fleet::{APP, Fleet};
use crate::process::program;

/// A component.
#[derive(Debug, Clone)]
pub struct Piece {
    pub name: &'static str,
    /// What stands in `[component.run]`, and the checks after it.
    pub run: String,
    /// Texts; those that begin with `#!` are programs.
    pub files: Vec<(String, String)>,
    /// The sample app lies beside them.
    pub has_sample: bool,
}

impl Piece {
    pub fn new(name: &'static str, run: impl Into<String>) -> Self {
        Self {
            name,
            run: run.into(),
            files: vec![],
            has_sample: false,
        }
    }

    pub fn with(mut self, path: &str, text: impl Into<String>) -> Self {
        self.files.push((path.to_owned(), text.into()));
        self
    }
}

/// The sample app as a service that says when it is ready. What is ill about it is in
/// `settings`; `unit` is added to its `[Service]`.
pub fn service(version: &str, settings: &str, unit: &str) -> Piece {
    let run = format!(
        "#!/bin/sh\n./fleet-sample --port 8080 --version {version} --node $(hostname) --settings settings.toml &\n\
         until curl --silent --output /dev/null http://127.0.0.1:8080/health; do\n\
         kill -0 $! || {{ wait $!; exit $?; }}\nsleep 0.05\ndone\n\
         systemd-notify --ready\nwait\n"
    );
    let unit = format!(
        "[Unit]\nDescription=Shop\n[Service]\nType=notify\nNotifyAccess=all\nWorkingDirectory=${{dir}}\n\
         ExecStart=${{dir}}/run\nRestart=on-failure\nRestartSec=50ms\n{unit}\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    let mut piece = Piece::new(
        "web",
        "kind = \"systemd\"\nunit = \"shop.service\"\nfile = \"shop.service\"\n\
         [[component.check]]\nname = \"health\"\nkind = \"http\"\ninterval = \"100ms\"\ntimeout = \"3s\"\n\
         url = \"http://127.0.0.1:8080/health\"\n",
    )
    .with("run", run)
    .with("shop.service", unit)
    .with("settings.toml", settings);
    piece.has_sample = true;
    piece
}

/// Packs the pieces, and sends them as a release. What is ill is not waited for too long.
pub fn push(fleet: &Fleet, version: &str, healthy_deadline: &str, pieces: &[Piece]) -> anyhow::Result<()> {
    push_with(
        fleet,
        version,
        &format!("healthy_deadline = \"{healthy_deadline}\"\n"),
        pieces,
    )
}

/// With these lines of `[health]`.
pub fn push_with(fleet: &Fleet, version: &str, health: &str, pieces: &[Piece]) -> anyhow::Result<()> {
    let directory = fleet.root().join("app").join(version);
    let mut toml = format!(
        "[app]\nname = \"{APP}\"\n[health]\nmin_healthy = \"300ms\"\n{health}\
         response_time = \"20s\"\n"
    );
    for piece in pieces {
        lay_out(&directory.join(piece.name), piece)?;
        let Piece { name, run, .. } = piece;
        toml.push_str(&format!(
            "[[component]]\nname = \"{name}\"\npath = \"{name}\"\n[component.run]\n{run}"
        ));
    }
    let file = directory.join("fleet.toml");
    std::fs::write(&file, toml)?;
    let pushed = fleet.ctl(&["release", "push", version, "--file", &file.display().to_string()])?;
    anyhow::ensure!(pushed.code == 0, "push {version}: {}", pushed.stderr);
    Ok(())
}

fn lay_out(directory: &Path, piece: &Piece) -> anyhow::Result<()> {
    for (path, text) in &piece.files {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, text)?;
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
    }
    if piece.has_sample {
        std::fs::copy(program("fleet-sample")?, directory.join("fleet-sample"))?;
    }
    Ok(())
}
