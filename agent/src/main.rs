//! `fleet-agent`: the command line. Everything else is in the library.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::{Parser, Subcommand, ValueEnum};
use fleet_agent::config::{self, Config};
use fleet_agent::daemon::{self, Place};
use fleet_agent::health::{self, Asked};
use fleet_agent::layout::Layout;
use fleet_agent::ledger::{APPS_MAX, LedgerFile};
use fleet_agent::local::{self, Answer, Question};
use fleet_agent::status::{self, Daemon, NodeStatus};
use fleet_agent::{doctor, effects, enrol, init, offline, process, render};
use fleet_proto::ids::AppName;
use fleet_proto::token::JoinToken;
use fleet_proto::version::Version;
use nix::sys::signal::SigSet;

/// Each app may wait for its processes to end, hash a release and be measured, all at
/// once; names are looked up there, too, and a check must not wait for another app's
/// grace. Threads are there only while they are needed.
const BLOCKING_THREADS_MAX: usize = 4 * APPS_MAX;

#[derive(Parser)]
#[command(
    name = "fleet-agent",
    version,
    about = "Runs releases on this node, and puts it back when they are bad"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// The agent's configuration
    #[arg(long, global = true, env = "FLEET_AGENT_CONFIG", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// How the log is written, to stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the agent
    #[command(after_help = "Example:\n  fleet-agent run --config /etc/fleet/agent.toml")]
    Run {
        /// As process 1 of a pod, which it finds out by itself: orphans are reaped, and the
        /// apps end with it
        #[arg(long)]
        init: bool,
        #[arg(long, hide = true, conflicts_with = "init")]
        in_pod: bool,
    },
    /// Whether the agent lives and its apps are ready; for probes
    #[command(after_help = "Example:\n  fleet-agent health --ready")]
    Health {
        /// Whether it is of use to restart it
        #[arg(long, conflicts_with = "ready")]
        live: bool,
        /// Whether every app on this node is verified and well
        #[arg(long)]
        ready: bool,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Get this node its certificate with a join token
    #[command(
        after_help = "Example:\n  fleet-agent enrol --config /etc/fleet/agent.toml --token-file /run/token"
    )]
    Enrol {
        #[arg(long, required_unless_present = "token_file")]
        token: Option<String>,
        /// Read the token from a file, so that it is not in the process list
        #[arg(long, conflicts_with = "token")]
        token_file: Option<PathBuf>,
    },
    /// How the node is; works with the agent stopped
    Status {
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Put the node back; works with no coordinator, and with the agent stopped
    #[command(after_help = "Example:\n  fleet-agent rollback\n  fleet-agent rollback --app shop --to v1.0.0")]
    Rollback {
        /// Needed where the node has several
        #[arg(long)]
        app: Option<AppName>,
        /// A good release of this node, as `fleet-agent releases` lists them; the last one otherwise
        #[arg(long)]
        to: Option<Version>,
    },
    /// The releases on this node's disk
    Releases {
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// What stands between this node and a working agent
    Doctor {
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Stop this node's apps, and the agent if it runs
    Stop,
    /// Keep one component's process (started by the agent)
    #[command(hide = true)]
    Keep { directory: PathBuf },
    /// Run a command once (started by the agent)
    #[command(hide = true)]
    Errand { directory: PathBuf },
    /// Pass bytes to a socket (started by the agent, as another user)
    #[command(hide = true)]
    Relay { socket: PathBuf },
    /// See an update of this node's agent to its end (started by systemd)
    #[command(hide = true)]
    FinishUpdate { directory: PathBuf },
    /// Become the app (started by its keeper)
    #[command(hide = true)]
    Launch {
        /// As whom, where and within which limits
        #[arg(long = "become")]
        becoming: Option<String>,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            render::note(&format!("error: {}", effects::chain(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match &cli.verb {
        // In the first place, while there is one thread.
        Verb::Run { init, in_pod: false } if *init || init::is_first() => {
            let config = Config::read(&cli.config)?;
            let log = match cli.log {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            };
            let stop_deadline = config.pod.stop_deadline.as_duration();
            return Ok(init::run(&cli.config, log, stop_deadline)?.into());
        }
        // Process 1 blocks the signals that it waits for, and a child inherits that.
        Verb::Run { in_pod: true, .. } => SigSet::all().thread_unblock()?,
        _ => {}
    }
    // These two sit beside every app and need neither configuration nor runtime.
    match &cli.verb {
        Verb::Keep { directory } => {
            process::keeper::keep(directory)?;
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Errand { directory } => {
            process::errand::carry_out(directory)?;
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Relay { socket } => {
            process::systemd::relay::relay(socket)?;
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Launch { becoming, command } => {
            let Err(error) = process::launch::launch(becoming.as_deref(), command) else {
                return Ok(ExitCode::SUCCESS);
            };
            render::note(&format!("fleet-agent: {}", effects::chain(&error)));
            return Ok(ExitCode::from(127));
        }
        _ => {}
    }
    log_to_stderr(cli.log);
    if let Verb::FinishUpdate { directory } = &cli.verb {
        process::own_package::guard::finish(directory)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let code = runtime.block_on(act(cli.verb, &cli.config));
    // Whatever still blocks must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}

fn log_to_stderr(format: LogFormat) {
    let filter = std::env::var("FLEET_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}

async fn act(verb: Verb, path: &std::path::Path) -> anyhow::Result<ExitCode> {
    let config = Arc::new(Config::read(path)?);
    let layout = Layout::new(&config.state);
    match verb {
        Verb::Run { in_pod, .. } => {
            let place = if in_pod { Place::Pod } else { Place::Node };
            daemon::run(Config::clone(&config), path, place).await?;
        }
        Verb::Health { live, ready, output } => {
            let asked = match (live, ready) {
                (true, _) => Asked::Live,
                (_, true) => Asked::Ready,
                _ => Asked::All,
            };
            return health(&config, asked, output).await;
        }
        Verb::Enrol { token, token_file } => {
            let text = match (token, token_file) {
                (Some(token), _) => token,
                (None, Some(file)) => std::fs::read_to_string(&file)
                    .with_context(|| format!("cannot read {}", file.display()))?,
                (None, None) => bail!("a token is needed: --token or --token-file"),
            };
            let token: JoinToken = text.parse()?;
            let peer = enrol::enrol(&config, &layout, &token.into()).await?;
            render::note(&format!(
                "enrolled as {}, until {}",
                peer.identity, peer.not_after
            ));
        }
        Verb::Status { output } => {
            let status = node_status(&config, &layout).await?;
            match output {
                Output::Json => render::json(&status),
                Output::Text => render::status(&status),
            }
        }
        Verb::Rollback { app, to } => return rollback(&config, &layout, app, to).await,
        Verb::Releases { output } => {
            let releases = status::releases(&layout, &LedgerFile::look(&layout.ledger())?);
            match output {
                Output::Json => render::json(&releases),
                Output::Text => render::releases(&releases),
            }
        }
        Verb::Doctor { output } => {
            let findings = doctor::examine(&config, path).await;
            match output {
                Output::Json => render::json(&findings),
                Output::Text => render::doctor(&findings),
            }
            if findings.iter().any(|finding| !finding.is_well) {
                return Ok(ExitCode::FAILURE);
            }
        }
        Verb::Stop => match local::ask(&layout.socket(), &Question::Stop).await? {
            Some(Answer::Stopped) => render::note("the agent and its apps have stopped"),
            Some(other) => return Err(odd(&other)),
            None => {
                let apps = tokio::task::spawn_blocking(move || offline::stop(&config)).await??;
                render::note(&format!("{} apps have stopped", apps.len()));
            }
        },
        Verb::Keep { .. }
        | Verb::Errand { .. }
        | Verb::Launch { .. }
        | Verb::Relay { .. }
        | Verb::FinishUpdate { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn health(config: &Config, asked: Asked, output: Output) -> anyhow::Result<ExitCode> {
    let address = config.health_listen.ok_or_else(|| {
        anyhow!("`health_listen` is not set in agent.toml, so nobody answers\nhint: health_listen = \"127.0.0.1:9180\"")
    })?;
    let answered = health::ask(address, asked).await;
    let (is_so, document) = answered.map_err(|miss| anyhow!("the agent at {address} {}", miss.why))?;
    let document: serde_json::Value = serde_json::from_str(&document).unwrap_or_default();
    match output {
        Output::Json => render::json(&document),
        Output::Text => render::condition(&document),
    }
    Ok(if is_so {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn odd(answer: &Answer) -> anyhow::Error {
    match answer {
        Answer::Refused { why } => anyhow!("{why}"),
        _ => anyhow!("the agent gave an odd answer"),
    }
}

async fn node_status(config: &Config, layout: &Layout) -> anyhow::Result<NodeStatus> {
    match local::ask(&layout.socket(), &Question::Status).await? {
        Some(Answer::Status(status)) => Ok(*status),
        Some(other) => Err(odd(&other)),
        None => {
            let ledger = LedgerFile::look(&layout.ledger())?;
            Ok(NodeStatus {
                node: config.node.clone(),
                agent_version: env!("CARGO_PKG_VERSION").to_owned(),
                daemon: Daemon::Stopped,
                coordinator: None,
                certificate_expires_at: None,
                drained: status::drained(layout, &ledger),
                apps: status::apps(layout, &ledger, &std::collections::BTreeMap::new()),
                history_waiting: ledger.history.len(),
            })
        }
    }
}

async fn rollback(
    config: &Arc<Config>,
    layout: &Layout,
    app: Option<AppName>,
    to: Option<Version>,
) -> anyhow::Result<ExitCode> {
    let app = match app {
        Some(app) => app,
        None => only_app(layout)?,
    };
    let question = Question::Rollback {
        app: app.clone(),
        to: to.clone(),
    };
    let moved = match local::ask(&layout.socket(), &question).await? {
        Some(Answer::RolledBack(moved)) => moved,
        Some(other) => return Err(odd(&other)),
        None => offline::rollback(config, &app, to.as_ref()).await?,
    };
    render::rolled_back(&moved);
    Ok(if moved.ill.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn only_app(layout: &Layout) -> anyhow::Result<AppName> {
    let ledger = LedgerFile::look(&layout.ledger())?;
    let apps: Vec<&AppName> = ledger.apps.keys().collect();
    match apps.as_slice() {
        [app] => Ok((*app).clone()),
        [] => bail!("no app has been deployed on this node"),
        many => {
            let names: Vec<String> = many.iter().map(ToString::to_string).collect();
            bail!(
                "this node has several apps: {}\nhint: name one with --app",
                names.join(", ")
            )
        }
    }
}
