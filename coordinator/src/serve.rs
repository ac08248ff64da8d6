//! The running coordinator: everything started in order, and stopped in order.
//!
//! ```text
//!  start  lock the state ─► bind ─► replay, take charge ─► serve ─► say where
//!  stop   tell agents ─► close the doors ─► wait, but not for ever ─► snapshot
//! ```

mod error;
mod grpc;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fleet_proto::quantity::Span;
use fleet_proto::session::ToAgent;
use fleet_proto::time::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::agents::{Agents, BACKUPS_AT_ONCE, Newcomers};
use crate::artifacts::Artifacts;
use crate::backups::Backups;
use crate::clusters::Clusters;
use crate::config::Config;
use crate::driver::{self, Driver, DriverError, Handle, TakenOver};
use crate::durable;
use crate::journal::{Journal, Recovered};
use crate::listener::{self, Live};
use crate::operators::{self, Operators};
use crate::questions::Questions;
use crate::rollout::input::Settings;
use crate::trust::Trust;
use crate::web::cookies::Cookies;
use crate::web::{self, Web};

pub use error::StartError;
pub use grpc::Servers;

/// The coordinator looks this often whether its own certificate is due.
const RENEWAL_CHECK: Duration = Duration::from_secs(60);
/// Agents come back after this and some jitter of their own; a restart takes less.
const AGENTS_RETURN_AFTER: Span = Span::from_secs(2);
/// For the farewell to be written.
const FAREWELL: Duration = Duration::from_millis(200);
/// A frozen peer would hold a graceful stop for ever.
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// The last turn and a snapshot.
const DRIVER_STOP_DEADLINE: Duration = Duration::from_secs(20);

pub struct Running {
    /// Where agents and operators connect.
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    /// For browsers elsewhere.
    pub https: Option<SocketAddr>,
    handle: Handle,
    questions: Arc<Questions>,
    servers: JoinSet<()>,
    stopping: CancellationToken,
    driver: oneshot::Receiver<Result<(), DriverError>>,
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Bind { key, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn open_journal(config: &Config) -> Result<(Journal, Recovered), StartError> {
    let (journal, recovered) = Journal::open(&config.journal_directory())?;
    if let Some(cut) = &recovered.cut {
        tracing::warn!(
            from = cut.from,
            records = cut.records_lost,
            why = cut.why,
            "cut a torn tail off the journal; nobody was told of it, and it was put aside"
        );
    }
    Ok((journal, recovered))
}

/// While no coordinator runs on this state: the directory's lock sees to that.
pub fn take_over(config: &Config) -> Result<TakenOver, StartError> {
    let (journal, recovered) = open_journal(config)?;
    Ok(driver::take_over(journal, recovered, Timestamp::now())?)
}

pub async fn start(config: &Config) -> Result<Running, StartError> {
    // The lock first: whoever is in charge is not disturbed by one that may not start.
    let (journal, recovered) = open_journal(config)?;
    let trust = Arc::new(Trust::open(config, Timestamp::now())?);
    let clusters = Arc::new(Clusters::open(&config.clusters)?);
    let artifacts = Artifacts::open(&config.artifacts_directory())?;
    let backups = Backups::open(&config.backups_directory())?;
    let cookies = Cookies::open(&config.state)?;
    let (grpc_listener, grpc) = bind("listen", config.listen).await?;
    let (http_listener, http) = bind("http", config.http).await?;
    let https_listener = match config.web.listen {
        Some(address) => Some(bind("[web] listen", address).await?),
        None => None,
    };
    let https = https_listener.as_ref().map(|(_, bound)| *bound);
    let settings = Settings {
        unreachable_after: config.unreachable_after,
        ephemeral_expiry: config.ephemeral_expiry,
        ..Settings::default()
    };
    let (driver, handle) = Driver::open(journal, recovered, settings, config.charge())?;
    let driver = driver.spawn()?;

    let stopping = CancellationToken::new();
    let live = Arc::new(Live::default());
    let questions = Arc::new(Questions::default());
    let doors = listener::listen(grpc_listener, trust.clone(), live.clone(), stopping.clone());
    let access = Access::new(handle.clone());
    let services = Servers {
        agents: Agents {
            handle: handle.clone(),
            artifacts: artifacts.clone(),
            trust: trust.clone(),
            live: live.clone(),
            heartbeat: config.heartbeat,
            stopping: stopping.clone(),
            presence: Arc::default(),
            admission: Arc::default(),
            backups: backups.clone(),
            backups_coming: Arc::new(Semaphore::new(BACKUPS_AT_ONCE)),
            questions: questions.clone(),
        },
        newcomers: Newcomers {
            handle: handle.clone(),
            trust: trust.clone(),
            live: live.clone(),
            clusters,
        },
        operators: Operators::new(operators::Parts {
            handle: handle.clone(),
            access: access.clone(),
            dashboard: config.web.url.clone().unwrap_or_else(|| match https {
                Some(bound) => format!("https://{}", reachable(bound)),
                None => format!("http://{}", reachable(http)),
            }),
            artifacts: artifacts.clone(),
            backups,
            trust: trust.clone(),
            live: live.clone(),
            questions: questions.clone(),
            stopping: stopping.clone(),
        }),
    };
    let mut servers = JoinSet::new();
    services.spawn(doors, &stopping, &mut servers);
    let web = Web::new(web::Parts {
        handle: handle.clone(),
        access,
        cookies,
        hosts: config.web.hosts.clone(),
        artifacts,
        trust: trust.clone(),
        live,
        stopping: stopping.clone(),
    });
    if let Some((listener, _)) = https_listener {
        let tls = web_tls(config, &trust, &stopping)?;
        servers.spawn(web::serve(listener, Some(tls), web.clone(), stopping.clone()));
    }
    servers.spawn(web::serve(http_listener, None, web, stopping.clone()));
    servers.spawn(renew_own_certificate(trust, stopping.clone()));

    write_endpoints(config, grpc, http, https)?;
    Ok(Running {
        grpc,
        http,
        https,
        handle,
        questions,
        servers,
        stopping,
        driver,
    })
}

fn web_tls(
    config: &Config,
    trust: &Arc<Trust>,
    stopping: &CancellationToken,
) -> Result<web::Tls, StartError> {
    let source = match (&config.web.certificate, &config.web.key) {
        (Some(certificate), Some(key)) => web::tls::Source::Files {
            certificate: certificate.clone(),
            key: key.clone(),
        },
        _ => web::tls::Source::Own {
            names: config.web.names.clone(),
        },
    };
    let site = web::tls::Site {
        source,
        trust: trust.clone(),
    };
    Ok(web::tls::follow(site, stopping.clone())?)
}

/// Whoever listens everywhere is reached on loopback too.
fn reachable(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("127.0.0.1:{}", v4.port()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => format!("[::1]:{}", v6.port()),
        other => other.to_string(),
    }
}

/// For scripts and tests: ports may have been chosen by the system.
fn write_endpoints(
    config: &Config,
    grpc: SocketAddr,
    http: SocketAddr,
    https: Option<SocketAddr>,
) -> Result<(), StartError> {
    let endpoints = serde_json::json!({
        "grpc": format!("https://{}", reachable(grpc)),
        "http": format!("http://{}", reachable(http)),
        "https": https.map(|bound| format!("https://{}", reachable(bound))),
    });
    let path = config.endpoints_file();
    durable::write_file(&path, endpoints.to_string().as_bytes())
        .map_err(|source| StartError::Endpoints { path, source })
}

async fn renew_own_certificate(trust: Arc<Trust>, stopping: CancellationToken) {
    let renewing = async {
        loop {
            tokio::time::sleep(RENEWAL_CHECK).await;
            match trust.renew_if_due(Timestamp::now()) {
                Ok(true) => tracing::info!("renewed the coordinator's own certificate"),
                Ok(false) => {}
                // The present one is good for a third of its life yet.
                Err(error) => tracing::error!(%error, "cannot renew the coordinator's own certificate"),
            }
        }
    };
    stopping.run_until_cancelled(renewing).await;
}

impl Running {
    /// For tests, which look from within.
    pub fn questions(&self) -> &Questions {
        &self.questions
    }

    /// For tests, which look from within.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Returns when the driver ended by itself, which is never good news.
    pub async fn failed(&mut self) -> Result<(), DriverError> {
        (&mut self.driver).await.unwrap_or(Ok(()))
    }

    pub async fn stop(mut self) -> Result<(), DriverError> {
        self.handle.sessions().send_to_all(&ToAgent::GoAway {
            retry_after: AGENTS_RETURN_AFTER,
            why: "the coordinator is stopping".to_owned(),
        });
        tokio::time::sleep(FAREWELL).await;
        self.stopping.cancel();
        let all_ended = async { while self.servers.join_next().await.is_some() {} };
        if timeout(STOP_DEADLINE, all_ended).await.is_err() {
            tracing::warn!("some connections did not end in time; they are cut");
            self.servers.shutdown().await;
        }
        self.handle.stop().await;
        match timeout(DRIVER_STOP_DEADLINE, self.driver).await {
            Ok(ended) => ended.unwrap_or(Ok(())),
            Err(_) => {
                tracing::warn!("the journal did not close in time; the next start replays it");
                Ok(())
            }
        }
    }
}
