//! Vault's HTTP interface, as much of it as reading takes: a login, and
//! `GET /v1/MOUNT/data/PATH`. One connection a question; there are few.

use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HeaderValue;
use hyper::rt::{Read, Write};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::provider::{Login, VaultProvider};
use super::{Secret, Why};
use crate::effects::chain;

const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Where systems keep the authorities that they trust.
const AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Somebody whom Vault knows.
pub struct Visitor<'a> {
    vault: &'a VaultProvider,
    token: Secret,
}

impl<'a> Visitor<'a> {
    pub async fn log_in(vault: &'a VaultProvider) -> Result<Self, Why> {
        let token = match &vault.login {
            Login::Token { file } => of_file("token_file", file)?,
            Login::AppRole {
                role_id,
                secret_id_file,
            } => {
                let secret_id = of_file("secret_id_file", secret_id_file)?;
                let secret_id = secret_id.as_variable()?;
                let body = serde_json::json!({"role_id": role_id, "secret_id": secret_id}).to_string();
                let (status, answer) = ask(vault, Method::POST, "/v1/auth/approle/login", None, body).await?;
                if status != 200 {
                    return Err(Why::new(format!(
                        "{} refused the login ({status})",
                        vault.address
                    )));
                }
                let answer = json(vault, &answer)?;
                let token = answer["auth"]["client_token"].as_str().unwrap_or_default();
                Secret::new(token.as_bytes().to_vec())?
            }
        };
        Ok(Self { vault, token })
    }

    /// `shop/db#password`: a field of a secret.
    pub async fn read(&self, key: &str) -> Result<Secret, Why> {
        let (path, field) = key
            .rsplit_once('#')
            .filter(|(_, field)| !field.is_empty())
            .ok_or_else(|| Why::new("Vault's keys are PATH#FIELD, as shop/db#password"))?;
        let target = format!("/v1/{}/data/{}", self.vault.mount, encoded(path)?);
        let (status, answer) =
            ask(self.vault, Method::GET, &target, Some(&self.token), String::new()).await?;
        let address = &self.vault.address;
        match status {
            200 => {}
            403 => return Err(Why::new(format!("{address} refuses this node's token (403)"))),
            404 => return Err(Why::new(format!("{address} has no such secret (404)"))),
            _ => return Err(Why::new(format!("{address} answered {status}"))),
        }
        match &json(self.vault, &answer)?["data"]["data"][field] {
            Value::String(text) => Ok(Secret::new(text.clone().into_bytes())?),
            Value::Null => Err(Why::new(format!(
                "{address} has the secret, and no such field in it"
            ))),
            _ => Err(Why::new(format!("what {address} has in that field is no text"))),
        }
    }
}

fn of_file(what: &str, path: &Path) -> Result<Secret, Why> {
    let bytes = std::fs::read(path)
        .map_err(|error| Why::new(format!("cannot read its {what} {}: {error}", path.display())))?;
    let secret = Secret::of_line(bytes)?;
    // It goes into a header.
    let is_plain = secret.expose().iter().all(u8::is_ascii_graphic);
    let why = || {
        Why::new(format!(
            "its {what} {} is not one line of plain text",
            path.display()
        ))
    };
    is_plain.then_some(secret).ok_or_else(why)
}

/// The parts of a path, so that none of them is taken for anything else.
fn encoded(path: &str) -> Result<String, Why> {
    let mut encoded = String::new();
    for part in path.split('/') {
        if matches!(part, "" | "." | "..") {
            return Err(Why::new("its path has an empty part, `.` or `..`"));
        }
        if !encoded.is_empty() {
            encoded.push('/');
        }
        for byte in part.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    encoded.push(char::from(byte));
                }
                _ => encoded.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    Ok(encoded)
}

fn json(vault: &VaultProvider, answer: &[u8]) -> Result<Value, Why> {
    // What serde says of it would quote it.
    serde_json::from_slice(answer).map_err(|_| {
        Why::new(format!(
            "{} answered with something that is not JSON",
            vault.address
        ))
    })
}

async fn ask(
    vault: &VaultProvider,
    method: Method,
    target: &str,
    token: Option<&Secret>,
    body: String,
) -> Result<(u16, Bytes), Why> {
    let asking = connect_and_ask(vault, method, target, token, body);
    let answered = tokio::time::timeout(vault.timeout.as_duration(), asking).await;
    answered.unwrap_or_else(|_| {
        let (address, limit) = (&vault.address, vault.timeout);
        Err(Why::new(format!("{address} gave no answer within {limit}")))
    })
}

async fn connect_and_ask(
    vault: &VaultProvider,
    method: Method,
    target: &str,
    token: Option<&Secret>,
    body: String,
) -> Result<(u16, Bytes), Why> {
    let address = &vault.address;
    let host = address.to_string();
    let host = host.split_once("://").map_or("", |(_, host)| host);
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", host)
        .header("user-agent", concat!("fleet-agent/", env!("CARGO_PKG_VERSION")))
        .header("connection", "close")
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| Why::new("its path cannot be asked for"))?;
    if let Some(token) = token {
        let mut value = HeaderValue::from_bytes(token.expose())
            .map_err(|_| Why::new("this node's token has letters that none has"))?;
        value.set_sensitive(true);
        request.headers_mut().insert("x-vault-token", value);
    }
    let stream = TcpStream::connect((address.host.as_str(), address.port))
        .await
        .map_err(|error| unreachable(vault, &error))?;
    if !address.is_tls {
        return exchange(vault, TokioIo::new(stream), request).await;
    }
    let name = ServerName::try_from(address.host.clone())
        .map_err(|_| Why::new(format!("{address} has a name that no certificate could have")))?;
    let connector = TlsConnector::from(Arc::new(tls(vault)?));
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|error| unreachable(vault, &error))?;
    exchange(vault, TokioIo::new(stream), request).await
}

async fn exchange(
    vault: &VaultProvider,
    stream: impl Read + Write + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(u16, Bytes), Why> {
    let (mut sender, connection) = http1::handshake(stream)
        .await
        .map_err(|error| unreachable(vault, &error))?;
    let talking = async {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| unreachable(vault, &error))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| {
            Why::new(format!(
                "the answer of {} broke off, or is too long",
                vault.address
            ))
        })?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(talking);
    tokio::pin!(connection);
    tokio::select! {
        answer = &mut talking => answer,
        // What has come may still be read when the other end has closed.
        _ = &mut connection => talking.await,
    }
}

fn unreachable(vault: &VaultProvider, error: &dyn std::error::Error) -> Why {
    Why::new(format!("{} cannot be reached: {}", vault.address, chain(error)))
}

fn tls(vault: &VaultProvider) -> Result<ClientConfig, Why> {
    let system = AUTHORITIES.iter().map(Path::new).find(|path| path.is_file());
    let path = vault
        .ca
        .as_deref()
        .or(system)
        .ok_or_else(|| Why::new("this machine trusts no authority; `ca` names a file with one"))?;
    let unfit = |why: String| {
        Why::new(format!(
            "the authorities in {} cannot be used: {why}",
            path.display()
        ))
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unfit(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unfit(error.to_string()))?;
        let added = roots.add(certificate);
        // Among a system's hundreds an odd one is let be; of one's own it is a mistake.
        if let (Err(error), true) = (added, vault.ca.is_some()) {
            return Err(unfit(error.to_string()));
        }
    }
    if roots.is_empty() {
        return Err(unfit("there is none".to_owned()));
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unfit(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test says where")]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_secret_and_nothing_else() {
        assert_eq!(encoded("shop/db").unwrap(), "shop/db");
        assert_eq!(encoded("a b/?x#%").unwrap(), "a%20b/%3Fx%23%25");
        for bad in ["", "/shop", "shop/", "a//b", "../sys/x", "a/./b"] {
            encoded(bad).unwrap_err();
        }
    }
}
