//! A node's app, asked over HTTP: what a user of it would see.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: u64 = 16 << 10;

/// `GET path` on loopback; the whole answer, or why there is none.
pub async fn get(port: u16, path: &str) -> Result<String, std::io::Error> {
    let conversation = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    tokio::time::timeout(DEADLINE, conversation).await?
}

/// The version that greets from there, as in `hello from v1.1.0 on n01.`
pub async fn version(port: u16) -> Option<String> {
    let answer = get(port, "/").await.ok()?;
    let (_, rest) = answer.split_once("hello from ")?;
    rest.split_whitespace().next().map(str::to_owned)
}
