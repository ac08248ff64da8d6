//! A connection is accepted.

use tokio::net::TcpStream;

use super::{Miss, Passed};

pub async fn connect(address: &str) -> Result<Passed, Miss> {
    match TcpStream::connect(address).await {
        Ok(_connected) => Ok(Passed::default()),
        Err(error) => Err(Miss::new(format!("no connection to {address}: {error}"))),
    }
}
