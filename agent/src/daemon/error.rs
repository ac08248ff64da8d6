//! Why the daemon does not start, or cannot go on.

use std::net::SocketAddr;

use fleet_proto::quantity::Span;
use fleet_proto::tls::TlsError;

use crate::durable::FileError;
use crate::enrol::at_start::AtStartError;
use crate::hold::HoldError;
use crate::identity::IdentityError;
use crate::ledger::LedgerError;
use crate::tasks::Ended;

#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Hold(#[from] HoldError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the ledger cannot be written, so nothing more may be done on this node")]
    Ledger(#[from] LedgerError),
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    Task(#[from] Ended),
    #[error(
        "cannot listen on {address} for probes\nhint: is it another program's? `health_listen` in agent.toml chooses another one"
    )]
    Health {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot enrol this node")]
    Enrol(#[from] AtStartError),
    #[error("the apps did not stop within {0} (pod.stop_deadline); they end with the pod")]
    NotStopped(Span),
}
