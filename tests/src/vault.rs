//! A small Vault: reads of its second store of keys and values, and logins by AppRole. It can
//! be slow, or go away. With TLS its certificate is its own authority.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, Stream};
use serde_json::{Value, json};

#[derive(Default)]
struct State {
    /// By path and field.
    secrets: BTreeMap<(String, String), String>,
    /// Who may read.
    tokens: Vec<String>,
    /// (role_id, secret_id), and whom that makes.
    role: Option<(String, String, String)>,
    is_slow: bool,
    is_gone: bool,
    reads: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

pub struct Vault {
    address: SocketAddr,
    /// PEM, where it speaks TLS.
    authority: Option<String>,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
}

impl Vault {
    /// On loopback, where plain HTTP is spoken.
    pub fn start(token: &str) -> anyhow::Result<Self> {
        Self::start_with(token, None, None)
    }

    pub fn start_with_tls(token: &str) -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)?;
        Self::start_with(token, Some(Arc::new(config)), Some(made.cert.pem()))
    }

    fn start_with(
        token: &str,
        tls: Option<Arc<ServerConfig>>,
        authority: Option<String>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let shared = Arc::new(Shared::default());
        shared.lock().tokens.push(token.to_owned());
        let (address, serving) = (listener.local_addr()?, shared.clone());
        let serving = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.lock().is_gone {
                    return;
                }
                let (shared, tls) = (serving.clone(), tls.clone());
                std::thread::spawn(move || serve(&shared, stream, tls));
            }
        });
        Ok(Self {
            address,
            authority,
            shared,
            serving: Some(serving),
        })
    }

    pub fn address(&self) -> String {
        match self.authority {
            None => format!("http://{}", self.address),
            Some(_) => format!("https://localhost:{}", self.address.port()),
        }
    }

    pub fn authority(&self) -> &str {
        self.authority.as_deref().unwrap_or_default()
    }

    pub fn put(&self, path: &str, field: &str, value: &str) {
        let key = (path.to_owned(), field.to_owned());
        self.shared.lock().secrets.insert(key, value.to_owned());
    }

    pub fn allow_role(&self, role_id: &str, secret_id: &str, token: &str) {
        let mut state = self.shared.lock();
        state.role = Some((role_id.to_owned(), secret_id.to_owned(), token.to_owned()));
        state.tokens.push(token.to_owned());
    }

    /// It answers nobody until it is quick again.
    pub fn be_slow(&self, is_slow: bool) {
        self.shared.lock().is_slow = is_slow;
        self.shared.changed.notify_all();
    }

    pub fn reads(&self) -> usize {
        self.shared.lock().reads
    }

    /// Nobody listens there any more.
    pub fn go_away(&mut self) {
        self.shared.lock().is_gone = true;
        self.shared.changed.notify_all();
        let _wakes_it = TcpStream::connect(self.address);
        if let Some(serving) = self.serving.take() {
            let _ended = serving.join();
        }
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.go_away();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(shared: &Shared, mut stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
    let mut state = shared.lock();
    while state.is_slow && !state.is_gone {
        state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    drop(state);
    let _gone = match tls.map(ServerConnection::new) {
        None => answer(shared, &mut stream),
        Some(Ok(mut connection)) => {
            let answered = answer(shared, &mut Stream::new(&mut connection, &mut stream));
            connection.send_close_notify();
            let _written = connection.complete_io(&mut stream);
            answered
        }
        Some(Err(error)) => Err(std::io::Error::other(error)),
    };
}

fn answer(shared: &Shared, stream: &mut (impl Read + Write)) -> std::io::Result<()> {
    let mut reader = BufReader::new(&mut *stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let of = |line: &String| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        head.iter().find_map(of)
    };
    let length = header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request: Vec<&str> = head
        .first()
        .map(|line| line.split(' ').collect())
        .unwrap_or_default();
    let (status, said) = match request.as_slice() {
        ["GET", target, ..] => read(&mut shared.lock(), target, header("x-vault-token").as_deref()),
        ["POST", "/v1/auth/approle/login", ..] => log_in(&shared.lock(), &body),
        _ => (405, json!({"errors": ["unsupported operation"]})),
    };
    let said = said.to_string();
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}",
        said.len()
    )
}

fn read(state: &mut State, target: &str, token: Option<&str>) -> (u16, Value) {
    state.reads += 1;
    if !token.is_some_and(|token| state.tokens.iter().any(|known| known == token)) {
        return (403, json!({"errors": ["permission denied"]}));
    }
    let path = target.strip_prefix("/v1/secret/data/").unwrap_or_default();
    let of_it = state.secrets.iter().filter(|((known, _), _)| known == path);
    let fields: serde_json::Map<String, Value> = of_it
        .map(|((_, field), value)| (field.clone(), json!(value)))
        .collect();
    if fields.is_empty() {
        return (404, json!({"errors": []}));
    }
    (200, json!({"data": {"data": fields, "metadata": {"version": 1}}}))
}

fn log_in(state: &State, body: &[u8]) -> (u16, Value) {
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    match &state.role {
        Some((role, secret, token)) if said["role_id"] == **role && said["secret_id"] == **secret => {
            (200, json!({"auth": {"client_token": token}}))
        }
        _ => (400, json!({"errors": ["invalid role or secret ID"]})),
    }
}
