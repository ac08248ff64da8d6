//! The command line: `init` once, then `run`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use fleet_coordinator::config::{Config, is_trust_domain};
use fleet_coordinator::trust::AUTHORITY_KEY_FILE;
use fleet_coordinator::{init, owner, serve, service};
use fleet_proto::authority::fingerprint;
use fleet_proto::ids::{EnvironmentName, OperatorName};
use fleet_proto::labels::Selector;
use fleet_proto::time::Timestamp;
use fleet_proto::tls::AUTHORITY_FILE;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// glibc's allocator keeps what a wave of reconnects took; this one gives it back.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Parser)]
#[command(
    name = "fleet-coordinator",
    version,
    about = "Plans waves, keeps the journal, and streams commands to agents",
    after_help = "Example:\n  fleet-coordinator init --config /etc/fleet/coordinator.toml\n  fleet-coordinator run --config /etc/fleet/coordinator.toml"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How log lines are written (FLEET_LOG says which: info, debug, fleet_coordinator=trace)
    #[arg(long, global = true, value_enum, default_value = "text")]
    log: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the authority, the coordinator's identity, the first operator, and a configuration
    #[command(
        after_help = "Example:\n  fleet-coordinator init --config /etc/fleet/coordinator.toml   what the package brings\n  fleet-coordinator init --dir ./coordinator                    without a package"
    )]
    Init(Init),
    /// Writes new credentials for an operator, as after a certificate has expired
    Operator {
        /// Whose
        name: OperatorName,
        /// Where cert.pem, key.pem and ca.pem go
        #[arg(long)]
        out: PathBuf,
        /// The configuration that `init` wrote
        #[arg(
            long,
            env = "FLEET_COORDINATOR_CONFIG",
            default_value = "/etc/fleet/coordinator.toml"
        )]
        config: PathBuf,
    },
    /// Puts this coordinator in charge when its state is older than the fleet, as after a
    /// restore; while it is stopped, and when no other one is in charge
    TakeOver {
        /// The configuration that `init` wrote
        #[arg(
            long,
            env = "FLEET_COORDINATOR_CONFIG",
            default_value = "/etc/fleet/coordinator.toml"
        )]
        config: PathBuf,
    },
    /// Whether the coordinator is well; for probes
    #[command(after_help = "Example:\n  fleet-coordinator health --ready")]
    Health {
        /// Whether it is of use to restart it
        #[arg(long, conflicts_with = "ready")]
        live: bool,
        /// Whether to send anybody to it
        #[arg(long)]
        ready: bool,
        /// The configuration that `init` wrote
        #[arg(
            long,
            env = "FLEET_COORDINATOR_CONFIG",
            default_value = "/etc/fleet/coordinator.toml"
        )]
        config: PathBuf,
    },
    /// Prints the fingerprint of the authority, which pods pin
    Authority {
        /// The configuration that `init` wrote
        #[arg(
            long,
            env = "FLEET_COORDINATOR_CONFIG",
            default_value = "/etc/fleet/coordinator.toml"
        )]
        config: PathBuf,
    },
    /// Runs until SIGTERM or Ctrl-C
    Run {
        /// The configuration that `init` wrote
        #[arg(
            long,
            env = "FLEET_COORDINATOR_CONFIG",
            default_value = "/etc/fleet/coordinator.toml"
        )]
        config: PathBuf,
    },
}

#[derive(clap::Args)]
struct Init {
    /// Where everything goes
    #[arg(long, default_value = "/etc/fleet")]
    dir: PathBuf,
    /// A configuration that is there already, as the package brings one: what it names is made
    #[arg(long, conflicts_with_all = ["dir", "trust_domain", "listen", "http", "environment", "select"])]
    config: Option<PathBuf>,
    /// With --config: what is there already is left as it is
    #[arg(long, requires = "config", conflicts_with = "dir")]
    if_missing: bool,
    /// The name of this fleet in every certificate
    #[arg(long, default_value = "fleet.local", value_parser = trust_domain)]
    trust_domain: String,
    /// For agents and operators (mutual TLS)
    #[arg(long, default_value = "127.0.0.1:7443", value_parser = known_address)]
    listen: SocketAddr,
    /// For dashboards and probes (plain HTTP, loopback only)
    #[arg(long, default_value = "127.0.0.1:7480")]
    http: SocketAddr,
    /// The first operator's name
    #[arg(long, default_value = "admin")]
    operator: OperatorName,
    /// The first environment's name
    #[arg(long, default_value = "default")]
    environment: EnvironmentName,
    /// Which nodes are in it, as in env=production; all of them if absent
    #[arg(long, default_value = "")]
    select: Selector,
}

/// Agents are told this address, so it cannot be left to the kernel.
fn known_address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|error| format!("{error}"))?;
    match address.port() {
        0 => Err(
            "port 0 is another one at every start; name the port that agents shall use, as 7443".to_owned(),
        ),
        _ => Ok(address),
    }
}

fn trust_domain(text: &str) -> Result<String, String> {
    if is_trust_domain(text) {
        Ok(text.to_owned())
    } else {
        Err("use letters, digits, `.` and `-`, as in fleet.local".to_owned())
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(arguments.log);
    let done = match arguments.command {
        Command::Init(options) => make(options),
        Command::Operator { name, out, config } => operator(&name, &out, &config),
        Command::TakeOver { config } => take_over(&config),
        Command::Health { live, ready, config } => health(live, ready, &config),
        Command::Authority { config } => authority(&config),
        Command::Run { config } => run(&config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("FLEET_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
        LogFormat::Json => log.json().init(),
    }
}

/// The chain once, and the hints of all its links at the end.
#[expect(clippy::print_stderr, reason = "the edge of the program")]
fn report(error: &anyhow::Error) {
    let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
    let (mut sentences, mut hints) = (Vec::new(), Vec::new());
    for line in texts.iter().flat_map(|text| text.lines()) {
        if line.starts_with("hint: ") {
            hints.push(line);
        } else {
            sentences.push(line);
        }
    }
    eprintln!("error: {}", sentences.join(": "));
    for hint in hints {
        eprintln!("{hint}");
    }
}

#[expect(clippy::print_stdout, reason = "the edge of the program")]
fn make(options: Init) -> anyhow::Result<()> {
    if let Some(file) = &options.config {
        let config = Config::read(file)?;
        if options.if_missing && config.authority.join(AUTHORITY_KEY_FILE).exists() {
            // Whoever was ended between the two begins with the second.
            init::ensure_operator(&config, &options.operator, Timestamp::now())?;
            println!("what {} names is there", file.display());
            return Ok(());
        }
        return make_for(file, &options.operator);
    }
    let made = init::init(
        &init::Options {
            directory: options.dir,
            trust_domain: options.trust_domain,
            listen: options.listen,
            http: options.http,
            operator: options.operator,
            environment: options.environment,
            select: options.select,
        },
        Timestamp::now(),
    )?;
    println!(
        "made {config}\n\nnext:\n  fleet-coordinator run --config {config}\n  fleetctl --coordinator https://{address} --identity {operator} status",
        config = made.config.display(),
        address = reached_at(options.listen),
        operator = made.operator.display(),
    );
    Ok(())
}

/// Nobody can be reached at the address of all interfaces.
fn reached_at(listen: SocketAddr) -> String {
    match listen.ip().is_unspecified() {
        true => format!("THIS-MACHINE:{}", listen.port()),
        false => listen.to_string(),
    }
}

/// For a service, whose user has to be able to read what is made.
#[expect(clippy::print_stdout, reason = "the edge of the program")]
fn make_for(file: &Path, operator: &OperatorName) -> anyhow::Result<()> {
    let config = Config::read(file)?;
    let home = config.authority.parent().unwrap_or(Path::new("/"));
    owner::must_not_be_roots_doing(home, &command_line())?;
    let made = init::init_for(file, operator, Timestamp::now())?;
    println!(
        "made what {file} names\n\nnext:\n  systemctl start fleet-coordinator\n  fleetctl --coordinator https://{address} --identity {operator} status",
        file = made.config.display(),
        address = reached_at(config.listen),
        operator = made.operator.display(),
    );
    if !config.admins.contains(operator) {
        println!(
            "\nbefore that: name {operator} under `admins` in {}",
            file.display()
        );
    }
    Ok(())
}

/// As it was typed, to be typed again.
fn command_line() -> String {
    std::env::args().collect::<Vec<_>>().join(" ")
}

#[expect(clippy::print_stdout, reason = "the edge of the program")]
fn operator(name: &OperatorName, out: &Path, config: &Path) -> anyhow::Result<()> {
    let config = Config::read(config)?;
    init::issue_operator(&config, name, out, Timestamp::now())?;
    println!("wrote credentials of operator {name} to {}", out.display());
    if !config.admins.contains(name) {
        println!("\nwhat {name} may is said by an admin: fleetctl operator add {name} --role viewer");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the edge of the program")]
fn take_over(path: &Path) -> anyhow::Result<()> {
    let config = Config::read(path)?;
    owner::must_not_be_roots_doing(&config.state, &command_line())?;
    let taken = serve::take_over(&config)?;
    for number in taken.ended {
        println!("ended rollout {number} as it stood");
    }
    println!(
        "in charge from term {} on; the next rollout is {}\n\nnext:\n  fleet-coordinator run --config {}\n\n\
         nodes keep what they run; what each environment wants is said by its next rollout",
        taken.term,
        taken.next_rollout,
        path.display()
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the edge of the program")]
fn health(live: bool, ready: bool, path: &Path) -> anyhow::Result<()> {
    let asked = match (live, ready) {
        (true, _) => "/health/live",
        (_, true) => "/health/ready",
        _ => "/health",
    };
    let (is_well, document) = fleet_coordinator::health::ask(Config::read(path)?.http, asked)?;
    println!("{document}");
    anyhow::ensure!(is_well, "the coordinator is not well");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the edge of the program")]
fn authority(path: &Path) -> anyhow::Result<()> {
    let file = Config::read(path)?.authority.join(AUTHORITY_FILE);
    let certificate =
        std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    println!("{}", fingerprint(&certificate)?);
    Ok(())
}

fn run(path: &Path) -> anyhow::Result<()> {
    let config = Config::read(path)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let done = runtime.block_on(serve_until_told(&config));
    // Whoever still hangs in a blocking call has had its time.
    runtime.shutdown_background();
    done
}

async fn serve_until_told(config: &Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut running = serve::start(config).await?;
    tracing::info!(grpc = %running.grpc, http = %running.http, "in charge");
    service::ready();
    tokio::select! {
        _ = terminate.recv() => tracing::info!("stopping on SIGTERM"),
        _ = interrupt.recv() => tracing::info!("stopping on SIGINT"),
        failed = running.failed() => {
            failed.context("the driver failed")?;
            anyhow::bail!("the driver ended by itself");
        }
    }
    service::stopping();
    running.stop().await?;
    tracing::info!("stopped");
    Ok(())
}
