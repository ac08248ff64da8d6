//! Ports on loopback that nobody uses.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::Error;
use crate::render::rollouts::count_is;

/// Below the ports that Linux gives to outgoing connections (32768 and up): a port from
/// there could be taken by an agent's own connection while its app restarts.
const FIRST: u16 = 10_000;
const LAST: u16 = 32_000;

/// Ports held open, so that nobody else takes them until they are let go.
pub struct Held {
    listeners: Vec<TcpListener>,
}

impl Held {
    /// Fleets that start at the same time begin to look in different places.
    pub fn take(count: usize) -> Result<Self, Error> {
        let range = u32::from(LAST - FIRST);
        let start = std::process::id().wrapping_mul(97) % range;
        let candidates = (0..range).map(|step| FIRST + u16::try_from((start + step) % range).unwrap_or(0));
        let listeners: Vec<TcpListener> = candidates
            .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
            .take(count)
            .collect();
        if listeners.len() < count {
            return Err(Error::refused(
                format!(
                    "only {} free between {FIRST} and {LAST}, of the {count} that it takes",
                    count_is(listeners.len(), "port")
                ),
                "fewer nodes: `fleetctl dev --nodes 3`",
            ));
        }
        Ok(Self { listeners })
    }

    pub fn numbers(&self) -> Vec<u16> {
        let number = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
        self.listeners
            .iter()
            .filter_map(|listener| number(listener).ok())
            .collect()
    }
}
