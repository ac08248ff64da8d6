//! The sample app that `fleetctl dev` deploys: a web service that greets, and that can
//! be told by its settings file to be a bad release. Only the standard library, so
//! that it runs wherever it was copied to.
//!
//!     fleet-sample --port 8080 --version v1.0.0 --node n01 --settings settings.toml
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its output is the log that a failed rollout shows"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A request that is longer or slower than this is not one of ours.
const REQUEST_BYTES_MAX: u64 = 8 << 10;
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);

/// Slow enough for anybody to notice, and an answer all the same.
const SLOW: Duration = Duration::from_millis(400);

/// More of the same line would push the rest out of the log's tail.
const FAILED_CHECKS_LOGGED: u64 = 3;

#[derive(Debug)]
struct Options {
    port: u16,
    version: String,
    node: String,
    settings: Option<String>,
}

/// How good a release this is.
#[derive(Debug, Default)]
struct Settings {
    sick: bool,
    slow: bool,
    start: Start,
    greeting: String,
}

#[derive(Debug, Default, PartialEq)]
enum Start {
    #[default]
    Ok,
    /// Ends at once, with an exit code.
    Exit,
    /// Runs, and never listens.
    Hang,
}

struct App {
    failed_checks: AtomicU64,
    options: Options,
    settings: Settings,
    started: Instant,
}

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<ExitCode, String> {
    let options = options(std::env::args().skip(1))?;
    let settings = match &options.settings {
        Some(path) => {
            settings(&std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?)?
        }
        None => Settings::default(),
    };
    println!(
        "sample {} starts on {}, port {}",
        options.version, options.node, options.port
    );
    match settings.start {
        Start::Exit => {
            println!(
                "sample {} gives up: its settings say start = \"exit\"",
                options.version
            );
            return Ok(ExitCode::from(3));
        }
        Start::Hang => loop {
            std::thread::park();
        },
        Start::Ok => {}
    }
    let listener = TcpListener::bind(("127.0.0.1", options.port))
        .map_err(|error| format!("cannot listen on port {}: {error}", options.port))?;
    if settings.sick {
        println!("sample {} is sick: its database does not answer", options.version);
    }
    let app = Arc::new(App {
        failed_checks: AtomicU64::new(0),
        options,
        settings,
        started: Instant::now(),
    });
    for stream in listener.incoming().flatten() {
        let app = Arc::clone(&app);
        std::thread::spawn(move || app.answer(&stream));
    }
    Ok(ExitCode::SUCCESS)
}

fn options(args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        port: 0,
        version: "unknown".to_owned(),
        node: "nowhere".to_owned(),
        settings: None,
    };
    let mut args = args;
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--port" => options.port = value.parse().map_err(|_| format!("`{value}` is not a port"))?,
            "--version" => options.version = value,
            "--node" => options.node = value,
            "--settings" => options.settings = Some(value),
            _ => {
                return Err(format!(
                    "unknown flag {flag}; known are --port --version --node --settings"
                ));
            }
        }
    }
    Ok(options)
}

/// Lines of `key = "value"`, and `#` before a remark.
fn settings(text: &str) -> Result<Settings, String> {
    let mut settings = Settings::default();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| format!("`{line}` is not a setting"))?;
        let value = value.trim().trim_matches('"');
        match (key.trim(), value) {
            ("health", "healthy") => settings.sick = false,
            ("health", "sick") => settings.sick = true,
            ("health", "slow") => settings.slow = true,
            ("start", "ok") => settings.start = Start::Ok,
            ("start", "exit") => settings.start = Start::Exit,
            ("start", "hang") => settings.start = Start::Hang,
            ("greeting", greeting) => greeting.clone_into(&mut settings.greeting),
            (key, value) => return Err(format!("`{key} = {value}` is not a setting")),
        }
    }
    Ok(settings)
}

impl App {
    /// One request a connection; whoever does not ask properly gets no answer.
    fn answer(&self, stream: &TcpStream) {
        if let Err(error) = self.try_answer(stream) {
            eprintln!("a request went wrong: {error}");
        }
    }

    fn try_answer(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(REQUEST_DEADLINE))?;
        stream.set_write_timeout(Some(REQUEST_DEADLINE))?;
        let mut reader = BufReader::new(stream.take(REQUEST_BYTES_MAX));
        let mut request = String::new();
        reader.read_line(&mut request)?;
        let mut header = String::new();
        while reader.read_line(&mut header)? > 0 && !header.trim().is_empty() {
            header.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or_default();
        let (status, kind, body) = self.page(path);
        write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )?;
        stream.flush()
    }

    fn page(&self, path: &str) -> (&'static str, &'static str, String) {
        let Options { version, node, .. } = &self.options;
        match path {
            "/" => {
                let greeting = &self.settings.greeting;
                (
                    "200 OK",
                    "text/plain",
                    format!("hello from {version} on {node}. {greeting}\n"),
                )
            }
            // Alive is not the same as well: a process that is sick need not be killed.
            "/health/live" => ("200 OK", "application/json", self.health("healthy")),
            "/health" | "/health/ready" if self.settings.sick => {
                if self.failed_checks.fetch_add(1, Ordering::Relaxed) < FAILED_CHECKS_LOGGED {
                    println!("health check failed: the database does not answer");
                }
                (
                    "503 Service Unavailable",
                    "application/json",
                    self.health("unhealthy"),
                )
            }
            "/health" | "/health/ready" => {
                if self.settings.slow {
                    std::thread::sleep(SLOW);
                }
                ("200 OK", "application/json", self.health("healthy"))
            }
            _ => ("404 Not Found", "text/plain", "not here\n".to_owned()),
        }
    }

    fn health(&self, status: &str) -> String {
        format!(
            "{{\"status\":\"{status}\",\"version\":\"{}\",\"timestamp\":\"{}\",\"uptime\":{:.1},\"services\":{{}}}}",
            self.options.version,
            now(),
            self.started.elapsed().as_secs_f64()
        )
    }
}

/// RFC 3339, UTC. The days of the calendar by counting 400-year cycles from March.
fn now() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}
