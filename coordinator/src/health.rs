//! `fleet-coordinator health`: what a probe asks that runs in the coordinator's own pod, where
//! nobody else reaches its HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    #[error("no coordinator answers on http://{address}")]
    NoAnswer {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("what answers on http://{0} is no coordinator")]
    Odd(SocketAddr),
}

/// Whether it is well, and the document that says it.
pub fn ask(address: SocketAddr, path: &str) -> Result<(bool, String), HealthError> {
    let answer = fetch(address, path).map_err(|source| HealthError::NoAnswer { address, source })?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(HealthError::Odd(address))?;
    let code = head.split(' ').nth(1).ok_or(HealthError::Odd(address))?;
    Ok((code == "200", body.to_owned()))
}

fn fetch(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Of this version each answer ends with its connection, and comes in one piece.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
