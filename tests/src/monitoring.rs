//! What watches a fleet: figures as whoever scrapes them gets them, and a real Prometheus.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::layers::workspace;
use crate::port::Port;
use crate::process::{Process, succeed};

const PATIENCE: Duration = Duration::from_secs(5);

/// Prometheus, promtool and amtool.
pub struct Tools {
    programs: PathBuf,
}

impl Tools {
    /// None where they could not be had, which a test then says.
    pub fn find() -> anyhow::Result<Option<Self>> {
        let script = workspace().join("tests/monitoring-tools");
        let path = succeed(&script.to_string_lossy(), ["--path"])?;
        let programs = Path::new(path.trim_end()).join("usr/bin");
        Ok(programs.join("promtool").exists().then_some(Self { programs }))
    }

    fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    pub fn run(&self, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
        succeed(&self.program(name).to_string_lossy(), arguments)
    }

    /// What it has to say of figures in the text format; nothing when they are sound.
    pub fn check_metrics(&self, text: &str) -> anyhow::Result<String> {
        let mut promtool = Command::new(self.program("promtool"))
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        promtool
            .stdin
            .take()
            .context("no input")?
            .write_all(text.as_bytes())?;
        let output = promtool.wait_with_output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        anyhow::ensure!(output.status.success(), "promtool: {said}");
        Ok(said)
    }
}

/// Head and body. In the older version of the protocol nothing comes in chunks.
pub fn get(port: u16, path: &str, accept: &str) -> anyhow::Result<(String, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    Ok((head.to_owned(), body.to_owned()))
}

/// A Prometheus of a test's own.
pub struct Prometheus {
    port: Port,
    log: PathBuf,
    _process: Process,
}

impl Prometheus {
    /// Scrapes each job's port, and judges by these rules, every second.
    pub fn start(tools: &Tools, directory: &Path, rules: &str, jobs: &[(&str, u16)]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let rules_file = directory.join("rules.yml");
        std::fs::write(&rules_file, rules)?;
        let jobs: String = jobs
            .iter()
            .map(|(job, port)| {
                format!("  - job_name: {job}\n    static_configs: [{{ targets: [\"127.0.0.1:{port}\"] }}]\n")
            })
            .collect();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{}\"]\nscrape_configs:\n{jobs}",
            rules_file.display()
        );
        let config_file = directory.join("prometheus.yml");
        std::fs::write(&config_file, config)?;
        let port = Port::reserve()?;
        let log = directory.join("prometheus.log");
        let process = Process::start(
            &tools.program("prometheus"),
            &[
                &format!("--config.file={}", config_file.display()),
                &format!("--storage.tsdb.path={}", directory.join("data").display()),
                &format!("--web.listen-address=127.0.0.1:{port}"),
                "--log.level=warn",
            ],
            &log,
        )?;
        Ok(Self {
            port,
            log,
            _process: process,
        })
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn data(&self, path: &str) -> Option<Value> {
        let (_, body) = get(self.port.number(), path, "*/*").ok()?;
        let answer: Value = serde_json::from_str(&body).ok()?;
        Some(answer["data"].clone())
    }

    /// Each target's job, and what was wrong with its last scrape; nothing before the first.
    pub fn targets(&self) -> Vec<(String, String)> {
        let data = self.data("/api/v1/targets").unwrap_or_default();
        let targets = data["activeTargets"].as_array().cloned().unwrap_or_default();
        let scraped = targets.iter().filter(|target| target["health"] != "unknown");
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        scraped
            .map(|target| (word(&target["labels"]["job"]), word(&target["lastError"])))
            .collect()
    }

    /// None while it gives no answer.
    pub fn is_firing(&self, alert: &str) -> Option<bool> {
        let data = self.data("/api/v1/alerts")?;
        let alerts = data["alerts"].as_array()?;
        let mut of_this = alerts
            .iter()
            .filter(|found| found["labels"]["alertname"] == alert);
        Some(of_this.any(|found| found["state"] == "firing"))
    }

    /// Of an expression that needs no escapes in an address.
    pub fn has_samples(&self, expression: &str) -> bool {
        let data = self.data(&format!("/api/v1/query?query={expression}"));
        data.and_then(|data| Some(!data["result"].as_array()?.is_empty()))
            .unwrap_or(false)
    }
}
